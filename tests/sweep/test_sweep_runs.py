"""How a sweep's runs are executed: reused, refused, failed, interrupted."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from records import records_in, times_in

from interlude import load_scenario, run_scenario
from interlude.simulator.data import find_source, loading
from interlude.simulator.errors import BadInputError
from interlude.simulator.files import only_one
from interlude.simulator.sweep import Flags, load_sweep, run_sweep
from interlude.simulator.sweep import runs as sweep_runs
from interlude.simulator.sweep.local import LocalProcesses


def test_a_sweep_writes_runs_by_point_a_summary_and_is_not_done_again(cli, scenario_file, tmp_path):
    runs = tmp_path / "runs"
    command = ["sweep", scenario_file(), "--clients", "4,8", "--seeds", "0,1", "--runs", runs, "--timing-only"]
    code, out, err = cli(*command, "--jobs", 2)
    assert (code, err) == (0, "")
    assert {str(path.parent.relative_to(runs)) for path in runs.rglob("run.json")} == {
        f"tiny/tiny-clients-{count}/fedavg-s{seed}" for count in (4, 8) for seed in (0, 1)
    }
    assert "4/4 tiny-clients-" in out
    summary = pd.read_csv(runs / "tiny/summary.csv")
    assert summary["point"].tolist() == ["tiny-clients-4", "tiny-clients-8"]
    before = times_in(runs)
    code, out, _ = cli(*command)
    assert code == 0
    assert "4 of 4 runs were finished before" in out
    command[3] = "4,8,6"  # a value more: one point is added, nothing moves
    assert cli(*command)[0] == 0
    after = times_in(runs)
    assert {path: after[path] for path in before} == before
    assert len(after) == 6


def test_the_points_of_a_sweep_share_the_data_of_a_seed(scenario_file, tmp_path, monkeypatch):
    loaded = []
    source = find_source("cg-digits")
    counting = replace(source, load=lambda spec: loaded.append(spec.seed) or source.load(spec))
    monkeypatch.setattr(loading, "find_source", lambda _: counting)
    block = {"clients.count": [3, 4], "data.partition.alpha": [1.0, 2.0], "seed": [5, 6, 7]}
    sweep = load_sweep(scenario_file({"sweep": block}))
    loading._load.cache_clear()
    tasks = sweep_runs.tasks_of(sweep, tmp_path, torch.device("cpu"), timing_only=True)
    assert loaded == [5, 6, 7]
    assert [task.spec.scenario.seed for task in tasks] == 4 * [5, 6, 7]


def test_results_are_those_of_single_runs_with_one_job_and_with_two(scenario_file, tmp_path):
    """With training: jobs share no state, so neither their number nor their order changes a byte."""
    methods = [{"name": "fedavg"}, {"name": "mba"}]
    path = scenario_file({"methods": methods, "until.simulated_s": 12, "evaluate.every_s": 4})
    sweep = load_sweep(path, (), Flags(seeds=[0, 1]))
    for jobs in (1, 2):
        outcomes = run_sweep(sweep, LocalProcesses(jobs), runs=tmp_path / f"jobs-{jobs}", device="cpu")
        assert [outcome.status for outcome in outcomes] == ["complete"] * 4
    for seed in (0, 1):
        run_scenario(load_scenario(path, [f"seed={seed}"]), runs=tmp_path / "single", device="cpu")
    single = records_in(tmp_path / "single")
    assert len(single) == 20
    assert records_in(tmp_path / "jobs-1") == records_in(tmp_path / "jobs-2") == single
    assert (outcomes[0].name, outcomes[0].path) == ("tiny/fedavg-s0", tmp_path / "jobs-2/tiny/fedavg-s0")


def test_a_failing_run_is_named_and_recorded_and_stops_no_other(cli, scenario_file, tmp_path):
    runs = tmp_path / "runs"
    block = {"training.optimizer.learning_rate": [0.05, 1.0e30, 0.06]}
    path = scenario_file({"sweep": block, "until.simulated_s": 10})
    code, out, err = cli("sweep", path, "--runs", runs, "--jobs", 1, "--device", "cpu")
    assert code == 1
    assert "tiny-learning_rate-1e-30/fedavg-s0: failed: the training loss of client" in out
    assert "1 of 3 runs failed" in err
    assert "tiny-learning_rate-1e-30/fedavg-s0: failed" in err
    said = {p.parent.parent.name: json.loads(p.read_text()) for p in runs.rglob("run.json")}
    assert {name: info["status"] for name, info in said.items()} == {
        "tiny-learning_rate-0.05": "complete",
        "tiny-learning_rate-1e-30": "failed",
        "tiny-learning_rate-0.06": "complete",
    }
    assert "training loss of client" in said["tiny-learning_rate-1e-30"]["error"]
    code, out, _ = cli("sweep", path, "--runs", runs, "--jobs", 1, "--device", "cpu")
    assert code == 1
    assert "2 of 3 runs were finished before" in out


def test_what_is_not_this_sweeps_is_never_overwritten(cli, scenario_file, tmp_path):
    runs = tmp_path / "runs"
    command = ["sweep", scenario_file(), "--clients", "4", "--runs", runs, "--timing-only", "--jobs", 1]
    assert cli(*command)[0] == 0
    run = runs / "tiny/tiny-clients-4/fedavg-s0"
    before = times_in(runs)
    code, out, err = cli(*command, "--set", "until.simulated_s=20")
    assert (code, out) == (2, "")
    assert "already holds a run (complete) of another scenario" in err
    assert times_in(runs) == before
    assert cli(*command, "--set", "until.simulated_s=20", "--overwrite")[0] == 0
    assert json.loads((run / "run.json").read_text())["totals"]["simulated_s"] == 20
    (run / "run.json").unlink()
    (run / "thesis.txt").write_text("all of it")
    assert cli(*command, "--overwrite")[0] == 2
    assert (run / "thesis.txt").read_text() == "all of it"


def test_what_a_run_killed_in_its_first_moment_leaves_is_in_no_later_runs_way(scenario_file, tmp_path):
    left = {0: [], 1: ["timeline"], 2: ["timeline", ".run.json"]}  # by seed
    runs = [tmp_path / f"tiny/fedavg-s{seed}" for seed in left]
    for run, names in zip(runs, left.values(), strict=True):
        run.mkdir(parents=True)
        for name in names:
            (run / name).write_text("{") if name.endswith("json") else (run / name).mkdir()
    sweep = load_sweep(scenario_file(), (), Flags(seeds=[*left]))
    outcomes = run_sweep(sweep, LocalProcesses(1), runs=tmp_path, timing_only=True)
    assert [outcome.status for outcome in outcomes] == ["complete"] * 3
    for run in runs:
        assert {path.name for path in run.iterdir()} == {"run.json", "metrics.csv", "partition.csv", "timeline"}


def test_two_sweeps_at_once_do_not_meet(scenario_file, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_runs, "_LOCK_WAIT_S", 0.2)
    sweep = load_sweep(scenario_file(), (), Flags(seeds=[0]))
    with (
        only_one(tmp_path / "tiny", "busy"),
        pytest.raises(BadInputError, match="another sweep is at work there"),
    ):
        run_sweep(sweep, LocalProcesses(1), runs=tmp_path, timing_only=True)


def test_a_sweep_that_is_interrupted_says_so_in_its_records_and_goes_on(scenario_file, tmp_path):
    class Impatient:
        def begin(self, num_runs, num_finished):
            pass

        def see(self, event):
            if isinstance(event, sweep_runs.Moved):
                raise KeyboardInterrupt

    sweep = load_sweep(scenario_file({"until.simulated_s": 3000}), (), Flags(seeds=[0]))
    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, LocalProcesses(1), runs=tmp_path, timing_only=True, watch=Impatient())
    info = tmp_path / "tiny/fedavg-s0/run.json"
    assert json.loads(info.read_text())["status"] == "interrupted"
    (outcome,) = run_sweep(sweep, LocalProcesses(1), runs=tmp_path, timing_only=True)
    assert outcome.status == "complete"
