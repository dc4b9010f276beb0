"""Runs that are resumed after their files were changed, and what a killed run leaves behind."""

import shutil
from pathlib import Path

import pytest
from stopped_runs import content, interrupted, play, short

from interlude import run_scenario
from interlude.simulator.federation.server import Server
from interlude.simulator.record.checkpoint import Checkpoints
from interlude.simulator.run import experiment
from interlude.simulator.sweep import Flags, load_sweep, run_sweep
from interlude.simulator.sweep.local import LocalProcesses


@pytest.fixture(autouse=True)
def no_estimate(monkeypatch):
    """Leave the estimate out: it plays the first events of a run, too."""
    monkeypatch.setattr(experiment, "estimate", lambda *_, **__: None)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, wild):
    """Return a scenario, the files of its run, and a directory in which that run was stopped and saved twice."""
    given, folder = short(wild, {"name": "fedavg"}), tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(experiment, "estimate", lambda *_, **__: None)
        (calm,) = play(given, folder / "calm")
        for number in (1, 3):
            interrupted(given, folder / "runs", (Server, "merge", number, 1))
    return given, content(calm), folder / "runs"


def resumed(stopped, tmp_path, change):
    """Resume the stopped run after a change of its directory; returns what is said, the record being right."""
    given, calm, runs = stopped
    shutil.copytree(runs, tmp_path / "runs")
    change(tmp_path / "runs/wild/fedavg-s3")
    said = []
    (record,) = play(given, tmp_path / "runs", say=said.append)
    assert content(record) == calm
    return " | ".join(said)


def metrics_changed(at, to):
    def change(run):
        text = (run / "metrics.csv").read_bytes()
        (run / "metrics.csv").write_bytes(text[:at] + to + text[at + len(to) :])

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda run: (run / "metrics.csv").write_bytes(b""), "metrics.csv has 0 of the"),
        (lambda run: (run / "metrics.csv").unlink(), "metrics.csv is missing"),
        (metrics_changed(60, b"7"), "metrics.csv was changed since"),
    ],
    ids=["emptied", "missing", "changed"],
)
def test_a_run_whose_metrics_are_not_those_of_any_checkpoint_begins_again(stopped, tmp_path, change, reason):
    said = resumed(stopped, tmp_path, change)
    assert said.count(reason) == 2
    assert said.count("so this checkpoint is not used") == 2
    assert "begins again: no checkpoint of it is usable" in said


@pytest.mark.parametrize("change", ["cut at a line", "changed"])
def test_metrics_that_are_those_of_an_earlier_checkpoint_resume_from_there(stopped, tmp_path, change):
    def spoil(run):
        lines = (run / "metrics.csv").read_bytes().splitlines(keepends=True)
        last = len(lines) - 20
        rest = [] if change == "cut at a line" else [b"9,9,accuracy,fused,1.0\n", *lines[last:]]
        (run / "metrics.csv").write_bytes(b"".join([*lines[:last], *rest]))

    said = resumed(stopped, tmp_path, spoil)
    assert said.count("so this checkpoint is not used") == 1
    assert "is resumed where it was saved" in said


@pytest.mark.parametrize("change", ["metrics grow", "timeline is lost", "timeline grows", "partition is changed"])
def test_what_a_resumed_run_writes_again_is_not_trusted(stopped, tmp_path, change):
    def spoil(run):
        if change == "metrics grow":
            (run / "metrics.csv").write_bytes((run / "metrics.csv").read_bytes() + b"9,9,accuracy,fused,1.0\n")
        elif change == "timeline is lost":
            shutil.rmtree(run / "timeline")
        elif change == "timeline grows":
            (part,) = (run / "timeline").iterdir()
            shutil.copy(part, part.with_name("part-00007.parquet"))
            part.write_bytes(b"PAR1")
        else:
            (run / "partition.csv").write_text("client\n")

    said = resumed(stopped, tmp_path, spoil)
    assert said.endswith("is resumed where it was saved")
    assert "not used" not in said


@pytest.mark.parametrize("content", [(), (".new",), (".new", "000000000001-" + 32 * "0" + ".safetensors")])
def test_what_a_run_killed_while_it_tidied_up_left_is_removed_by_the_next_command(scenario_file, tmp_path, content):
    path = scenario_file({"until.simulated_s": 3})
    sweep = load_sweep(path, (), Flags(seeds=[0]))
    (scenario,) = sweep.scenarios

    def again():
        (record,) = run_scenario(scenario, runs=tmp_path, device="cpu", timing_only=True)
        return record.path

    run = again()
    for command in (again, lambda: run_sweep(sweep, LocalProcesses(1), runs=tmp_path, device="cpu", timing_only=True)):
        (run / "checkpoint").mkdir()
        for name in content:
            (run / "checkpoint" / name).write_bytes(b"")
        command()
        assert not (run / "checkpoint").exists()


def test_a_complete_run_that_cannot_be_tidied_up_is_complete(wild, tmp_path, monkeypatch):
    given = short(wild, {"name": "fedavg"})
    interrupted(given, tmp_path, (Server, "merge", 1, 1))

    def refuse(path):
        raise OSError(path)

    monkeypatch.setattr(Path, "rmdir", refuse)
    (record,) = play(given, tmp_path)
    assert record.is_complete
    assert Checkpoints(record.path / "checkpoint").files() == []
