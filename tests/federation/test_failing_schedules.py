"""Hand-drawn schedules of a world that fails; see `test_schedules` for how to read them.

O off, s held up as the server is away, b a pause between two attempts to upload; a capital X: the device dies.
"""

import math
import weakref

import pandas as pd
import pytest
from timeline_rows import rows_of

from interlude.simulator.federation.accounting.invariants import BrokenInvariantError, check
from interlude.simulator.federation.clock import Clock, Sleeper
from interlude.simulator.federation.shared_link import SharedLink, Transfer
from interlude.simulator.world.faults import UploadLossSpec

GC = "gray+color"
ALONE = {"delays_s": {"gray": (1.0,), "color": (1.0,)}, "step_s": (1.0,)}
EQUAL = {"delays_s": {"gray": (1.0,) * 3, "color": (1.0,) * 3}}


def on_arrival(**options):
    return {"name": "fedasync", "server": {"rule": "on_arrival", **options}}


def buffered(**options):
    return {"name": "fedbuff", "server": {"rule": "buffered", **options}}


def barrier(**options):
    return {"name": "fedavg", "server": {"rule": "barrier", **options}}


def shown(played):
    """(client, activity, start_s, end_s) of each span, by client."""
    return [span[:4] for span in sorted(played.spans, key=lambda span: (span[0], span[2]))]


# --- devices that go off ---------------------------------------------------------------------------------------------


def test_work_that_is_paused_goes_on_where_it_was(paper):
    """
    On in [0, 2), [3, 3.5) and from 5 s on; a local round is 1 + 2 + 1 s of work.

    0  D D T T O O T O O O T U U D D
                                 M
    """
    played = paper(on_arrival(), 7.5, **ALONE, on={0: [(0.0, 2.0), (3.0, 3.5), (5.0, math.inf)]})
    assert played.spans == [
        (0, "download", 0, 1, 0, ""),
        (0, "train part", 1, 2, 0, GC),
        (0, "off", 2, 3, 0, GC),
        (0, "train part", 3, 3.5, 0, GC),
        (0, "off", 3.5, 5, 0, GC),
        (0, "train", 5, 5.5, 0, GC),
        (0, "upload", 5.5, 6.5, 0, ""),
        (0, "download", 6.5, 7.5, 1, ""),
    ]
    assert played.merges == [(0, 6.5, 1, 0)]
    flops = [row["flops"] for row in played.rows if row["activity"] == "train"]
    assert [2 * flops[0], 4 * flops[1], 4 * flops[2]] == [sum(flops)] * 3  # a half and two quarters of the work


def test_data_arrive_while_the_device_is_off(paper):
    """Gray is there at 4 s, when the device is off: it trains once it is on again, and has waited all the same."""
    played = paper(
        on_arrival(), 8.0, delays_s={"gray": (4.0,), "color": (1.0,)}, step_s=(1.0,), on={0: [(0, 3), (5, 99)]}
    )
    assert shown(played) == [
        (0, "download", 0, 1),
        (0, "wait part", 1, 3),
        (0, "off", 3, 5),
        (0, "train", 5, 7),
        (0, "upload", 7, 8),
    ]


def test_an_upload_that_will_break_off_is_paused_like_any_other(paper):
    """Off in [4, 5); of an upload of 4 s a half gets through, 1 s before and 1 s after."""
    played = paper(on_arrival(), 7.0, **ALONE, up_s=4.0, lost={(0, 0): 0.5}, on={0: [(0, 4), (5, 99)]})
    assert shown(played)[2:] == [
        (0, "upload part", 3, 4),
        (0, "off", 4, 5),
        (0, "upload lost", 5, 6),
        (0, "download", 6, 7),
    ]
    assert played.server.losses.rounds == {"broke off": 1}


def test_of_a_download_that_is_cut_off_every_piece_is_lost(paper):
    """The device is off in [2, 10) and dies meanwhile, with half of its download."""
    played = paper(on_arrival(), 20.0, **ALONE, down_s=4.0, on={0: [(0, 2), (10, 99)]}, crashes={(0, 0): 0.5})
    assert [span[1] for span in played.spans[:4]] == ["download part", "off", "off", "download"]
    lost, whole = played.rows[0]["bytes"], played.rows[3]["bytes"]
    assert played.server.losses.totals()["bytes_down"] == lost == whole // 2


