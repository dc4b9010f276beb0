"""`interlude run`: what it prints and writes, reuses and leaves alone."""

import json
import shutil

import pandas as pd
import pytest
import torch
import yaml
from commands import assert_refused, files_under

from interlude.simulator.errors import TrainingError
from interlude.simulator.record.claim import claim
from interlude.simulator.record.contents import sealed
from interlude.simulator.run import experiment
from interlude.simulator.scenario.loading import load_scenario


def test_a_timing_only_run_writes_its_record_and_a_summary_without_accuracies(cli, scenario_file, tmp_path):
    result = cli("run", scenario_file(), "--runs", tmp_path / "runs", "--timing-only")
    assert result.code == 0, result.err
    assert set(files_under(tmp_path / "runs")) == {
        "tiny/summary.csv",
        "tiny/fedavg-s0/run.json",
        "tiny/fedavg-s0/metrics.csv",
        "tiny/fedavg-s0/partition.csv",
        "tiny/fedavg-s0/timeline/part-00000.parquet",
    }
    info = json.loads((tmp_path / "runs/tiny/fedavg-s0/run.json").read_text())
    assert info["status"] == "complete"
    assert info["timing_only"] is True
    assert info["executor"] == {"label": "none", "reason": "timing only"}
    assert info["totals"]["simulated_s"] == 30
    assert (tmp_path / "runs/tiny/fedavg-s0/metrics.csv").read_text() == "time_s,version,metric,modality,value\n"
    summary = pd.read_csv(tmp_path / "runs/tiny/summary.csv")
    assert summary["method"].tolist() == ["fedavg"]
    assert "final_accuracy" not in summary
    # four clients of 30 s each
    spent = summary[["train_s", "transfer_s", "wait_s", "idle_s"]].sum(axis=1)
    assert spent.item() == pytest.approx(120.0)
    assert "tiny: cost" in result.out


def test_a_training_run_writes_records_summary_and_curves(trained):
    files = files_under(trained / "runs/tiny")
    for run in ("fedavg-s0", "mba-s0"):
        assert {f"{run}/run.json", f"{run}/metrics.csv", f"{run}/timeline/part-00000.parquet"} <= set(files)
    assert {"summary.csv", "accuracy_vs_time.png", "accuracy_vs_time.svg"} <= set(files)
    assert files["accuracy_vs_time.png"].startswith(b"\x89PNG")
    assert b"<svg" in files["accuracy_vs_time.svg"]
    assert not [name for name in files if "/." in name]  # no temporary file stays


def test_metrics_are_tidy_and_readable_without_us(trained):
    metrics = pd.read_csv(trained / "runs/tiny/fedavg-s0/metrics.csv")
    assert list(metrics) == ["time_s", "version", "metric", "modality", "value"]
    accuracy = metrics[metrics["metric"] == "accuracy"]
    assert set(accuracy["modality"]) == {"fused", "gray", "color"}
    assert sorted(accuracy["time_s"].unique()) == [0, 5, 10]
    assert accuracy["value"].between(0, 1).all()


def test_the_timeline_of_every_client_adds_up_to_the_simulated_time(trained):
    timeline = pd.read_parquet(trained / "runs/tiny/mba-s0/timeline/part-00000.parquet")
    spent_s = (timeline["end_s"] - timeline["start_s"]).groupby(timeline["client"]).sum()
    assert spent_s.tolist() == pytest.approx([10.0] * 4)


def test_the_record_holds_the_scenario_that_can_be_run_again(trained, tmp_path):
    info = json.loads((trained / "runs/tiny/mba-s0/run.json").read_text())
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(info["scenario"]))
    assert load_scenario(tmp_path / "again.yaml").digest() == info["digest"]
    assert info["label"] == "mba"
    assert info["packages"]["torch"] == torch.__version__


def test_the_record_says_how_it_was_trained_and_that_makes_it_no_other_run(trained, tmp_path):
    info = json.loads((trained / "runs/tiny/mba-s0/run.json").read_text())
    assert info["executor"] == {
        "label": "stacked in groups of 64",
        "reason": "small products: many clients share every operation",
    }
    shutil.copytree(trained / "runs", tmp_path / "runs")
    path = tmp_path / "runs/tiny/mba-s0"
    (path / "run.json").write_text(json.dumps(sealed({**info, "executor": {"label": "another", "reason": "another"}})))
    identity = ("label", "seed", "device", "timing_only", "digest", "code", "files", "scenario")
    assert claim(path, {key: info[key] for key in identity})


def test_the_same_command_again_reuses_the_finished_runs(trained, cli):
    before = files_under(trained / "runs")
    result = cli("run", trained / "tiny.yaml", "--runs", trained / "runs", "--device", "cpu")
    assert result.code == 0, result.err
    runs = [name for name in before if "-s0/" in name]
    assert {name: files_under(trained / "runs")[name] for name in runs} == {name: before[name] for name in runs}


