"""The command line in this process, and what a refusal looks like from the outside."""

import pytest

from interlude.simulator.cli.main import main

MOST_CHARACTERS = 400


@pytest.fixture
def refusal(capsys, tmp_path, monkeypatch):
    """Return a function that runs a command which must be refused, in an empty directory, and returns its sentence."""
    inside = tmp_path / "inside" / "of"  # so that what leads outside is seen, too
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)

    def run(*arguments):
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert stopped.value.code == 2, err
        assert out == ""
        assert err.startswith("interlude: ")
        assert err.count("\n") == 1
        assert len(err) <= MOST_CHARACTERS
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        return err

    return run
