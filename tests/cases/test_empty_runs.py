"""Runs in which nothing happens: no client is ever on, no update is merged, the end comes before the first return.

Their records are complete, and every command reads them.
"""

import pytest
import yaml

from interlude.analysis.choices import Choices
from interlude.analysis.figures import draw_applicable
from interlude.analysis.runs import find_runs
from interlude.analysis.trace import Excerpt, trace_events
from interlude.simulator.cli import main as command_line

METHODS = [{"name": "fedavg"}, {"name": "bmsfed"}, {"name": "fedmchain", "pipelined": True}]
NEVER_ON = {"world.availability": {"kind": "always", "join_s": 5, "leave_s": 1}}
WORLDS = {
    "no client, no time": {**NEVER_ON, "until": {"versions": 5}},
    "no client until the end": {**NEVER_ON, "until": {"simulated_s": 20, "versions": 5}},
    "the end before any return": {"until": {"simulated_s": 0.5}},
    "no upload": {"world.faults": {"crash_probability": 0.999}, "until": {"simulated_s": 20}},
}


def call(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        command_line.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert not stopped.value.code, said.err
    return said.out


@pytest.fixture(params=WORLDS)
def scenario(request, tmp_path, scenario_with):
    changes = {
        "name": "nothing", "clients.count": 3, "model.width": 4, "methods": METHODS,
        "evaluate": {"every_s": 10, "samples": 20, "target_accuracy": 0.9},
        "world.energy": {"train_w": 2.0, "radio_w": 1.0, "idle_w": 0.1},
    }  # fmt: skip
    path = tmp_path / "nothing.yaml"
    path.write_text(yaml.safe_dump(scenario_with(changes | WORLDS[request.param])), encoding="utf-8")
    return path


def test_a_run_in_which_nothing_happens_is_complete_and_readable(scenario, tmp_path, capsys):
    runs = tmp_path / "runs"
    assert "nan" not in call(capsys, "check", scenario, "--device", "cpu").lower().split()
    call(capsys, "run", scenario, "--runs", runs, "--device", "cpu", "--workers", "1")
    records, _ = find_runs([runs])
    assert [record.label for record in records] == [method["name"] for method in METHODS]
    for record in records:
        assert record.is_complete
        assert record.info["totals"]["versions"] == 0
        assert "merge" not in set(record.timeline["activity"])
        assert record.metrics.loc[record.metrics["metric"] == "accuracy", "time_s"].min() == 0
        assert set(record.info["totals"]["lost"]["rounds"]) <= {"crashed"}
        assert list(trace_events(record, Excerpt()))
    plots, _ = draw_applicable(records, Choices())
    assert {"accuracy-vs-time", "time-to-accuracy", "partition"} <= {plot.kind for plot in plots}
    call(capsys, "verify", runs)
    if records[0].timeline.empty:
        call(capsys, "report", runs)
        call(capsys, "trace", records[0].path)
