"""Hand-drawn schedules of three clients: every server rule, ties and lost uploads, the whole log written out.

One character is half a second: D download, g/c/d wait for gray, color, depth, T joint training, 1 uni-modal training in
a gap, U upload, x an upload that breaks off, . idle; M is where the server merges.
"""

from entries import EQUAL, STAIRS, barrier, buffered, on_arrival

G, C, GC = "gray", "color", "gray+color"


# --- server rules ----------------------------------------------------------------------------------------------------


def test_a_barrier_waits_for_everybody(paper):
    """
       0   1   2   3   4   5   6   7 s
    0  D D T T T T U U . . . . D D
    1  D D c c T T T T U U . . D D
    2  D D g g g g T T T T U U D D
                               M
    """
    played = paper(barrier(), 7.0, delays_s=STAIRS)
    assert played.spans == [
        (0, "download", 0, 1, 0, ""),
        (0, "train", 1, 3, 0, GC),
        (0, "upload", 3, 4, 0, ""),
        (0, "idle", 4, 6, None, ""),
        (0, "download", 6, 7, 1, ""),
        (1, "download", 0, 1, 0, ""),
        (1, "wait", 1, 2, 0, C),
        (1, "train", 2, 4, 0, GC),
        (1, "upload", 4, 5, 0, ""),
        (1, "idle", 5, 6, None, ""),
        (1, "download", 6, 7, 1, ""),
        (2, "download", 0, 1, 0, ""),
        (2, "wait", 1, 3, 0, G),
        (2, "train", 3, 5, 0, GC),
        (2, "upload", 5, 6, 0, ""),
        (2, "download", 6, 7, 1, ""),
    ]
    assert played.merges == [(0, 6, 1, 0), (1, 6, 1, 0), (2, 6, 1, 0)]


def test_with_over_selection_the_late_client_works_for_nothing_and_returns(paper):
    """
    Two updates close a round, three clients are sent.

    0  D D T T T T U U . . D D T T T T U U . . D D
    1  D D c c T T T T U U D D c c T T T T U U D D
    2  D D g g g g T T T T U U . . . . . . . . D D
                           M                   M
    """
    played = paper(barrier(clients_per_round=2, over_selection=1.5), 11.0, delays_s=STAIRS)
    assert played.spans == [
        (0, "download", 0, 1, 0, ""),
        (0, "train", 1, 3, 0, GC),
        (0, "upload", 3, 4, 0, ""),
        (0, "idle", 4, 5, None, ""),
        (0, "download", 5, 6, 1, ""),
        (0, "train", 6, 8, 1, GC),
        (0, "upload", 8, 9, 1, ""),
        (0, "idle", 9, 10, None, ""),
        (0, "download", 10, 11, 2, ""),
        (1, "download", 0, 1, 0, ""),
        (1, "wait", 1, 2, 0, C),
        (1, "train", 2, 4, 0, GC),
        (1, "upload", 4, 5, 0, ""),
        (1, "download", 5, 6, 1, ""),
        (1, "wait", 6, 7, 1, C),
        (1, "train", 7, 9, 1, GC),
        (1, "upload", 9, 10, 1, ""),
        (1, "download", 10, 11, 2, ""),
        (2, "download", 0, 1, 0, ""),
        (2, "wait", 1, 3, 0, G),
        (2, "train", 3, 5, 0, GC),
        (2, "upload", 5, 6, 0, ""),
        (2, "idle", 6, 10, None, ""),
        (2, "download", 10, 11, 2, ""),
    ]
    assert played.merges == [(0, 5, 1, 0), (1, 5, 1, 0), (0, 10, 2, 0), (1, 10, 2, 0)]


def test_clients_per_round_sends_no_more_than_that(paper):
    """
    0  D D T T T T U U . . D D
    1  D D c c T T T T U U . .
    2  . . . . . . . . . . D D
                           M
    """
    played = paper(barrier(clients_per_round=2), 6.0, delays_s=STAIRS)
    assert played.spans == [
        (0, "download", 0, 1, 0, ""),
        (0, "train", 1, 3, 0, GC),
        (0, "upload", 3, 4, 0, ""),
        (0, "idle", 4, 5, None, ""),
        (0, "download", 5, 6, 1, ""),
        (1, "download", 0, 1, 0, ""),
        (1, "wait", 1, 2, 0, C),
        (1, "train", 2, 4, 0, GC),
        (1, "upload", 4, 5, 0, ""),
        (1, "idle", 5, 6, None, ""),
        (2, "idle", 0, 5, None, ""),
        (2, "download", 5, 6, 1, ""),
    ]
    assert played.merges == [(0, 5, 1, 0), (1, 5, 1, 0)]


