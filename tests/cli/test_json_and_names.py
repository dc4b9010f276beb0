"""Commands for programs: JSON with exact numbers; scenarios by name; files to begin from."""

import json

import pytest
from commands import assert_refused

from interlude.simulator.cli.main import main
from interlude.simulator.scenario.loading import load_scenario


def test_lists_and_data_sets_are_json(cli):
    scenarios = json.loads(cli("list", "scenarios", "--json").out)
    assert {"quickstart", "paper/bmsfed_cgmnist"} <= {row["name"] for row in scenarios}
    assert not any("yaml-language-server" in row["scenario"] or not row["scenario"] for row in scenarios)
    facts = {row["name"]: row for row in json.loads(cli("data", "--json").out)}
    assert (facts["cg-digits"]["state"], facts["cg-digits"]["bytes"]) == ("built in", 0)


def test_a_check_is_json(cli, scenario_file):
    said = json.loads(cli("check", scenario_file(), "--json", "--device", "cpu").out)
    assert said["runs"] == [{"scenario": "tiny", "seed": 0, "methods": ["fedavg"], "swept": {}, "foreign_code": []}]
    (checked,) = said["checked"]
    assert sum(checked["clients"]["samples"]) == checked["samples"]["training"] == 1347
    assert checked["first_round_s"]["last_arrival"]["slowest"] > 0
    num_samples_bytes = 8  # beside the model
    assert checked["methods"][0]["estimate"]["bytes_up"] == sum(checked["model_bytes"].values()) + num_samples_bytes


@pytest.fixture
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_scenario_is_valid_and_is_not_overwritten(cli, in_empty_folder):
    assert cli("new", "scenario", "my-study").code == 0
    scenario = load_scenario(in_empty_folder / "my-study.yaml")
    assert (scenario.name, len(scenario.methods)) == ("my-study", 3)
    assert_refused(cli("new", "scenario", "my-study"), "exists already")
    assert_refused(cli("new", "scenario", "../elsewhere"), "NAME: must be letters")


def test_a_file_goes_before_a_shipped_name(in_empty_folder, capsys):
    (in_empty_folder / "quickstart").write_text("- no scenario\n")
    with pytest.raises(SystemExit) as ended:
        main(["check", "quickstart"])
    assert ended.value.code == 2
    assert "quickstart: must be a mapping" in capsys.readouterr().err
