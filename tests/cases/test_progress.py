"""Progress by host time: every value carries its own simulated time, and the last is the table's."""

import io

import pytest
from rich.console import Console

from interlude import parse_scenario, run_scenario
from interlude.simulator.cli.bars import Pace
from interlude.simulator.cli.progress import ProgressDisplay
from interlude.simulator.run import ticks
from interlude.simulator.run.observer import Evaluated, Moment

LEARNS = {"evaluate": {"every_s": 2}, "methods": [{"name": "fedasync"}], "training.optimizer.learning_rate": 0.3}


def moment(time_s, done, accuracy=None, at_s=0.0):
    evaluated = None if accuracy is None else Evaluated("a", at_s, 3, {"fused": accuracy}, 1.0)
    return Moment("a", time_s, 7, 100, 20, done, evaluated)


def watched(scenario_with, runs, **options):
    seen = []
    (record,) = run_scenario(
        parse_scenario(scenario_with(LEARNS)), runs=runs, device="cpu", workers=1, watch=seen.append, **options
    )
    return seen, record


def test_what_a_watcher_sees_is_in_the_record_at_its_own_time(scenario_with, tmp_path, monkeypatch):
    monkeypatch.setattr(ticks, "_EVERY_S", 0.01)
    seen, record = watched(scenario_with, tmp_path)
    fused = record.metrics.query("metric == 'accuracy' and modality == 'fused'").set_index("time_s")
    known = [one.evaluated for one in seen if one.evaluated is not None]
    assert known
    for evaluated in known:
        assert fused.value[evaluated.time_s] == evaluated.accuracy["fused"]
        assert fused.version[evaluated.time_s] == evaluated.version
    last = seen[-1]
    assert (last.done, last.time_s, last.events) == (1.0, 30.0, record.info["totals"]["events"])
    assert (last.evaluated.time_s, last.accuracy) == (30.0, fused.value.iloc[-1])


def test_progress_comes_by_host_time_and_not_by_evaluations(scenario_with, tmp_path, monkeypatch):
    monkeypatch.setattr(ticks, "_EVERY_S", 0.001)
    seen = []
    changes = {**LEARNS, "evaluate.every_s": 1e6, "until.simulated_s": 3000}
    run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, timing_only=True, watch=seen.append)
    assert len(seen) > 3
    assert [one.events for one in seen] == sorted(one.events for one in seen)
    assert any(0.0 < one.done < 1.0 for one in seen)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_line_says_when_an_accuracy_was_the_models(is_terminal):
    said = io.StringIO()
    console = Console(file=said, force_terminal=is_terminal, width=200, color_system=None)
    with ProgressDisplay(console) as display:
        display(moment(0.0, 0.0))
        display(moment(50.0, 0.5, 0.233, at_s=20.0))
        display(moment(100.0, 1.0, 0.447, at_s=100.0))
    assert "t = 100 s, version 7, 20 local rounds, accuracy 0.447" in said.getvalue()
    if not is_terminal:
        lines = said.getvalue().splitlines()
        assert lines[0] == "a: 0%, t = 0 s, version 7, 20 local rounds"
        assert "accuracy 0.233 at 20 s, ETA 0:00:0" in lines[1]
        assert len(lines) == 3


def test_the_time_left_by_hand():
    """A quarter of the run in 30 s: the other half takes 60 s."""
    assert Pace(0.25, 100.0).left(0.5, 130.0) == ", ETA 0:01:00"
    assert Pace(0.25, 100.0).left(0.25, 130.0) == Pace(0.25, 100.0).left(1.0, 130.0) == ""
