"""The newcomer's commands: what they print, write and refuse."""

import builtins
import importlib.metadata
import json
import shutil
import subprocess
import sys
from typing import NamedTuple

import pandas as pd
import pytest
import torch
import yaml

from interlude import cli as command_line
from interlude.simulator.data import DATASETS
from interlude.simulator.errors import BadInputError, TrainingError
from interlude.simulator.methods import METHODS
from interlude.simulator.record.writer import claim
from interlude.simulator.run.build import choose_device
from interlude.simulator.scenario.loading import load_scenario
from interlude.simulator.world.distributions import DISTRIBUTIONS


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Unreadable:
    """A standard input that nobody may read."""

    def __getattr__(self, name):
        if name in {"isatty", "fileno", "closed"}:
            raise AttributeError(name)
        raise AssertionError(f"standard input was asked for '{name}'")


@pytest.fixture
def cli(capsys, monkeypatch):
    """Return a function that runs a command in this process, with a standard input that must not be read."""

    def no_input(*_):
        raise AssertionError("a question was asked")

    monkeypatch.setattr(sys, "stdin", Unreadable())
    monkeypatch.setattr(builtins, "input", no_input)

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            command_line.main([str(argument) for argument in arguments])
        code = stopped.value.code
        return Result(0 if code is None else code, *capsys.readouterr())

    return run


def assert_refused(result, *parts):
    """One sentence on standard error, exit code 2, nothing else."""
    assert result.code == 2
    assert result.out == ""
    assert "Traceback" not in result.err
    assert result.err.startswith("interlude: ")
    assert result.err.count("\n") == 1
    for part in parts:
        assert part in result.err


def files_under(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()} if path.exists() else {}


def test_the_version_is_the_packages(cli):
    result = cli("--version")
    assert (result.code, result.out) == (0, f"interlude {importlib.metadata.version('interlude')}\n")


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


@pytest.fixture(scope="module")
def trained(tmp_path_factory, scenario_with):
    """One training run of two methods, 10 simulated seconds, of which many tests look at the files."""
    folder = tmp_path_factory.mktemp("trained")
    methods = [{"name": "fedavg"}, {"name": "mba"}]
    changes = {"methods": methods, "until.simulated_s": 10, "evaluate": {"every_s": 5, "target_accuracy": 1.0}}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(scenario_with(changes)))
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["run", str(folder / "tiny.yaml"), "--runs", str(folder / "runs"), "--device", "cpu"])
    assert not stopped.value.code
    return folder


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
        "label": "stacked in groups of 16",
        "reason": "small products: many clients share every operation",
    }
    shutil.copytree(trained / "runs", tmp_path / "runs")
    path = tmp_path / "runs/tiny/mba-s0"
    (path / "run.json").write_text(json.dumps({**info, "executor": {"label": "another", "reason": "another"}}))
    assert claim(path, {key: info[key] for key in info if key not in ("executor", "status", "totals", "packages")})


def test_the_same_command_again_reuses_the_finished_runs(trained, cli):
    before = files_under(trained / "runs")
    result = cli("run", trained / "tiny.yaml", "--runs", trained / "runs", "--device", "cpu")
    assert result.code == 0, result.err
    runs = [name for name in before if "-s0/" in name]
    assert {name: files_under(trained / "runs")[name] for name in runs} == {name: before[name] for name in runs}


def test_the_summary_shows_a_target_never_reached_as_censored_not_dropped(trained, cli):
    out = cli("run", trained / "tiny.yaml", "--runs", trained / "runs", "--device", "cpu").out
    assert "s to 1.0" in out
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
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "interrupted"}))
    assert_refused(cli("run", scenario_file(), "--runs", runs, "--timing-only"), "an unfinished run (interrupted)")


def test_seed_and_set_change_the_run(cli, scenario_file, tmp_path):
    flags = ["--seed", 7, "--set", "clients.count=3", "--set", "methods.0={name: fedasync, label: mine}"]
    result = cli("run", scenario_file(), "--runs", tmp_path / "runs", "--timing-only", *flags)
    assert result.code == 0, result.err
    info = json.loads((tmp_path / "runs/tiny/mine-s7/run.json").read_text())
    assert info["seed"] == info["scenario"]["seed"] == 7
    assert info["scenario"]["clients"]["count"] == 3
    assert info["scenario"]["methods"][0]["name"] == "fedasync"


