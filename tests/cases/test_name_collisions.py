"""A user's folder with names that are folders here, too: each is the user's, and `interlude check` works there.

`tests/test_installation.py` holds the same for a wheel.
"""

import importlib
import importlib.metadata
import subprocess
import sys

import pytest
import yaml

from interlude.simulator.cli.main import main

MEMBERS = ("models", "simulator", "analysis")
METHOD = """
import analysis
import simulator
from interlude.simulator.methods.fedavg import FedAvg


class Mine(FedAvg):
    assert (analysis.WHOSE, simulator.WHOSE) == ("mine", "mine")
"""


@pytest.fixture(params=["models.py", "models/"])
def user(request, tmp_path, monkeypatch):
    """Return a folder of a user's, where commands are given."""
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__init__.py").write_text('WHOSE = "mine"\n')
    (tmp_path / "simulator.py").write_text('WHOSE = "mine"\n')
    if request.param == "models/":
        (tmp_path / "models").mkdir()
    (tmp_path / ("models/__init__.py" if request.param == "models/" else "models.py")).write_text(METHOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name in MEMBERS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    yield tmp_path
    for name in MEMBERS:
        sys.modules.pop(name, None)


def test_check_works_where_names_are_a_users_own(user, scenario_with, capsys):
    given = scenario_with({"methods": [{"name": "fedavg"}, {"name": "models:Mine"}], "until": {"versions": 1}})
    (user / "own.yaml").write_text(yaml.safe_dump(given))
    with pytest.raises(SystemExit) as ended:
        main(["check", "own.yaml", "--device", "cpu"])
    said = capsys.readouterr()
    assert ended.value.code == 0, said.err
    assert "models:Mine" in said.out
    for name in MEMBERS:
        assert str(user) in sys.modules[name].__file__


def test_what_is_installed_claims_no_other_name(tmp_path):
    """As CI installs it, editable: the folders are seen through `interlude` alone."""
    assert importlib.metadata.distribution("interlude").read_text("top_level.txt").split() == ["interlude"]
    program = f"""
        import importlib.util as found
        assert found.find_spec("interlude") is not None
        assert not [name for name in {MEMBERS} if found.find_spec(name)]
    """
    lines = "\n".join(line.strip() for line in program.splitlines())
    subprocess.run([sys.executable, "-P", "-c", lines], cwd=tmp_path, env={}, check=True)
