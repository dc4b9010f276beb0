"""Output that cannot be written ends no command: its work, its files and its exit code stay the same."""

import errno
import io
import json
import os
import subprocess
import sys

import pytest

from interlude.simulator.cli.main import main
from interlude.simulator.cli.streams import LenientStream


class Broken(io.StringIO):
    """A stream that takes nothing after its first text."""

    def __init__(self, error):
        super().__init__()
        self._error = error

    def write(self, text):
        if self.tell():
            raise self._error
        return super().write(text)


BROKEN = {
    "a full disk": lambda: Broken(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
    "a closed pipe": lambda: Broken(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))),
    "closed": lambda: Broken(ValueError("I/O operation on closed file.")),
    "none": lambda: None,
    "ASCII": lambda: io.TextIOWrapper(io.BytesIO(), encoding="ascii"),
}


def code_of(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


@pytest.mark.parametrize("stream", BROKEN)
def test_a_run_and_what_is_drawn_of_it(scenario_file, tmp_path, monkeypatch, capsys, stream):
    monkeypatch.setattr(sys, "stdout", BROKEN[stream]())
    path, runs = scenario_file({"until.simulated_s": 8, "evaluate.every_s": 4}), tmp_path / "runs"
    assert code_of("run", path, "--runs", runs, "--timing-only") == 0
    assert json.loads((runs / "tiny/fedavg-s0/run.json").read_text())["status"] == "complete"
    assert (runs / "tiny/summary.csv").is_file()
    said = capsys.readouterr().err
    assert said.count("standard output could not be written: No space left") == (stream == "a full disk")


@pytest.mark.parametrize("stream", BROKEN)
@pytest.mark.parametrize("arguments", [("list", "methods"), ("explain", "mba"), ("--help",), ("--version",)])
def test_commands_that_only_print(monkeypatch, stream, arguments):
    monkeypatch.setattr(sys, "stdout", BROKEN[stream]())
    assert code_of(*arguments) == 0


def test_a_character_that_the_terminal_lacks_is_a_question_mark():
    below = io.BytesIO()
    stream = LenientStream(io.TextIOWrapper(below, encoding="ascii"))
    stream.write("\u03b8 = 1")
    stream.flush()
    assert below.getvalue() == b"? = 1"


def test_an_error_keeps_its_exit_code_without_a_standard_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", BROKEN["none"]())
    assert code_of("explain", "nothing") == 2


def test_a_process_whose_descriptors_are_closed(tmp_path):
    """A file that is opened with descriptor 1 free would receive what is printed."""
    command = f"exec {sys.executable} -m interlude.simulator.cli.main list methods >&- 2>&-"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, env={**os.environ}, check=False)
    assert done.returncode == 0