def test_check_says_what_would_run_and_writes_nothing(cli, scenario_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = scenario_file({"methods": [{"name": name} for name in METHODS]})
    before = files_under(tmp_path)
    result = cli("check", path)
    assert result.code == 0, result.err
    said = f"{len(METHODS)} methods, seed 0"
    for part in ("1347 training, 450 test samples", said, "30 simulated s", "upload", *METHODS):
        assert part in result.out
    assert files_under(tmp_path) == before


def test_check_counts_bytes_and_seconds_by_hand(cli, scenario_file):
    """A width-16 MLP of float32, in bytes by group.

    encoder.gray 64 x 16 + 16 + 16 x 16 + 16 = 1312 -> 5248; encoder.color 192 x 16 + 288 = 3360 -> 13440; each head
    slice 160 -> 640, bias 10 -> 40; together 5002 parameters, 20008 bytes: up 50 ms + 160064 bit / 2 Mbit/s = 0.13 s,
    down 50 ms + 160064 bit / 8 Mbit/s = 0.07 s.
    """
    out = cli("check", scenario_file()).out
    for part in ("encoder.gray 5.2 kB", "encoder.color 13.4 kB", "head.gray 640 B", "head.bias 40 B", "20.0 kB"):
        assert part in out
    rows = {line.split()[0]: line.split()[-3:] for line in out.splitlines() if line.split()[-3:]}
    assert rows["upload"] == ["0.13"] * 3
    assert rows["download"] == ["0.07"] * 3


def test_check_says_what_the_world_gives_its_clients(cli, scenario_file):
    chain = {"kind": "markov", "policy": "lose", "on_share": 0.25, "cycle_s": 100, "join_s": 7}
    out = cli("check", scenario_file({"world.availability": chain, "world.network.uplink_mbps": 3.5})).out
    rows = {line.split("  ")[0].strip(): line.split() for line in out.splitlines()}
    assert "markov availability may lose work under way" in out
    assert rows["share of time on"][-5:] == ["0.25"] * 5
    assert rows["uplink, mbps"][-5:] == ["3.5"] * 5
    assert float(rows["first on, s"][-5]) >= 7


def test_a_trace_without_its_file_is_one_sentence(cli, scenario_file, monkeypatch):
    monkeypatch.delenv("INTERLUDE_DATA", raising=False)
    given = {"distribution": "trace", "file": "links.csv", "column": "up", "unit": "kbps"}
    result = cli("run", scenario_file({"world.network.uplink_mbps": given}))
    assert result.code == 2
    assert "world.network.uplink_mbps: cannot read 'links.csv'" in result.err
    assert "INTERLUDE_DATA" in result.err


def test_check_says_how_each_method_is_trained_and_why(cli, scenario_file):
    path = scenario_file({"methods": [{"name": "fedavg"}, {"name": "mba"}]})
    out = cli("check", path, "--device", "cpu").out
    assert "training on cpu" in out
    for method in ("fedavg", "mba"):
        (line,) = [line for line in out.splitlines() if line.split()[:2] == [method, "stacked"]]
        assert "stacked in groups of 16" in line
        assert "small products" in line
    out = cli("check", path, "--device", "cpu", "--set", "executor.kind=sequential").out
    assert out.count("one client after the other  as the scenario says") == 2


def test_check_takes_seed_and_set(cli, scenario_file):
    out = cli("check", scenario_file(), "--seed", 5, "--set", "clients.count=9").out
    assert "seed 5" in out
    assert "9 with" in out


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("methods", METHODS),
        ("datasets", DATASETS),
        ("distributions", DISTRIBUTIONS),
        ("encoders", ["mlp", "conv4", "conv1d", "resnet18", "text"]),
    ],
)
def test_list_names_everything_a_scenario_can_name(cli, what, names):
    result = cli("list", what)
    assert result.code == 0
    assert all(name in result.out for name in names)


@pytest.mark.parametrize("method", METHODS)
def test_explain_prints_the_card_and_every_option(cli, method):
    result = cli("explain", method)
    assert result.code == 0
    assert METHODS[method].card.title in result.out
    for part in ("paper", "payload", "staleness", *METHODS[method].Options.model_fields.keys() - {"name"}):
        assert part in result.out


def test_explain_says_what_is_reconstructed(cli):
    reconstructed = [m for m in METHODS if METHODS[m].card.reconstructed]
    assert "mba" in reconstructed
    assert all("RECONSTRUCTION" in cli("explain", method).out for method in reconstructed)