def test_a_deadline_closes_the_round_with_who_is_back(paper):
    """
    The deadline is 4.5 s after the start of a round; the second round has only client 0 to send.

    0  D D T T T T U U . D D T T T T U U D D
    1  D D c c T T T T U U . . . . . . . D D
    2  D D g g g g T T T T U U . . . . . D D
                         M               M
    """
    played = paper(barrier(deadline_s=4.5), 9.5, delays_s=STAIRS)
    assert played.spans == [
        (0, "download", 0, 1, 0, ""),
        (0, "train", 1, 3, 0, GC),
        (0, "upload", 3, 4, 0, ""),
        (0, "idle", 4, 4.5, None, ""),
        (0, "download", 4.5, 5.5, 1, ""),
        (0, "train", 5.5, 7.5, 1, GC),
        (0, "upload", 7.5, 8.5, 1, ""),
        (0, "download", 8.5, 9.5, 2, ""),
        (1, "download", 0, 1, 0, ""),
        (1, "wait", 1, 2, 0, C),
        (1, "train", 2, 4, 0, GC),
        (1, "upload", 4, 5, 0, ""),
        (1, "idle", 5, 8.5, None, ""),
        (1, "download", 8.5, 9.5, 2, ""),
        (2, "download", 0, 1, 0, ""),
        (2, "wait", 1, 3, 0, G),
        (2, "train", 3, 5, 0, GC),
        (2, "upload", 5, 6, 0, ""),
        (2, "idle", 6, 8.5, None, ""),
        (2, "download", 8.5, 9.5, 2, ""),
    ]
    assert played.merges == [(0, 4.5, 1, 0), (0, 8.5, 2, 0)]


def test_who_comes_back_at_the_deadline_counts(paper):
    played = paper(barrier(deadline_s=5.0), 5.0, delays_s=STAIRS)
    assert played.merges == [(0, 5, 1, 0), (1, 5, 1, 0)]


def test_a_deadline_never_closes_a_round_with_nobody(paper):
    """
    The deadline of 2.5 s is over when the first client comes back, so the round closes with that one.

    0  D D T T T T U U
    1  D D c c T T T T
    2  D D g g g g T T
                       M
    """
    played = paper(barrier(deadline_s=2.5), 4.0, delays_s=STAIRS)
    assert played.merges == [(0, 4, 1, 0)]
    assert [span for span in played.spans if span[1] != "download"] == [
        (0, "train", 1, 3, 0, GC),
        (0, "upload", 3, 4, 0, ""),
        (1, "wait", 1, 2, 0, C),
        (1, "train", 2, 4, 0, GC),
        (2, "wait", 1, 3, 0, G),
        (2, "train", 3, 4, 0, GC),
    ]


def test_on_arrival_counts_staleness_in_versions_at_the_merge(paper):
    """
    0  D D T T T T U U D D T T T T U U D D T T
    1  D D c c T T T T U U D D c c T T T T U U
    2  D D g g g g T T T T U U D D g g g g T T
                       M   M   M       M       M
    """
    played = paper(on_arrival(), 10.0, delays_s=STAIRS)
    assert played.spans == [
        (0, "download", 0, 1, 0, ""),
        (0, "train", 1, 3, 0, GC),
        (0, "upload", 3, 4, 0, ""),
        (0, "download", 4, 5, 1, ""),
        (0, "train", 5, 7, 1, GC),
        (0, "upload", 7, 8, 1, ""),
        (0, "download", 8, 9, 4, ""),
        (0, "train", 9, 10, 4, GC),
        (1, "download", 0, 1, 0, ""),
        (1, "wait", 1, 2, 0, C),
        (1, "train", 2, 4, 0, GC),
        (1, "upload", 4, 5, 0, ""),
        (1, "download", 5, 6, 2, ""),
        (1, "wait", 6, 7, 2, C),
        (1, "train", 7, 9, 2, GC),
        (1, "upload", 9, 10, 2, ""),
        (2, "download", 0, 1, 0, ""),
        (2, "wait", 1, 3, 0, G),
        (2, "train", 3, 5, 0, GC),
        (2, "upload", 5, 6, 0, ""),
        (2, "download", 6, 7, 3, ""),
        (2, "wait", 7, 9, 3, G),
        (2, "train", 9, 10, 3, GC),
    ]
    assert played.merges == [(0, 4, 1, 0), (1, 5, 2, 1), (2, 6, 3, 2), (0, 8, 4, 2), (1, 10, 5, 2)]


