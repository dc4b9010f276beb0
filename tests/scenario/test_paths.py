"""Relative paths: below the data directory, else beside the scenario's file, else where the command runs."""

import sys

import pytest

from interlude.simulator.errors import BadInputError
from interlude.simulator.scenario.loading import load_scenario
from interlude.simulator.sweep import load_sweep

TRACE = {"distribution": "trace", "file": "traces/links.csv", "column": "up", "unit": "mbps"}


def write_trace(folder, mbps):
    (folder / "traces").mkdir(parents=True)
    (folder / "traces" / "links.csv").write_text(f"up\n{mbps}\n")


def mbps_of(scenario):
    return scenario.world.network.uplink_mbps.per_client(0, 1).tolist()


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Call from a folder that is not the scenario's, without a data directory."""
    monkeypatch.delenv("INTERLUDE_DATA", raising=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def test_a_file_beside_the_scenario_is_found_from_everywhere(scenario_file, tmp_path, elsewhere):
    path = scenario_file({"world.network.uplink_mbps": TRACE})
    write_trace(elsewhere, 3.0)
    assert mbps_of(load_scenario(path)) == [3.0]  # where the command runs
    write_trace(tmp_path, 2.0)
    assert mbps_of(load_scenario(path)) == [2.0]
    assert mbps_of(load_scenario("../tiny.yaml")) == [2.0]


def test_the_data_directory_comes_first(scenario_file, tmp_path, elsewhere, monkeypatch):
    path = scenario_file({"world.network.uplink_mbps": TRACE})
    write_trace(tmp_path, 2.0)
    write_trace(tmp_path / "data", 1.0)
    monkeypatch.setenv("INTERLUDE_DATA", str(tmp_path / "data"))
    scenario = load_scenario(path)
    assert mbps_of(scenario) == [1.0]
    assert scenario.resolved()["world"]["network"]["uplink_mbps"]["file"] == TRACE["file"]


def test_identity_and_draws_do_not_depend_on_the_folder(scenario_file, tmp_path, elsewhere, monkeypatch):
    path = scenario_file({"world.network.uplink_mbps": {**TRACE, "file": "links.csv"}})
    (tmp_path / "links.csv").write_text("up\n1\n2\n3\n4\n")
    from_elsewhere = load_scenario(path)
    monkeypatch.chdir(tmp_path)
    there = load_scenario(path)
    assert from_elsewhere.digest() == there.digest()
    uplinks = [scenario.world.network.uplink_mbps.per_client(0, 20).tolist() for scenario in (from_elsewhere, there)]
    assert uplinks[0] == uplinks[1]


def test_paths_of_a_base_mean_its_own_folder_and_those_of_a_sweep_the_scenarios(scenario_file, tmp_path, elsewhere):
    base = tmp_path / "base"
    write_trace(base, 5.0)
    scenario_file({"world.network.uplink_mbps": TRACE}).rename(base / "base.yaml")
    own = tmp_path / "own.yaml"
    own.write_text("extends: base/base.yaml\nname: own\n")
    assert mbps_of(load_scenario(own)) == [5.0]
    (tmp_path / "a.csv").write_text("up\n7\n")
    own.write_text("extends: base/base.yaml\nname: own\nsweep: {world.network.uplink_mbps.file: [a.csv]}\n")
    (point,) = load_sweep(own).scenarios
    assert mbps_of(point) == [7.0]
    assert point.name == "own-file-a.csv"


def test_a_missing_file_is_one_sentence(scenario_file, elsewhere):
    with pytest.raises(BadInputError) as refused:
        load_scenario(scenario_file({"world.network.uplink_mbps": TRACE}))
    assert "traces/links.csv" in str(refused.value)
    assert "beside the scenario" in str(refused.value)


def test_modules_beside_the_scenario_are_imported_behind_installed_ones(
    scenario_file, tmp_path, elsewhere, monkeypatch
):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "besides.py").write_text(
        "from interlude.simulator.methods.fedavg import FedAvg\nclass Mine(FedAvg):\n    '''Mine.'''\n"
    )
    (tmp_path / "yaml.py").write_text("raise ImportError('not the installed one')\n")
    scenario = load_scenario(scenario_file({"methods": [{"name": "besides:Mine"}]}))
    assert scenario.methods[0].name == "besides:Mine"
    assert sys.path[-1] == str(tmp_path)
    sys.modules.pop("besides")
