"""Methods' entries and modalities' delays that hand-drawn schedules share."""

# The local rounds of clients 0, 1, 2 take 4, 5 and 6 s: nothing to wait for, color late, gray later.
STAIRS = {"gray": (1.0, 1.0, 3.0), "color": (1.0, 2.0, 1.0)}
EQUAL = {"gray": (1.0, 1.0, 1.0), "color": (1.0, 1.0, 1.0)}


def barrier(**options):
    return {"name": "fedavg", "server": {"rule": "barrier", **options}}


def on_arrival(waiting="all", unimodal_epochs=1, **options):
    server = {"rule": "on_arrival", **options}
    return {"name": "fedasync", "server": server, "waiting": waiting, "unimodal_epochs": unimodal_epochs}


def buffered(**options):
    return {"name": "fedbuff", "server": {"rule": "buffered", **options}}