def test_concurrency_limits_who_is_in_flight(paper):
    """
    0  D D T T T T U U . . D D T T T T U U . .
    1  D D c c T T T T U U . . . . . . . . D D
    2  . . . . . . . . D D g g g g T T T T U U
                       M   M               M   M
    """
    played = paper(on_arrival(concurrency=2), 10.0, delays_s=STAIRS)
    assert played.spans == [
        (0, "download", 0, 1, 0, ""),
        (0, "train", 1, 3, 0, GC),
        (0, "upload", 3, 4, 0, ""),
        (0, "idle", 4, 5, None, ""),
        (0, "download", 5, 6, 2, ""),
        (0, "train", 6, 8, 2, GC),
        (0, "upload", 8, 9, 2, ""),
        (0, "idle", 9, 10, None, ""),
        (1, "download", 0, 1, 0, ""),
        (1, "wait", 1, 2, 0, C),
        (1, "train", 2, 4, 0, GC),
        (1, "upload", 4, 5, 0, ""),
        (1, "idle", 5, 9, None, ""),
        (1, "download", 9, 10, 3, ""),
        (2, "idle", 0, 4, None, ""),
        (2, "download", 4, 5, 1, ""),
        (2, "wait", 5, 7, 1, G),
        (2, "train", 7, 9, 1, GC),
        (2, "upload", 9, 10, 1, ""),
    ]
    assert played.merges == [(0, 4, 1, 0), (1, 5, 2, 1), (0, 9, 3, 0), (2, 10, 4, 2)]


def test_a_buffer_of_two_can_hold_a_fast_client_twice(paper):
    """
    Training takes 2, 8 and 9 s; the buffer is full where M is.

    0  D D T T T T U U D D T T T T U U D D T T T T U U
    1  D D T T T T T T T T T T T T T T T T U U D D T T
    2  D D T T T T T T T T T T T T T T T T T T U U D D
                                       M           M
    """
    played = paper(buffered(size=2), 12.0, delays_s=EQUAL, step_s=(1.0, 4.0, 4.5))
    assert played.spans == [
        (0, "download", 0, 1, 0, ""),
        (0, "train", 1, 3, 0, GC),
        (0, "upload", 3, 4, 0, ""),
        (0, "download", 4, 5, 0, ""),
        (0, "train", 5, 7, 0, GC),
        (0, "upload", 7, 8, 0, ""),
        (0, "download", 8, 9, 1, ""),
        (0, "train", 9, 11, 1, GC),
        (0, "upload", 11, 12, 1, ""),
        (1, "download", 0, 1, 0, ""),
        (1, "train", 1, 9, 0, GC),
        (1, "upload", 9, 10, 0, ""),
        (1, "download", 10, 11, 1, ""),
        (1, "train", 11, 12, 1, GC),
        (2, "download", 0, 1, 0, ""),
        (2, "train", 1, 10, 0, GC),
        (2, "upload", 10, 11, 0, ""),
        (2, "download", 11, 12, 2, ""),
    ]
    assert played.merges == [(0, 8, 1, 0), (0, 8, 1, 0), (1, 11, 2, 1), (2, 11, 2, 1)]


# --- ties ------------------------------------------------------------------------------------------------------------


def test_an_update_that_ties_with_the_close_of_its_round_is_not_merged_into_the_next(paper):
    """
    Three equal clients, two updates close a round: the third comes back at the same moment, too late.

    0  D D T T T T U U D D T T T T U U
    1  D D T T T T U U D D T T T T U U
    2  D D T T T T U U D D T T T T U U
                       M               M
    """
    played = paper(barrier(clients_per_round=2, over_selection=1.5), 8.0, delays_s=EQUAL)
    assert played.merges == [(0, 4, 1, 0), (1, 4, 1, 0), (0, 8, 2, 0), (1, 8, 2, 0)]


def test_on_arrival_clients_that_come_back_together_start_again_from_a_model_with_their_update(paper):
    """
    Three equal clients come back at 4 s and are merged as versions 1, 2, 3 at that moment.

    0  D D T T T T U U D D
    1  D D T T T T U U D D
    2  D D T T T T U U D D
                       MMM
    """
    played = paper(on_arrival(), 5.0, delays_s=EQUAL)
    merged_as = {client: version for client, _, version, _ in played.merges}
    assert merged_as == {0: 1, 1: 2, 2: 3}
    started_from = {client: version for client, _, start, _, version, _ in played.spans if start == 4.0}
    assert all(started_from[client] >= merged_as[client] for client in (0, 1, 2))