def test_work_that_is_lost_ends_the_local_round(paper):
    """
    Client 0 goes off at 2 s and is on again at 4 s, when it starts anew.

    0  D D T T O O O O . . . . D D
    1  D D T T T T U U D D T T
    """
    on = {0: [(0.0, 2.0), (4.0, math.inf)]}
    played = paper(
        on_arrival(), 5.0, delays_s={"gray": (1.0,) * 2, "color": (1.0,) * 2}, step_s=(1.0, 1.0), on=on, policy="lose"
    )
    assert shown(played) == [
        (0, "download", 0, 1),
        (0, "train lost", 1, 2),
        (0, "off", 2, 4),
        (0, "download", 4, 5),
        (1, "download", 0, 1),
        (1, "train", 1, 3),
        (1, "upload", 3, 4),
        (1, "download", 4, 5),
    ]
    assert played.merges == [(1, 4, 1, 0)]
    assert played.server.losses.rounds == {"went off": 1}
    assert played.server.losses.device_s == 2.0


@pytest.mark.parametrize("entry", [on_arrival(), barrier(), buffered(size=1)])
def test_a_server_that_finds_nobody_on_waits_for_the_next_one(paper, entry):
    """Client 1 is on from 2 s; client 0, from 3 s, is sent out at once unless a round has begun."""
    on = {0: [(3.0, math.inf)], 1: [(2.0, math.inf)]}
    played = paper(entry, 4.0, delays_s={"gray": (0.0,) * 2, "color": (0.0,) * 2}, step_s=(1.0, 1.0), on=on)
    assert shown(played)[-2:] == [(1, "download", 2, 3), (1, "train", 3, 4)]
    assert shown(played)[-3] == (1, "off", 0, 2)
    assert shown(played)[0] == (0, "off", 0, 3)
    assert shown(played)[1] == (0, "idle" if entry["name"] == "fedavg" else "download", 3, 4)


@pytest.mark.parametrize("entry", [on_arrival(), barrier(), buffered(size=1), {"name": "fedmchain", "pipelined": True}])
def test_a_run_whose_clients_have_all_left_goes_on_to_its_end(paper, entry):
    on = {client: [(0.0, 2.0)] for client in (0, 1, 2)}
    played = paper(entry, 10.0, **EQUAL, on=on)
    assert {span for span in shown(played) if span[3] == 10.0} == {(client, "off", 2, 10.0) for client in (0, 1, 2)}
    assert played.clock.is_at_rest
    assert played.server.losses.rounds.keys() == {"left"}


def test_hundreds_of_idle_clients_that_go_on_and_off_cost_no_events(paper):
    def num_events(num_clients):
        arrives = (1.0,) * num_clients
        on = {client: [(i, i + 0.5) for i in range(50)] for client in range(1, num_clients)}
        played = paper(
            on_arrival(concurrency=1), 50.0, delays_s={"gray": arrives, "color": arrives}, step_s=arrives, on=on,
            first_idle_first=False, policy="lose",
        )  # fmt: skip
        return played.clock.num_events

    assert num_events(500) < 2 * num_events(20) < 1_000


def test_everybody_has_its_turn_in_a_world_that_fails(paper):
    """Twenty clients, three at work, each dying, losing uploads, going on and off: every client returns."""
    clients = range(20)
    played = paper(
        on_arrival(concurrency=3),
        600.0,
        delays_s={"gray": (1.0,) * 20, "color": (1.0,) * 20},
        step_s=(1.0,) * 20,
        first_idle_first=False,
        policy="lose",
        on={client: [(10 * i + client % 5, 10 * i + 6 + client % 5) for i in range(60)] for client in clients},
        crashes={(client, window): 0.5 for client in clients for window in range(0, 50, 5)},
        lost={(client, window): 0.5 for client in clients for window in range(1, 50, 7)},
        upload_loss=UploadLossSpec(probability=0.5, max_attempts=2, backoff_s=0.5),
        lost_attempts={(client, window): 2 for client in clients for window in range(2, 50, 9)},
    )
    dispatched = [client for client, activity, *_ in played.spans if activity.startswith("download")]
    assert min(dispatched.count(client) for client in clients) >= 3
    assert {client for client, *_ in played.merges} == set(clients)


