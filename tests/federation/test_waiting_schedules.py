"""Hand-drawn schedules of every waiting policy; see `test_schedules` for how to read them."""

import pytest
from entries import barrier, on_arrival

G, C, GC = "gray", "color", "gray+color"


def test_waiting_for_the_first_trains_on_what_has_arrived(paper):
    """
    Client 0 has gray only and client 1 color only, so each trains half as much as client 2, which has both.

    0  D D T T U U . .
    1  D D c c T T U U
    2  D D T T T T U U
                       M
    """
    delays_s = {"gray": (1.0, 4.0, 1.0), "color": (9.0, 2.0, 1.0)}
    played = paper({**barrier(), "waiting": "first"}, 4.0, delays_s=delays_s)
    assert played.spans == [
        (0, "download", 0, 1, 0, ""),
        (0, "train", 1, 2, 0, G),
        (0, "upload", 2, 3, 0, ""),
        (0, "idle", 3, 4, None, ""),
        (1, "download", 0, 1, 0, ""),
        (1, "wait", 1, 2, 0, C),
        (1, "train", 2, 3, 0, C),
        (1, "upload", 3, 4, 0, ""),
        (2, "download", 0, 1, 0, ""),
        (2, "train", 1, 3, 0, GC),
        (2, "upload", 3, 4, 0, ""),
    ]
    # a local round is one event: clients that come back at the same moment do so in the order of their dispatch
    assert played.merges == [(0, 4, 1, 0), (1, 4, 1, 0), (2, 4, 1, 0)]


def test_gaps_are_filled_with_whole_mini_batches(paper):
    """
    Two mini-batches a pass, 1 s each: joint training takes 4 s. A gap of 3.5 s holds three steps and half a second of
    waiting, one of 0.5 s none, one of exactly 1 s one.

    0  D D 1 1 1 1 1 1 c T T T T T T T T U U
    1  D D g T T T T T T T T U U . . . . . .
    2  D D c c 1 1 T T T T T T T T U U . . .
                                             M
    """
    delays_s = {"gray": (1.0, 1.5, 3.0), "color": (4.5, 1.0, 2.0)}
    entry = {**barrier(), "waiting": "opportunistic", "unimodal_epochs": 3}
    played = paper(entry, 9.5, delays_s=delays_s, batch_size=2)
    assert played.spans == [
        (0, "download", 0, 1, 0, ""),
        (0, "train_unimodal", 1, 4, 0, G),
        (0, "wait", 4, 4.5, 0, C),
        (0, "train", 4.5, 8.5, 0, GC),
        (0, "upload", 8.5, 9.5, 0, ""),
        (1, "download", 0, 1, 0, ""),
        (1, "wait", 1, 1.5, 0, G),
        (1, "train", 1.5, 5.5, 0, GC),
        (1, "upload", 5.5, 6.5, 0, ""),
        (1, "idle", 6.5, 9.5, None, ""),
        (2, "download", 0, 1, 0, ""),
        (2, "wait", 1, 2, 0, C),
        (2, "train_unimodal", 2, 3, 0, C),
        (2, "train", 3, 7, 0, GC),
        (2, "upload", 7, 8, 0, ""),
        (2, "idle", 8, 9.5, None, ""),
    ]
    assert played.merges == [(1, 9.5, 1, 0), (2, 9.5, 1, 0), (0, 9.5, 1, 0)]


@pytest.mark.parametrize(
    ("options", "overhead", "unimodal", "joint"),
    [
        ({"unimodal_epochs": 1}, 0.0, (1, 3), (4.5, 8.5)),  # one pass is two mini-batches; the rest is waiting
        ({"unimodal_epochs": 3}, 1.0, (1, 4), (4.5, 9.5)),  # the overhead leaves room for two
    ],
)
def test_a_gap_holds_no_more_than_its_passes_and_overhead_allow(paper, options, overhead, unimodal, joint):
    delays_s = {"gray": (1.0,), "color": (4.5,)}
    entry = {**barrier(), "waiting": "opportunistic", **options}
    played = paper(entry, 10.5, delays_s=delays_s, step_s=(1.0,), batch_size=2, overhead=overhead)
    assert played.spans[1:4] == [
        (0, "train_unimodal", *unimodal, 0, G),
        (0, "wait", unimodal[1], 4.5, 0, C),
        (0, "train", *joint, 0, GC),
    ]


def test_early_modalities_take_turns_in_a_gap(paper, task_list):
    """
    gray is there at 1 s, color at 3.5 s, depth at 8.5 s; two mini-batches a pass, 1 s each, at most three passes.

    0  D D 1 1 1 1 c 1 1 1 1 1 1 1 1 1 1 T T T T T T T T T T T T U U
           g   g     g   c   g   c   g                               M
    """
    delays_s = {"gray": (1.0,), "color": (3.5,), "depth": (8.5,)}
    entry = on_arrival(waiting="opportunistic", unimodal_epochs=3)
    played = paper(entry, 15.5, delays_s=delays_s, step_s=(1.0,), batch_size=2, executor=task_list)
    assert played.spans == [
        (0, "download", 0, 1, 0, ""),
        (0, "train_unimodal", 1, 3, 0, G),
        (0, "wait", 3, 3.5, 0, C),
        (0, "train_unimodal", 3.5, 8.5, 0, GC),
        (0, "train", 8.5, 14.5, 0, "gray+color+depth"),
        (0, "upload", 14.5, 15.5, 0, ""),
    ]
    assert played.merges == [(0, 15.5, 1, 0)]
    phases = [[(s.phase, s.first_step, s.num_steps) for s in task.local_steps] for task in task_list.tasks]
    gray, color = "unimodal-gray", "unimodal-color"
    assert phases[:3] == [  # the next round's tasks are submitted as well
        [(gray, 0, 2)],
        [(gray, 2, 1), (color, 0, 1), (gray, 3, 1), (color, 1, 1), (gray, 4, 1)],
        [("joint", 0, 2)],
    ]