def test_clients_that_come_back_together_are_taken_in_one_after_the_other(paper):
    """
    Three equal clients and a buffer of three: 0 and 1 are sent out again before 2 fills the buffer at the same instant.

    0  D D T T T T U U D D T T T T U U
    1  D D T T T T U U D D T T T T U U
    2  D D T T T T U U D D T T T T U U
                       M               M
    """
    played = paper(buffered(size=3), 8.0, delays_s=EQUAL)
    assert played.merges == [(0, 4, 1, 0), (1, 4, 1, 0), (2, 4, 1, 0), (0, 8, 2, 1), (1, 8, 2, 1), (2, 8, 2, 0)]


# --- faults ----------------------------------------------------------------------------------------------------------


def test_a_barrier_goes_on_without_an_upload_that_breaks_off(paper):
    """
    Client 0's first upload breaks off half way; it is idle then, and sent again with the others.

    0  D D T T T T x . . . . . D D
    1  D D c c T T T T U U . . D D
    2  D D g g g g T T T T U U D D
                               M
    """
    played = paper(barrier(), 7.0, delays_s=STAIRS, lost={(0, 0): 0.5})
    assert played.spans == [
        (0, "download", 0, 1, 0, ""),
        (0, "train", 1, 3, 0, GC),
        (0, "upload lost", 3, 3.5, 0, ""),
        (0, "idle", 3.5, 6, None, ""),
        (0, "download", 6, 7, 1, ""),
        (1, "download", 0, 1, 0, ""),
        (1, "wait", 1, 2, 0, C),
        (1, "train", 2, 4, 0, GC),
        (1, "upload", 4, 5, 0, ""),
        (1, "idle", 5, 6, None, ""),
        (1, "download", 6, 7, 1, ""),
        (2, "download", 0, 1, 0, ""),
        (2, "wait", 1, 3, 0, G),
        (2, "train", 3, 5, 0, GC),
        (2, "upload", 5, 6, 0, ""),
        (2, "download", 6, 7, 1, ""),
    ]
    assert played.merges == [(1, 6, 1, 0), (2, 6, 1, 0)]


def test_on_arrival_a_client_whose_upload_broke_off_starts_again_at_once(paper):
    """
    0  D D T T T T x D D T T T T U U
                                     M
    """
    delays_s = {"gray": (1.0,), "color": (1.0,)}
    played = paper(on_arrival(), 7.5, delays_s=delays_s, step_s=(1.0,), lost={(0, 0): 0.5})
    assert played.spans == [
        (0, "download", 0, 1, 0, ""),
        (0, "train", 1, 3, 0, GC),
        (0, "upload lost", 3, 3.5, 0, ""),
        (0, "download", 3.5, 4.5, 0, ""),
        (0, "train", 4.5, 6.5, 0, GC),
        (0, "upload", 6.5, 7.5, 0, ""),
    ]
    assert played.merges == [(0, 7.5, 1, 0)]


def test_a_round_in_which_every_upload_breaks_off_makes_no_version(paper):
    lost = {(client, 0): 0.5 for client in (0, 1, 2)}
    played = paper(barrier(), 8.0, delays_s=EQUAL, lost=lost)
    assert played.merges == [(0, 7.5, 1, 0), (1, 7.5, 1, 0), (2, 7.5, 1, 0)]
    assert [span for span in played.spans if span[2] == 3.5] == [(k, "download", 3.5, 4.5, 0, "") for k in (0, 1, 2)]


def test_a_client_without_any_modality_comes_back_after_its_download(paper):
    """
    0  D D . . . . . . D D
    1  D D T T T T U U D D
                       M
    """
    delays_s = {"gray": (None, 1.0), "color": (None, 1.0)}
    played = paper(barrier(), 5.0, delays_s=delays_s, step_s=(1.0, 1.0))
    assert played.spans == [
        (0, "download", 0, 1, 0, ""),
        (0, "idle", 1, 4, None, ""),
        (0, "download", 4, 5, 1, ""),
        (1, "download", 0, 1, 0, ""),
        (1, "train", 1, 3, 0, GC),
        (1, "upload", 3, 4, 0, ""),
        (1, "download", 4, 5, 1, ""),
    ]
    assert played.merges == [(1, 4, 1, 0)]