def test_the_summary_shows_a_target_never_reached_as_censored_not_dropped(trained, cli):
    out = cli("run", trained / "tiny.yaml", "--runs", trained / "runs", "--device", "cpu").out
    assert "s to 1 " in out
    assert out.count("> 10") == 2  # both methods ran for 10 s in vain
    assert (pd.read_csv(trained / "runs/tiny/summary.csv")["reached"] == "0/1").all()


def test_another_scenario_into_the_same_directory_is_refused_without_overwrite(cli, scenario_file, tmp_path):
    runs = tmp_path / "runs"
    assert cli("run", scenario_file(), "--runs", runs, "--timing-only").code == 0
    before = files_under(runs)
    other = scenario_file({"clients.count": 5}, name="other.yaml")
    assert_refused(
        cli("run", other, "--runs", runs, "--timing-only"), "fedavg-s0", "already holds", "--overwrite", "--runs"
    )
    assert files_under(runs) == before
    assert cli("run", other, "--runs", runs, "--timing-only", "--overwrite").code == 0
    info = json.loads((runs / "tiny/fedavg-s0/run.json").read_text())
    assert info["scenario"]["clients"]["count"] == 5


def test_a_conflict_of_a_later_method_is_found_before_an_earlier_one_runs(cli, scenario_file, tmp_path):
    runs = tmp_path / "runs"
    assert cli("run", scenario_file({"methods": [{"name": "mba"}]}), "--runs", runs, "--timing-only").code == 0
    before = files_under(runs)
    both = scenario_file({"methods": [{"name": "fedavg"}, {"name": "mba", "beta": 2.0}]}, name="both.yaml")
    result = cli("run", both, "--runs", runs, "--timing-only")
    assert result.code == 2
    assert "mba-s0" in result.err
    assert files_under(runs) == before


def test_files_that_are_not_a_runs_are_never_overwritten(cli, scenario_file, tmp_path):
    precious = tmp_path / "runs/tiny/fedavg-s0/thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("all of it")
    for flags in ([], ["--overwrite"]):
        assert_refused(cli("run", scenario_file(), "--runs", tmp_path / "runs", "--timing-only", *flags), "not a run's")
    assert files_under(tmp_path / "runs") == {"tiny/fedavg-s0/thesis.txt": b"all of it"}


def test_an_unfinished_run_is_not_taken_for_a_finished_one(cli, scenario_file, tmp_path):
    runs = tmp_path / "runs"
    assert cli("run", scenario_file(), "--runs", runs, "--timing-only").code == 0
    path = runs / "tiny/fedavg-s0/run.json"
    path.write_text(json.dumps(sealed({**json.loads(path.read_text()), "status": "interrupted"})))
    assert_refused(cli("run", scenario_file(), "--runs", runs, "--timing-only"), "an unfinished run (interrupted)")


def test_seed_and_set_change_the_run(cli, scenario_file, tmp_path):
    flags = ["--seed", 7, "--set", "clients.count=3", "--set", "methods.0={name: fedasync, label: mine}"]
    result = cli("run", scenario_file(), "--runs", tmp_path / "runs", "--timing-only", *flags)
    assert result.code == 0, result.err
    info = json.loads((tmp_path / "runs/tiny/mine-s7/run.json").read_text())
    assert info["seed"] == info["scenario"]["seed"] == 7
    assert info["scenario"]["clients"]["count"] == 3
    assert info["scenario"]["methods"][0]["name"] == "fedasync"


def test_a_trace_without_its_file_is_one_sentence(cli, scenario_file, monkeypatch):
    monkeypatch.delenv("INTERLUDE_DATA", raising=False)
    given = {"distribution": "trace", "file": "links.csv", "column": "up", "unit": "kbps"}
    result = cli("run", scenario_file({"world.network.uplink_mbps": given}))
    assert result.code == 2
    assert "world.network.uplink_mbps: cannot read 'links.csv'" in result.err
    assert "INTERLUDE_DATA" in result.err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (TrainingError("the loss of client 3 is not finite"), 1, "interlude: the loss of client 3 is not finite\n"),
        (KeyboardInterrupt(), 130, "interlude: interrupted\n"),
    ],
    ids=["training breaks down", "interrupt"],
)
def test_what_ends_a_run_early_is_said_in_a_line(cli, scenario_file, tmp_path, monkeypatch, error, code, said):
    def stop(*_, **__):
        raise error

    monkeypatch.setattr(experiment, "run_scenario", stop)
    result = cli("run", scenario_file(), "--runs", tmp_path / "runs")
    assert (result.code, result.err) == (code, said)


def test_without_a_terminal_progress_is_plain_lines(cli, scenario_file, tmp_path):
    lines = cli("run", scenario_file(), "--runs", tmp_path / "runs", "--timing-only").out.splitlines()
    progress = [line for line in lines if line.startswith("fedavg: ")]
    assert progress[0].startswith("fedavg: 0%, t = 0 s, version 0")
    assert progress[-1].startswith("fedavg: 100%, t = 30 s")
    assert not any("\x1b" in line for line in lines)