# --- devices that die, uploads that are lost -------------------------------------------------------------------------


def test_a_device_that_dies_loses_its_local_round_and_starts_again(paper):
    """
    0  D D T T X D D T T T T U U
                                 M
    """
    played = paper(on_arrival(), 6.0, **ALONE, crashes={(0, 0): 0.5})
    assert shown(played) == [
        (0, "download", 0, 1),
        (0, "train lost", 1, 2),
        (0, "download", 2, 3),
        (0, "train", 3, 5),
        (0, "upload", 5, 6),
    ]
    assert played.merges == [(0, 6, 1, 0)]
    assert played.server.losses.rounds == {"crashed": 1}


def test_a_device_that_will_die_is_asked_to_train_only_what_it_begins(paper, task_list):
    paper(on_arrival(), 0.5, **ALONE, crashes={(0, 0): 0.2}, executor=task_list)
    assert task_list.tasks == []


def test_a_lost_upload_is_sent_again_after_growing_pauses(paper):
    """
    Two attempts are lost, pauses 0.5 and 1.5 s: 3 + 1 + 0.5 + 1 + 1.5 + 1 s.

    0  D D T T T T U U b U U b b b U U
                                       M
    """
    spec = UploadLossSpec(probability=0.5, max_attempts=3, backoff_s=0.5, backoff_factor=3)
    played = paper(on_arrival(), 8.0, **ALONE, upload_loss=spec, lost_attempts={(0, 0): 2})
    assert shown(played)[2:] == [
        (0, "upload lost", 3, 4),
        (0, "backoff", 4, 4.5),
        (0, "upload lost", 4.5, 5.5),
        (0, "backoff", 5.5, 7),
        (0, "upload", 7, 8),
    ]
    assert played.merges == [(0, 8, 1, 0)]
    sent = [row["bytes"] for row in played.rows if row["activity"] == "upload"]
    assert sent[0] == sent[1] == sent[2] > 0
    assert played.server.losses.bytes_received == sent[2]


def test_a_client_gives_up_after_its_last_attempt(paper):
    spec = UploadLossSpec(probability=0.5, max_attempts=2, backoff_s=1)
    played = paper(on_arrival(), 7.0, **ALONE, upload_loss=spec, lost_attempts={(0, 0): 7})
    assert shown(played)[2:] == [
        (0, "upload lost", 3, 4),
        (0, "backoff", 4, 5),
        (0, "upload lost", 5, 6),
        (0, "download", 6, 7),
    ]
    assert played.merges == []
    assert played.server.losses.rounds == {"gave up": 1}


def test_a_client_whose_download_was_cut_off_is_sent_everything_again(paper):
    """FedMChain sends only groups that changed; in its second phase those of both modalities, here twice."""

    def downloads(**world):
        played = paper({"name": "fedmchain", "phase_epochs": 1}, 12.0, **ALONE, **world, first_idle_first=False)
        whole = (row for row in played.rows if row["activity"] == "download" and row["outcome"] == "done")
        return [row["bytes"] for row in whole]

    undisturbed, cut_off = downloads(), downloads(crashes={(0, 1): 0.1})
    assert undisturbed[1] > undisturbed[0]
    assert cut_off[:2] == undisturbed[:2]


# --- a server that is away -------------------------------------------------------------------------------------------


def test_transfers_are_held_while_the_server_is_away_and_training_is_not(paper):
    """
    Away in [0.5, 1) and [2, 4.5).

    0  D s D T T T T s s s U U
                               M
    """
    played = paper(on_arrival(), 5.5, **ALONE, away=[(0.5, 1.0), (2.0, 4.5)])
    assert shown(played) == [
        (0, "download part", 0, 0.5),
        (0, "stalled", 0.5, 1),
        (0, "download", 1, 1.5),
        (0, "train", 1.5, 3.5),
        (0, "stalled", 3.5, 4.5),
        (0, "upload", 4.5, 5.5),
    ]
    assert played.merges == [(0, 5.5, 1, 0)]


