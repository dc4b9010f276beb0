"""The command line in this process, and one run that many tests look at."""

import builtins
import sys

import pytest
import yaml
from commands import Result, Unreadable

from interlude.simulator.cli import main as command_line


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
