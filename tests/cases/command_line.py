"""The command line in this process, as cases call it."""

from typing import NamedTuple

import pytest

from interlude.simulator.cli.main import main


class Result(NamedTuple):
    code: int
    out: str
    err: str


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> Result:
    """Run a command; returns its exit code and what it printed."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return Result(int(stopped.value.code or 0), *capsys.readouterr())


def files_under(path):
    """Return the bytes of every file below a directory, by its path."""
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}
