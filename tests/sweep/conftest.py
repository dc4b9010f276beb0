"""The command line in this process, and a method that kills its process."""

import sys

import pytest

from interlude.simulator.cli import main as command_line

LETHAL_METHOD = """
import os, signal
from pathlib import Path
from typing import Literal
from interlude.simulator.methods.fedavg import FedAvg, FedAvgOptions

class Options(FedAvgOptions):
    name: Literal["lethal:Lethal"] = "lethal:Lethal"
    label: str | None = "lethal"
    marks: str
    deaths: int

class Lethal(FedAvg):
    Options = Options

    def client_round(self, client):
        self.rounds = getattr(self, "rounds", 0) + 1
        if self.rounds == 10:
            marks = Path(self.options.marks)
            marks.write_text((marks.read_text() if marks.exists() else "") + "x")
            if len(marks.read_text()) <= self.options.deaths:
                os.kill(os.getpid(), signal.SIGKILL)
        yield from super().client_round(client)
"""


@pytest.fixture
def cli(capsys):
    """Return a function from arguments to exit code, standard output and standard error."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            command_line.main([str(argument) for argument in arguments])
        return stopped.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def lethal(tmp_path, monkeypatch):
    """Return a function from a number of deaths to a method that kills its process so often, in mid-run."""
    (tmp_path / "lethal.py").write_text(LETHAL_METHOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda deaths: {"name": "lethal:Lethal", "marks": str(tmp_path / "marks"), "deaths": deaths}
    sys.modules.pop("lethal", None)