BAD_SCENARIOS = {
    "an unknown key": ({"clinets": 3}, "clinets"),
    "no clients": ({"clients.count": 0}, "clients.count"),
    "more clients than samples": ({"clients.count": 2000}, "1347"),
    "an unknown method": ({"methods": [{"name": "fedavgg"}]}, "fedavg"),
    "an endless method": ({"methods": [{"name": "x" * 9_999}]}, "x" * 99 + "..." + "x" * 99),
    "a name that leads elsewhere": ({"name": "../x"}, "name: "),
    "a name too long for a directory": ({"name": "a" * 201}, "at most 200 characters"),
    "a label that leads elsewhere": ({"methods": [{"name": "fedavg", "label": "a/b"}]}, "methods.0.label: "),
    "a label that is a parent": ({"methods": [{"name": "fedavg", "label": ".."}]}, "methods.0.label: "),
    "a label too long for a directory": ({"methods": [{"name": "fedavg", "label": "b" * 201}]}, "methods.0.label: "),
    "an own method that leads elsewhere": ({"methods": [{"name": "os:../x"}]}, "cannot be imported"),
    "a variant that leads elsewhere": ({"variants": {"x": {}, "/../../x": {}}}, "name: "),
    "too much simulated time": ({"until": {"simulated_s": 1e15}}, "at most 1,000,000,000 are allowed"),
    "too many versions": ({"until": {"versions": 10**12}}, "limits.events: 'fedavg' needs about"),
    "too many evaluations": ({"evaluate.every_s": 1e-12}, "of them evaluations"),
    "too much memory": ({"model.width": 100_000}, "limits.memory_gb: 'fedavg' needs about"),
    "too many steps": ({"training.local_epochs": 10**12}, "optimiser steps"),
    "too much in one of two variants": ({"variants": {"a": {}, "b": {"until.simulated_s": 1e15}}}, "limits.events"),
    "a negative rate": ({"world.network.uplink_mbps": -1}, "world.network.uplink_mbps"),
}


@pytest.mark.parametrize("bad", BAD_SCENARIOS)
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_bad_scenario_is_one_sentence_that_names_the_file_and_nothing_is_written(
    cli, scenario_file, tmp_path, monkeypatch, command, bad
):
    monkeypatch.chdir(tmp_path)
    changes, said = BAD_SCENARIOS[bad]
    path = scenario_file(changes)
    before = files_under(tmp_path)
    assert_refused(cli(command, path), said, path.name)
    assert files_under(tmp_path) == before
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "missing.yaml"],
        ["check", "."],
        ["check", "tiny.yaml", "--device", "tpu"],
        ["run", "tiny.yaml", "--device", "tpu"],
        ["run", "tiny.yaml", "--device", "cuda:x"],
        ["run", "tiny.yaml", "--set", "clients.count"],
        ["run", "tiny.yaml", "--set", "clients.count=none"],
        ["run", "tiny.yaml", "--runs", "tiny.yaml"],
        ["explain", "fedavgg"],
        ["explain", "pathlib:Path"],
        ["explain", "[bold]"],
        ["run", "tiny.yaml", "--set", "name=" + 300 * "a"],
    ],
    ids=lambda arguments: " ".join(arguments)[:60],
)
def test_bad_arguments_are_one_sentence_and_nothing_is_written(cli, scenario_file, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    scenario_file()
    before = files_under(tmp_path)
    assert_refused(cli(*arguments))
    assert files_under(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "tiny.yaml", "--seed", "x"],
        ["run", "tiny.yaml", "--seed", "-1"],
        ["run", "tiny.yaml", "--bogus"],
        ["run"],
        ["list", "metods"],
        ["bogus"],
    ],
    ids=" ".join,
)
def test_what_the_command_line_itself_refuses_is_one_sentence_too(cli, arguments):
    assert_refused(cli(*arguments))


@pytest.mark.parametrize("method", ["fedavgg", "[bold]"])
def test_an_unknown_method_is_named_as_given(cli, method):
    assert_refused(cli("explain", method), f"'{method}'", ", ".join(METHODS))


@pytest.mark.parametrize("device", ["tpu", "gpu", "", "CPU", "cuda0"])
def test_a_device_that_is_none_is_answered_with_what_is(device):
    with pytest.raises(BadInputError, match="auto, cpu, cuda, cuda:N"):
        choose_device(device)