def test_a_server_that_is_away_dispatches_nobody_and_sees_its_deadline_when_it_is_back(paper):
    """
    Client 0 is back at 4 s, client 1 dies at 4 s, client 2 comes at 9 s. The deadline at 5 s falls into the outage.

    0  D D T T T T U U . . . . D
    1  D D T T T T U X . . . . D
    2  D D g g g g g g g g g g g
                               M
    """
    delays_s = {"gray": (1.0, 1.0, 7.0), "color": (1.0,) * 3}
    played = paper(barrier(deadline_s=5.0), 6.5, delays_s=delays_s, away=[(4.5, 6.0)], crashes={(1, 0): 0.875})
    assert played.merges == [(0, 6, 1, 0)]
    begun = [span for span in shown(played) if span[2] == 6.0]
    assert begun == [(0, "download cut", 6, 6.5), (1, "download cut", 6, 6.5)]


def test_a_deadline_with_nobody_back_waits_for_the_first(paper):
    delays_s = {"gray": (1.0, 3.0), "color": (1.0, 1.0)}
    played = paper(barrier(deadline_s=2.0), 6.0, delays_s=delays_s, step_s=(1.0, 1.0), crashes={(0, 0): 0.25})
    assert played.merges == [(1, 6, 1, 0)]  # 0 died at 1 s and is idle since
    assert (0, "idle", 1, 6) in shown(played)


# --- a link that is shared -------------------------------------------------------------------------------------------


class Noting(Sleeper):
    def __init__(self, clock, ended_s):
        self.clock, self.ended_s = clock, ended_s

    def wake(self):
        self.ended_s.append(self.clock.now)


def test_rates_are_allocated_anew_whenever_a_transfer_starts_or_ends():
    """
    Capacity 6. A: 4 bytes at most 1/s. B: 10 bytes. C: 15 bytes, comes at 2 s.

    0 to 2 s   A 1, B 5      A has 2 left, B none: B is through at 2 s exactly as C comes
    2 to 4 s   A 1, C 5      A is through at 4 s, C has 5 left
    4 s        C 6           C is through at 4 + 5/6 s
    """
    clock, ended_s = Clock(), {"A": [], "B": [], "C": []}
    link = SharedLink(clock, 6.0)
    for name, latency_s, num_bytes, limit in (("A", 0.0, 4.0, 1.0), ("B", 0.0, 10.0, 99.0), ("C", 2.0, 15.0, 99.0)):
        Transfer(link, latency_s, num_bytes, limit, math.inf, Noting(clock, ended_s[name]))
    clock.may_end_idle = True
    clock.advance(99.0)
    assert ended_s == {"A": [4.0], "B": [2.0], "C": [pytest.approx(4 + 5 / 6)]}


def test_a_transfer_that_is_through_keeps_nobody_alive():
    """Its interruption is due long after, and until then the clock knows it."""
    clock, ended_s = Clock(), []
    noting = Noting(clock, ended_s)
    Transfer(SharedLink(clock, 1.0), 0.0, 1.0, 1.0, 100.0, noting)
    clock.may_end_idle = True
    clock.advance(50.0)
    alive = weakref.ref(noting)
    del noting
    assert ended_s == [1.0]
    assert alive() is None


