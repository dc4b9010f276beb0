"""What is on its way when a run ends is cut, not lost: only faults lose anything."""

import pandas as pd
import pytest
from paper_world import play
from timeline_rows import rows_of

from interlude import parse_scenario, run_scenario
from interlude.analysis.choices import Choices
from interlude.analysis.figures import draw
from interlude.analysis.summary import summarise_runs
from interlude.analysis.trace import Excerpt, trace_events
from interlude.simulator.federation.accounting.invariants import BrokenInvariantError, check
from interlude.simulator.world.faults import UploadLossSpec

ENTRY = {"name": "fedasync", "server": {"rule": "on_arrival"}}
TWICE = UploadLossSpec(probability=0.5, max_attempts=3, backoff_s=1.0)


def lone(until_s, **world):
    """Play one client, whose local round is download 0 to 1 s, training 1 to 3 s, upload 3 to 4 s."""
    return play(ENTRY, until_s, delays_s={"gray": [1.0], "color": [1.0]}, step_s=[1.0], **world)


def up(run):
    return [(row["outcome"], row["start_s"], row["end_s"]) for row in run.rows if row["activity"] == "upload"]


def accounts(run):
    """Return the bytes uploaded that were received, lost and cut, in whole uploads, and the lost local rounds."""
    losses = run.server.losses
    one = lone(4.0).server.losses.bytes_received
    losses.add_rows(rows_of(pd.DataFrame(run.rows)))
    lost = losses.totals()["bytes_up"]
    parts = (losses.bytes_received / one, lost / one, losses.bytes_up_cut / one)
    return tuple(round(part, 2) for part in parts), dict(losses.rounds)


@pytest.mark.parametrize(
    ("until_s", "world", "uploads", "bytes_up", "rounds"),
    [
        (3.5, {}, [("cut", 3, 3.5)], (0, 0, 0.5), {}),
        (7.75, {}, [("done", 3, 4), ("cut", 7, 7.75)], (1, 0, 0.75), {}),
        # it would break off at 3.8 s: until then it is on its way
        (3.5, {"lost": {(0, 0): 0.8}}, [("cut", 3, 3.5)], (0, 0, 0.5), {}),
        (4.0, {"lost": {(0, 0): 0.75}}, [("lost", 3, 3.75)], (0, 0.75, 0), {"broke off": 1}),
        # the first attempt is lost, the second would be, too
        (5.5, {"upload_loss": TWICE, "lost_attempts": {(0, 0): 2}}, [("lost", 3, 4), ("cut", 5, 5.5)], (0, 1, 0.5), {}),
        # off while it is on its way
        (4.0, {"on": {0: [(0, 3.25), (9, 99)]}}, [("part", 3, 3.25)], (0, 0, 0.25), {}),
        (9.5, {"on": {0: [(0, 3.25), (9, 99)]}}, [("part", 3, 3.25), ("cut", 9, 9.5)], (0, 0, 0.75), {}),
        (4.0, {"on": {0: [(0, 3.25)]}}, [("lost", 3, 3.25)], (0, 0.25, 0), {"left": 1}),
        # the server is away
        (4.0, {"away": [(3.5, 5.0)]}, [("part", 3, 3.5)], (0, 0, 0.5), {}),
    ],
)
def test_an_upload_on_its_way_is_cut(until_s, world, uploads, bytes_up, rounds):
    run = lone(until_s, **world)
    assert up(run) == uploads
    assert accounts(run) == (bytes_up, rounds)


def test_a_download_on_its_way_is_cut():
    run = lone(0.25)
    assert [(row["activity"], row["outcome"]) for row in run.rows] == [("download", "cut")]
    assert run.server.losses.bytes_down_cut == run.rows[0]["bytes"] > 0
    assert run.server.losses.totals()["bytes_down"] == 0


def test_training_that_a_crash_would_end_later_is_not_lost_yet():
    run = lone(2.0, crashes={(0, 0): 0.625})
    assert [(row["activity"], row["outcome"]) for row in run.rows] == [("download", "done"), ("train", "cut")]
    assert run.server.losses.rounds == {}


def test_a_transfer_through_a_shared_link_is_cut():
    num_bytes = lone(1.0).rows[0]["bytes"]
    run = lone(0.5, own_bytes_per_s=[num_bytes], shared_bytes_per_s={"down": num_bytes})
    assert [(row["activity"], row["outcome"]) for row in run.rows] == [("download", "cut")]
    assert run.server.losses.bytes_down_cut == run.rows[0]["bytes"] == num_bytes // 2


def test_a_span_cut_before_the_end_is_found():
    timeline = pd.DataFrame(lone(3.5).rows)
    check([rows_of(timeline)], 1, 3.5)
    broken = timeline.assign(outcome=["cut", *timeline["outcome"][1:]])
    with pytest.raises(BrokenInvariantError, match="a span cut before the end of the run"):
        check([rows_of(broken)], 1, 3.5)


def test_a_run_without_faults_loses_nothing(scenario_with, tmp_path):
    scenario = parse_scenario(scenario_with({"until.simulated_s": 10, "world.network.uplink_mbps": 0.01}))
    (record,) = run_scenario(scenario, runs=tmp_path, device="cpu", timing_only=True)
    assert set(record.timeline["outcome"]) == {"done", "cut"}
    assert record.info["totals"]["lost"]["bytes_up"] == record.info["totals"]["lost"]["bytes_down"] == 0
    row = summarise_runs([record]).iloc[0]
    assert row["bytes_lost"] == 0 < row["bytes_cut"]
    names = {event["name"] for event in trace_events(record, Excerpt())}
    assert {name for name in names if "cut" in name} <= {"upload cut by the end", "download cut by the end"}
    assert not any("lost" in name for name in names)
    (plot,), _ = draw([record], ["gantt"], Choices(window_s=(0.0, 10.0)))
    labels = {text.get_text() for legend in plot.drawing.figure.legends for text in legend.get_texts()}
    assert "cut by the end of the run" in labels
    assert "upload lost" not in labels