def test_a_device_that_is_not_here_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInputError, match="no CUDA device here"):
        choose_device("cuda:1")
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.parametrize("device", ["cuda:x", "cuda:", "cuda:-1", "cuda:7"])
def test_a_device_number_that_is_none_or_not_here_is_refused_on_a_gpu_machine_too(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(BadInputError, match="--device"):
        choose_device(device)


def test_plot_draws_what_applies_and_says_what_does_not(trained, cli, tmp_path):
    result = cli("plot", trained / "runs", "--out", tmp_path, "--formats", "svg")
    assert result.code == 0, result.err
    drawn = {name.removesuffix(".svg") for name in files_under(tmp_path)}
    assert {"accuracy_vs_time", "accuracy_vs_bytes", "time_to_accuracy", "efficiency", "staleness", "gantt"} <= drawn
    assert "scalability" not in drawn
    assert "skipped scalability: clients.count is 4 in all runs" in result.out


def test_plot_draws_one_kind_beside_the_runs(trained, cli):
    assert cli("plot", trained / "runs/tiny", "--kind", "gantt", "--window", "0:5", "--clients", 2).code == 0
    assert {"gantt.png", "gantt.svg"} <= set(files_under(trained / "runs/tiny"))


def test_report_is_one_page_with_the_cards_and_the_command_that_made_it(trained, cli, tmp_path):
    result = cli("report", trained / "runs", "-o", tmp_path / "report.html", "--question", "Does 1 < 2?")
    assert result.code == 0, result.err
    page = (tmp_path / "report.html").read_text()
    assert METHODS["fedavg"].card.title in page
    assert "Does 1 &lt; 2?" in page
    assert f"interlude report {trained}/runs -o" in page
    assert files_under(tmp_path).keys() == {"report.html"}


def test_trace_is_json_beside_the_run(trained, cli):
    result = cli("trace", trained / "runs/tiny/mba-s0")
    assert result.code == 0, result.err
    assert json.loads((trained / "runs/tiny/mba-s0.trace.json").read_text())["traceEvents"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plot", "nowhere"], "nowhere: does not exist"),
        (["plot", "tiny.yaml"], "is not a directory"),
        (["plot", "empty"], "empty: holds no run directory"),
        (["plot", "runs", "--kind", "gant"], "did you mean 'gantt'?"),
        (["plot", "runs", "--kind", "scalability"], "scalability cannot be drawn: clients.count is 4 in all runs"),
        (["plot", "runs", "--formats", "jpg"], "formats are png, svg, pdf"),
        (["plot", "runs", "--style", "papr"], "did you mean 'paper'?"),
        (["plot", "runs", "--baseline", "fedavgg"], "did you mean 'fedavg'?"),
        (["plot", "runs", "--window", "9:3"], "--window"),
        (["plot", "runs", "--window", "90:95", "--kind", "gantt"], "within 0 to 10 s"),
        (["plot", "runs", "--target", "2"], "--target"),
        (["plot", "runs", "--out", "tiny.yaml"], "tiny.yaml"),
        (["report", "runs", "-o", "empty"], "empty"),
        (["trace", "runs"], "holds 2 runs; name one"),
        (["trace", "empty"], "holds no run directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_drawn_is_one_sentence_and_nothing_is_written(
    trained, cli, tmp_path, monkeypatch, arguments, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "runs").symlink_to(trained / "runs")
    (tmp_path / "tiny.yaml").write_text("")
    before = files_under(trained)
    assert_refused(cli(*arguments), said)
    assert files_under(trained) == before
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "runs", "tiny.yaml"}
    assert not list((tmp_path / "empty").iterdir())


def test_debug_adds_the_traceback_and_keeps_the_sentence(cli, tmp_path):
    result = cli("check", tmp_path / "missing.yaml", "--debug")
    assert result.code == 2
    assert "Traceback" in result.err
    assert result.err.splitlines()[-1].startswith("interlude: ")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (TrainingError("the loss of client 3 is not finite"), 1, "interlude: the loss of client 3 is not finite\n"),
        (KeyboardInterrupt(), 130, "interlude: interrupted; the record up to here is kept\n"),
    ],
    ids=["training breaks down", "interrupt"],
)
def test_what_ends_a_run_early_is_said_in_a_line(cli, scenario_file, tmp_path, monkeypatch, error, code, said):
    def stop(*_, **__):
        raise error

    monkeypatch.setattr(command_line, "run_scenario", stop)
    result = cli("run", scenario_file(), "--runs", tmp_path / "runs")
    assert (result.code, result.err) == (code, said)


def test_help_lists_the_commands(cli):
    result = cli("--help")
    assert result.code == 0
    assert all(
        command in result.out for command in ("run", "check", "list", "explain", "plot", "report", "trace", "calibrate")
    )


def test_without_a_terminal_progress_is_plain_lines(cli, scenario_file, tmp_path):
    lines = cli("run", scenario_file(), "--runs", tmp_path / "runs", "--timing-only").out.splitlines()
    progress = [line for line in lines if line.startswith("fedavg: ")]
    assert progress[0].startswith("fedavg: 0%, t = 0 s, version 0")
    assert progress[-1].startswith("fedavg: 100%, t = 30 s")
    assert not any("\x1b" in line for line in lines)


def test_the_command_starts_as_a_program_with_standard_input_closed(scenario_file, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "interlude.simulator.cli.main", "check", str(scenario_file({"seed": -1}))],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert_refused(
        Result(done.returncode, done.stdout, done.stderr), "seed: should be greater than or equal to 0; given -1"
    )
