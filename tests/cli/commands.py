"""How tests call the command line, and what they look at afterwards."""

from typing import NamedTuple


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Unreadable:
    """A standard input that must not be read."""

    def __getattr__(self, name):
        if name in {"isatty", "fileno", "closed"}:
            raise AttributeError(name)
        raise AssertionError(f"standard input was asked for '{name}'")


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
