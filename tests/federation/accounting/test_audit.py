"""The checks at the end of every run find what breaks them, in a timeline of any number of parts."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timeline_rows import rows_of

from interlude.simulator.federation.accounting.invariants import BrokenInvariantError, check

TRAINING = ("train", "train_unimodal")
END_S, NUM_CLIENTS = 15.0, 4


@pytest.fixture(scope="module")
def good(wild, run):
    (record,) = run(wild({"name": "mba"}))
    check([rows_of(record.timeline)], NUM_CLIENTS, END_S)
    return record.timeline


@pytest.fixture
def timeline(good):
    return good.copy()


def row_of(timeline: pd.DataFrame, activity: str, position: int = 0) -> int:
    """Return the index of a row of an activity that does not end with the run."""
    return int(timeline.index[(timeline["activity"] == activity) & (timeline["end_s"] < END_S)][position])


def assert_broken(timeline, match):
    with pytest.raises(BrokenInvariantError, match=match):
        check([rows_of(timeline)], NUM_CLIENTS, END_S)


def test_an_overlap_is_found(timeline):
    timeline.loc[row_of(timeline, "train", 1), "start_s"] -= 1e-9
    assert_broken(timeline, "overlaps the one before")


def test_a_hole_is_found(timeline):
    assert_broken(timeline.drop(row_of(timeline, "wait", 1)), "leaves a hole")


def test_a_first_span_that_is_missing_is_found(timeline):
    assert_broken(timeline.drop(row_of(timeline, "download")), "leaves a hole")


def test_time_that_ends_before_the_run_is_found(timeline):
    timeline.loc[timeline["end_s"] == END_S, ["outcome", "end_s"]] = ["done", END_S - 0.001]
    assert_broken(timeline, "does not end with the run")


def test_a_client_without_a_timeline_is_found(timeline):
    with pytest.raises(BrokenInvariantError, match="5 clients exist, 4 have a timeline"):
        check([rows_of(timeline)], NUM_CLIENTS + 1, END_S)


def in_parts(timeline, num_rows):
    return [rows_of(timeline.iloc[first : first + num_rows]) for first in range(0, len(timeline), num_rows)]


@pytest.mark.parametrize("num_rows", [3, 50])
def test_parts_of_a_timeline_are_checked_like_the_whole(timeline, num_rows):
    check(in_parts(timeline, num_rows), NUM_CLIENTS, END_S)


def is_sound(parts):
    try:
        check(parts, NUM_CLIENTS, END_S)
    except BrokenInvariantError:
        return False
    return True


@settings(max_examples=15)
@given(data=st.data())
def test_what_is_broken_is_broken_in_parts_of_any_length(good, data):
    row = data.draw(st.integers(0, len(good) - 1))
    column, change = data.draw(st.sampled_from(["start_s", "end_s", "version"])), data.draw(st.sampled_from([-1, 1]))
    broken = good.copy()
    broken.loc[row, column] += change
    assert len({is_sound(in_parts(broken, num_rows)) for num_rows in (11, len(broken))}) == 1


def test_a_negative_staleness_is_found(timeline):
    timeline.loc[row_of(timeline, "merge"), "staleness"] = -1
    assert_broken(timeline, "before the version it started from")


def test_a_merge_back_in_time_is_found(timeline):
    timeline.loc[row_of(timeline, "merge", 2), ["start_s", "end_s"]] = 0.001
    assert_broken(timeline, "goes back in time")


def test_a_merge_without_an_upload_is_found(timeline):
    timeline.loc[row_of(timeline, "upload"), "outcome"] = "lost"
    assert_broken(timeline, "merged")


def test_a_merge_before_its_upload_ended_is_found(timeline):
    first = row_of(timeline, "merge")
    timeline.loc[first, ["start_s", "end_s"]] -= 0.001
    assert_broken(timeline, "merge")


@pytest.mark.parametrize("activity", ["download", "train"])
def test_a_version_from_the_future_is_found(timeline, activity):
    timeline.loc[row_of(timeline, activity), "version"] += 1
    assert_broken(timeline, "a version that did not exist yet")


def test_a_version_that_was_never_made_is_found(timeline):
    timeline.loc[row_of(timeline, "train"), "version"] = 10_000
    assert_broken(timeline, "a version that did not exist yet")


@pytest.mark.parametrize("activity", TRAINING)
def test_training_without_flops_is_found(timeline, activity):
    timeline.loc[row_of(timeline, activity), "flops"] = 0
    assert_broken(timeline, "training that costs nothing")


@pytest.mark.parametrize("activity", ["download", "upload"])
def test_a_transfer_without_bytes_is_found(timeline, activity):
    timeline.loc[row_of(timeline, activity), "bytes"] = 0
    assert_broken(timeline, "a transfer of no bytes")


@pytest.mark.parametrize("column", ["bytes", "flops"])
def test_a_negative_cost_is_found(timeline, column):
    timeline.loc[row_of(timeline, "wait"), column] = -1
    assert_broken(timeline, "a negative cost")


def test_the_row_that_is_named_is_the_first_of_the_first_client(timeline):
    waits = timeline[timeline["activity"] == "wait"]
    last = waits[waits["client"] == waits["client"].max()].index[0]
    first, second = waits[waits["client"] == waits["client"].min()].index[-2:]
    timeline.loc[[last, first, second], "flops"] = -1
    client, start_s, end_s = timeline.loc[first, ["client", "start_s", "end_s"]]
    with pytest.raises(BrokenInvariantError) as broken:
        check([rows_of(timeline)], NUM_CLIENTS, END_S)
    row = f"client {client:.0f}, wait, {start_s} s to {end_s} s (3 such rows)"
    assert str(broken.value) == f"the timeline has a negative cost: {row}"


def test_clients_whose_rows_are_not_in_order_are_checked_in_order(timeline):
    spans = timeline[timeline["activity"] != "merge"]
    backwards = spans.assign(version=0)[::-1]
    check([rows_of(backwards)], NUM_CLIENTS, END_S)
