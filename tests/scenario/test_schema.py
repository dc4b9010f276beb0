"""The JSON Schema of scenarios: it is the committed one, takes every shipped scenario, and sees what is wrong."""

import json
import sys

import pytest

from interlude.simulator.cli.main import main
from interlude.simulator.cli.schema import schema_text
from interlude.simulator.formats.core_yaml import load
from interlude.simulator.scenario.schema import scenario_schema
from interlude.simulator.scenario.shipped import FOLDER, SCHEMA_FILE, shipped


@pytest.fixture(scope="module")
def schema():
    return scenario_schema()


@pytest.fixture(scope="module")
def faults(schema):
    """Return a function from a scenario to the messages of what its schema finds wrong."""
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema)
    return lambda document: [
        jsonschema.exceptions.best_match([error]).message for error in validator.iter_errors(document)
    ]


def test_the_committed_schema_is_the_present_one(schema):
    committed = (FOLDER / SCHEMA_FILE).read_text(encoding="utf-8")
    assert committed == schema_text(schema), "run: interlude schema --out scenarios/schema.json"


def test_every_shipped_scenario_names_the_schema_and_is_valid_by_it(faults):
    assert {"quickstart", "paper/bmsfed_cgmnist"} <= set(shipped())
    for path in shipped().values():
        text = path.read_text(encoding="utf-8")
        instruction, _, named = text.partition("\n")[0].partition("$schema=")
        assert instruction == "# yaml-language-server: "
        assert (path.parent / named).resolve() == (FOLDER / SCHEMA_FILE).resolve()
        assert faults(load(text)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": [{"name": "fedbuff", "server": {"size": 4}, "training": {"optimizer": {"momentum": 0.9}}}]},
        {"methods": [{"name": "mine:Mine", "whatever": 3}]},
        {"data": {"dataset": "mine:data", "options": {"a": 1}}},
        {"world.network.uplink_mbps": {"distribution": "trace", "file": "a.csv", "column": "up", "unit": "kbps"}},
        {"world.arrival.gray.on_miss": "absent"},
        {"model.encoder": {"gray": "mlp", "color": {"name": "mine:Mine", "options": {}}}},
        {"sweep": {"clients.count": [4, 8]}, "variants": {"a": {"seed": 3}}, "tune": {"grid": {"beta": [1, 2]}}},
    ],
)
def test_what_the_reader_takes_is_valid(changes, scenario_with, faults):
    assert faults(scenario_with(changes)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"clients.cuont": 3},
        {"clients.count": "three"},
        {"methods": [{"name": "mba", "betta": 1.0}]},
        {"methods": [{"name": "mba", "beta": "high"}]},
        {"methods": [{"name": "fedagv"}]},
        {"data": {"dataset": "cg-digits", "test_corelation": 1}},
        {"world.arrival.gray.per_client": {"distribution": "lognormal", "median": 2.0, "sigma": 1.0}},  # without a unit
        {"world.arrival.gray.per_client": 3},
        {"world.network.uplink_mbps": {"distribution": "lognormal", "median_s": 2.0, "sigma": 1.0}},
        {"extends": "base.yaml", "clients": {"cuont": 3}},
    ],
)
def test_a_mistake_is_seen(changes, scenario_with, faults):
    assert faults(scenario_with(changes)) != []


def test_a_file_that_extends_another_says_only_parts(faults):
    changed = {"extends": "base.yaml", "name": "x", "data": {"partition": {"alpha": 1.0}}, "clients.count": 3}
    assert faults(changed) == []
    assert faults({key: value for key, value in changed.items() if key != "extends"}) != []


def test_fields_have_descriptions_defaults_and_bounds(schema):
    field = schema["$defs"]["ClientsSpec"]["properties"]["multimodal_fraction"]
    assert (field["default"], field["minimum"], field["maximum"]) == (1.0, 0, 1)
    assert "share of clients" in field["description"]


def test_a_method_of_ones_own_is_included_on_request(toy, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["schema", "--with", "largest_loss:LargestLoss", "--out", str(tmp_path / "own.json")])
    assert (ended.value.code or 0, capsys.readouterr().err) == (0, "")
    definitions = json.loads((tmp_path / "own.json").read_text(encoding="utf-8"))["$defs"]
    (entry,) = (node for node in definitions.values() if _name(node) == "largest_loss:LargestLoss")
    assert "waiting" in entry["properties"]
    sys.modules.pop("largest_loss", None)


def _name(node):
    return node.get("properties", {}).get("name", {}).get("const")
