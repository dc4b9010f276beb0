"""No method sends out a client that is off or at work, whatever it asked of it before."""

import pytest
from every_method import EVERY_METHOD
from paper_world import play

from interlude.simulator.errors import InterludeError
from interlude.simulator.federation.fleet import Fleet
from interlude.simulator.methods.fedavg import FedAvg

NUM_CLIENTS = 6
ON = {
    client: [(cycle + client, cycle + client + 5.5 + client % 2) for cycle in range(0, 120, 9 + client)]
    for client in range(1, NUM_CLIENTS)
}
ENTRIES = [
    *EVERY_METHOD.values(),
    {"name": "fedmchain", "pipelined": True},
    {"name": "fedmchain", "server": {"clients_per_round": 2, "over_selection": 1.5}},
    {"name": "pow-d", "candidates": 4, "server": {"clients_per_round": 2, "over_selection": 1.5}},
    {"name": "divfl", "server": {"clients_per_round": 3, "over_selection": 1.3}},
    {"name": "fedavg", "server": {"rule": "barrier", "clients_per_round": 3, "deadline_s": 5.0}},
    {"name": "fedasync", "server": {"rule": "on_arrival", "concurrency": 3, "max_staleness": 2, "when_stale": "wait"}},
    {"name": "fedbuff", "server": {"rule": "buffered", "concurrency": 4, "size": 3, "timeout_s": 4.0}},
]


@pytest.mark.parametrize("policy", ["pause", "lose"])
@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_every_method_sends_out_only_clients_that_are_on(entry, policy, monkeypatch):
    sent = []
    send = Fleet.send

    def noted(fleet, dispatch):
        sent.append((dispatch.client, dispatch.start_s))
        send(fleet, dispatch)

    monkeypatch.setattr(Fleet, "send", noted)
    delays_s = {"gray": [0.5] * NUM_CLIENTS, "color": [1.0, 2.0] * 3}
    run = play(entry, 80.0, delays_s=delays_s, step_s=[0.5, 1.0] * 3, on=ON, policy=policy)
    assert len(sent) > 20
    assert [(client, at_s) for client, at_s in sent if run.world.next_on(client, at_s) > at_s] == []
    assert run.merges


class Selects(FedAvg):
    """Selects given clients, whatever they do."""

    chosen = ()

    def select(self, view, num_clients):
        return dict.fromkeys(self.chosen if view.version else view.idle[:2])


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        ((0, 1), "the method selects client 1, which is not idle and on now"),
        ((7,), "the method selects client 7, which is not idle and on now"),
        ((-1,), "the method selects client -1, which is not idle and on now"),
        ((0, 2, 3), "the method selects 3 clients, but at most 2 are wanted"),
    ],
)
def test_a_method_that_selects_others_is_told_so(chosen, why):
    four = [1.0] * 4
    method = type("Chosen", (Selects,), {"chosen": chosen})
    entry = {"name": "fedavg", "server": {"rule": "barrier", "clients_per_round": 2}}
    on = {1: [(0.0, 3.9), (50.0, 60.0)]}
    world = {"delays_s": {"gray": four, "color": four}, "step_s": four, "on": on, "policy": "lose"}
    with pytest.raises(InterludeError, match=why):
        play(entry, 30.0, method=method, **world)
