"""``extends``: what is laid over what, with variants, sweeps and flags; circles and missing bases in one sentence."""

import pytest
import yaml

from interlude.simulator.errors import BadInputError
from interlude.simulator.run.spec import run_specs
from interlude.simulator.scenario.loading import load_scenario, load_scenarios
from interlude.simulator.scenario.shipped import FOLDER
from interlude.simulator.sweep import load_sweep


@pytest.fixture
def extending(tmp_path, scenario_file):
    """Return a function from changes of the base and the content of a file that extends it to that file."""

    def write(own, base=None):
        scenario_file(base, name="base.yaml")
        path = tmp_path / "own.yaml"
        path.write_text(yaml.safe_dump({"extends": "base.yaml", "name": "own", **own}, sort_keys=False))
        return path

    return write


def test_a_section_is_laid_over_and_a_list_replaces(extending):
    own = {
        "clients": {"multimodal_fraction": 0.5},
        "methods": [{"name": "mba"}],
        "world": {"network": {"latency_ms": 9}},
    }
    scenario = load_scenario(extending(own, {"methods": [{"name": "fedavg"}, {"name": "fedprox"}]}))
    assert (scenario.name, scenario.clients.count, scenario.clients.multimodal_fraction) == ("own", 4, 0.5)
    assert [method.name for method in scenario.methods] == ["mba"]
    network = scenario.resolved()["world"]["network"]
    assert (network["latency_ms"]["value"], network["uplink_mbps"]["value"]) == (9.0, 2.0)


def test_a_section_of_another_kind_replaces_and_the_partition_stays_with_another_data_set(extending):
    uplink = {"distribution": "uniform", "low": 1, "high": 2}
    base = {
        "data.test_fraction": 0.5,
        "world.network.uplink_mbps": {"distribution": "lognormal", "median": 2, "sigma": 1},
    }
    scenario = load_scenario(
        extending({"world": {"network": {"uplink_mbps": uplink}}, "data": {"dataset": "uci-har"}}, base)
    )
    assert scenario.resolved()["world"]["network"]["uplink_mbps"] == uplink
    assert (scenario.data.dataset, scenario.data.partition.alpha) == ("uci-har", 2.0)


def test_a_key_with_dots_replaces_a_section_and_reaches_a_method(extending):
    own = {"world.arrival": {"left": {"per_client": {"distribution": "constant", "value_s": 1}}}, "methods.mba.beta": 3}
    scenario = load_scenario(extending(own, {"methods": [{"name": "mba"}]}))
    assert set(scenario.world.arrival) == {"left"}
    assert scenario.methods[0].beta == 3


def test_a_chain_and_flags_are_laid_over_in_their_order(extending, tmp_path):
    extending({"seed": 2, "clients": {"count": 8}})
    path = tmp_path / "last.yaml"
    path.write_text("extends: own.yaml\nname: last\nclients: {count: 12}\nmodel: {width: 24}\n")
    assert load_scenario(path).clients.count == 12
    changed = load_scenario(path, ["clients.count=16"])
    assert (changed.name, changed.seed, changed.clients.count, changed.model.width) == ("last", 2, 16, 24)


def test_variants_and_sweeps_of_the_base_are_extended_or_taken_away(extending):
    base = {"variants": {"few": {"clients.count": 2}}, "sweep": {"seed": [0, 1], "model.width": [8, 16]}}
    own = {"variants": {"many": {"clients.count": 6}}, "sweep": {"seed": [5]}}
    points = load_sweep(extending(own, base)).scenarios
    assert {(point.clients.count, point.seed, point.model.width) for point in points} == {
        (2, 5, 8), (2, 5, 16), (6, 5, 8), (6, 5, 16),
    }  # fmt: skip
    alone = load_scenarios(extending({"variants": None, "sweep": None}, base))
    assert [scenario.name for scenario in alone] == ["own"]


def test_the_record_has_the_resolved_scenario(extending, scenario_file, tmp_path):
    extended = load_scenario(extending({"clients": {"count": 8}}))
    whole = load_scenario(scenario_file({"clients": {"count": 8}, "name": "own"}, name="whole.yaml"))
    assert "extends" not in extended.resolved()
    (one,), (other,) = (list(run_specs(scenario, tmp_path, "cpu", True)) for scenario in (extended, whole))
    assert (one.path, extended.digest()) == (other.path, whole.digest())


def test_a_shipped_scenario_is_extended_by_its_name(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("extends: quickstart\nname: own\nclients: {count: 3}\n")
    scenario = load_scenario(path)
    assert (scenario.clients.count, len(scenario.methods)) == (3, 4)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"own": "extends: own.yaml"}, "own.yaml: extends: leads in a circle"),
        ({"own": "extends: b.yaml", "b": "extends: ./own.yaml"}, "b.yaml: extends: leads in a circle"),
        ({"own": "extends: nothing.yaml"}, "own.yaml: extends: {0}/nothing.yaml: cannot be read"),
        ({"own": "extends: b.yaml", "b": "[1, 2]"}, "b.yaml: must be a mapping of sections, not a list"),
        ({"own": "extends: b.yaml", "b": ""}, "b.yaml: is empty"),
        ({"own": "extends: b.yaml", "b": "a: ["}, "b.yaml, line 1: not valid YAML"),
        ({"own": "extends: [b.yaml]"}, "extends: must be the path of a scenario"),
        ({"own": "extends: quickstart"}, "own.yaml: name is missing"),
        ({"own": f"extends: {'x' * 5000}"}, "cannot be read: File name too long"),
    ],
)
def test_what_cannot_be_extended_is_one_sentence(files, said, tmp_path):
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(BadInputError) as refused:
        load_scenario(tmp_path / "own.yaml")
    assert said.format(tmp_path) in str(refused.value)


def test_python_reads_a_shipped_scenario_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_scenario("quickstart", ["clients.count=3"]).clients.count == 3
    assert load_scenario("quickstart").resolved() == load_scenario(FOLDER / "quickstart.yaml").resolved()