def test_three_clients_download_through_one_link(paper):
    """
    The server sends 3 models/s, and every link has a latency of what is left of 1 s. Client 0 takes 1 model/s, client 1
    takes 2 and client 2 takes 4, which reaches the link last.

    0 to 1/2 s      client 0 alone, at 1: half of its model
    1/2 to 3/4 s    client 1 at 2: a half; 0 at 1: three quarters of it are there
    3/4 to 1 s      all three at 1: client 0 is through, 1 and 2 have 1/4 and 3/4 left
    from 1 s on     1 and 2 at 3/2: 1 is through after 1/6 s; 2 then has 1/2 left, at 3: another 1/6 s
    """
    num_bytes = paper(on_arrival(), 1.0, **ALONE).rows[0]["bytes"]
    played = paper(
        on_arrival(),
        1.5,
        **EQUAL,
        own_bytes_per_s=[num_bytes, 2 * num_bytes, 4 * num_bytes],
        shared_bytes_per_s={"down": 3 * num_bytes},
    )
    downloads = [row for row in played.rows if row["activity"] == "download"]
    assert [row["client"] for row in downloads] == [0, 1, 2]
    assert [row["end_s"] for row in downloads] == pytest.approx([1, 1 + 1 / 6, 1 + 2 / 6])
    assert [row["bytes"] for row in downloads] == [num_bytes] * 3


# --- how old an update may be, how long a buffer may wait ------------------------------------------------------------


def test_an_update_that_is_too_old_is_dropped_and_its_client_starts_again(paper):
    """
    Client 1 takes 8 s, meanwhile client 0 makes two versions: at most one is allowed.

    0  D D T T T T U U D D T T T T U U D D
    1  D D T T T T T T T T T T T T U U D D
                       M               M
    """
    delays_s = {"gray": (1.0, 1.0), "color": (1.0, 1.0)}
    played = paper(on_arrival(max_staleness=0), 9.0, delays_s=delays_s, step_s=(1.0, 3.0))
    assert played.merges == [(0, 4, 1, 0), (0, 8, 2, 0)]
    assert played.server.losses.updates_dropped == 1
    assert (1, "download", 8, 9) in shown(played)


def test_on_arrival_the_fast_wait_for_the_slow_where_staleness_is_bounded(paper):
    """
    Client 1 takes 9 s. Client 0 is merged at 4 s; to be merged again it waits until client 1 was.

    0  D D T T T T U U D D T T T T U U D D
    1  D D T T T T T T T T T T T T T T U U D D
                       M                   MM
    """
    delays_s = {"gray": (1.0, 1.0), "color": (1.0, 1.0)}
    played = paper(on_arrival(max_staleness=1, when_stale="wait"), 11.0, delays_s=delays_s, step_s=(1.0, 3.5))
    assert played.merges[:3] == [(0, 4, 1, 0), (1, 9, 2, 1), (0, 9, 3, 1)]
    assert (0, "idle", 8, 9) in shown(played)


def test_a_full_buffer_waits_for_whom_its_merge_would_leave_behind(paper):
    """In buffers of one, client 0's second update waits for client 1, and both make one version."""
    delays_s = {"gray": (1.0, 1.0), "color": (1.0, 1.0)}
    entry = buffered(size=1, max_staleness=1, when_stale="wait")
    played = paper(entry, 9.5, delays_s=delays_s, step_s=(1.0, 3.5))
    assert played.merges == [(0, 4, 1, 0), (0, 9, 2, 0), (1, 9, 2, 1)]


def test_a_buffer_that_waited_long_enough_is_merged_with_what_is_there_but_never_empty(paper):
    """Buffers of five; the first update comes at 4 s, the second at 8 s: merged 1.5 s after each, alone."""
    played = paper(buffered(size=5, timeout_s=1.5), 10.0, **ALONE)
    assert played.merges == [(0, 5.5, 1, 0), (0, 9.5, 2, 1)]


# --- the checker -----------------------------------------------------------------------------------------------------


@pytest.fixture
def played_row(paper):
    return paper(on_arrival(), 7.5, **ALONE, on={0: [(0.0, 2.0), (3.0, 3.5), (5.0, math.inf)]})


def test_work_while_off_is_found(played_row):
    timeline = pd.DataFrame(played_row.rows)
    world = played_row.world
    check([rows_of(timeline)], 1, 7.5, world)
    with pytest.raises(BrokenInvariantError, match="off where all are always on"):
        check([rows_of(timeline)], 1, 7.5)
    late = timeline.assign(activity=timeline["activity"].replace("off", "idle"))
    with pytest.raises(BrokenInvariantError, match="at work while it is off"):
        check([rows_of(late)], 1, 7.5, world)
