"""What is installed: one package, `interlude`, that leaves every other name to its users."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MEMBERS = ("simulator", "models", "analysis", "scenarios")

OWN_METHOD = """
from typing import Literal

import analysis
import simulator
from interlude.simulator.methods.fedavg import FedAvg, FedAvgOptions


class MineOptions(FedAvgOptions):
    name: Literal["models.mine:Mine"] = "models.mine:Mine"
    label: str | None = analysis.LABEL + simulator.LABEL


class Mine(FedAvg):
    \"\"\"A method of the user's own.

    Server:
        as FedAvg
    \"\"\"

    Options = MineOptions
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return a wheel of this checkout, built from a copy so that no earlier build leaks into it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("interlude", *MEMBERS):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, source]
    subprocess.run(build, check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_a_wheel_holds_every_file_of_the_package_and_no_other_name(wheel):
    kept = {".py", ".jinja", ".typed", ".yaml", ".json"}
    expected = {
        f"interlude/{path.relative_to(ROOT)}"
        for member in MEMBERS
        for path in (ROOT / member).rglob("*")
        if path.suffix in kept
    } | {"interlude/__init__.py", "interlude/py.typed"}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == expected
    assert {"interlude/simulator/cli/main.py", "interlude/analysis/templates/report.html.jinja"} <= names


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Return the folder that a wheel is installed in."""
    folder = tmp_path_factory.mktemp("installed") / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_a_users_own_models_and_simulator_are_left_alone(installed, tmp_path):
    """A user's folder, first on the path as with ``PYTHONPATH=.``, has all three; `models` has a method."""
    user = tmp_path / "user"
    (user / "models").mkdir(parents=True)
    (user / "models" / "__init__.py").touch()
    (user / "models" / "mine.py").write_text(OWN_METHOD)
    (user / "analysis").mkdir()
    (user / "analysis" / "__init__.py").write_text('LABEL = "from-my-own-analysis-"\n')
    (user / "simulator.py").write_text('LABEL = "and-simulator"\n')
    own = user / "own.yaml"  # a base by its name: the shipped scenarios are installed, too
    own.write_text("extends: quickstart\nname: own\nmethods: [{name: models.mine:Mine}]\n")

    def python(*arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=user,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([".", str(installed)])},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    assert python("-c", "import interlude; print(interlude.__file__)").stdout.startswith(str(installed))
    done = python("-m", "interlude.simulator.cli.main", "check", own.name)
    assert done.returncode == 0, done.stderr
    assert "from-my-own-analysis-and-simulator" in done.stdout
