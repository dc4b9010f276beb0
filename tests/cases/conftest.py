"""The command line in this process, and what a refusal looks like from the outside."""

import importlib
import sys
import textwrap

import pytest
import yaml

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


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return a function that writes `mine.py` into the folder in which commands are given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])

    def write(text, name="mine"):
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(text))
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        return path

    yield write
    for name in ("mine", *(path.stem for path in tmp_path.glob("*.py"))):
        sys.modules.pop(name, None)


@pytest.fixture
def command(tmp_path, scenario_with, capsys):
    """Return a function that runs a command on a scenario: exit code, output, errors."""

    def run(name, changes, *flags):
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(scenario_with({"until": {"versions": 2}, **changes})))
        runs = ["--runs", str(tmp_path / "runs"), "--workers", "1"] if name == "run" else []
        with pytest.raises(SystemExit) as ended:
            main([name, "own.yaml", "--device", "cpu", *runs, *flags])
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return run
