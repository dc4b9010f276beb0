"""Bad input on the command line: one sentence, exit code 2, nothing written."""

import subprocess
import sys

import pytest
from commands import Result, assert_refused, files_under

BAD_SCENARIOS = {
    "an unknown key": ({"clinets": 3}, "clinets"),
    "no clients": ({"clients.count": 0}, "clients.count"),
    "more clients than samples": ({"clients.count": 2000}, "1347"),
    "an unknown method": ({"methods": [{"name": "fedavgg"}]}, "fedavg"),
    "an endless method": ({"methods": [{"name": "x" * 9_999}]}, "x" * 50 + "..." + "x" * 50),
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


def test_debug_adds_the_traceback_and_keeps_the_sentence(cli, tmp_path):
    result = cli("check", tmp_path / "missing.yaml", "--debug")
    assert result.code == 2
    assert "Traceback" in result.err
    assert result.err.splitlines()[-1].startswith("interlude: ")


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
