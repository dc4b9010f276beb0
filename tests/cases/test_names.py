"""A name leads nowhere outside the runs directory, however it is set."""

import shutil
import sys
from pathlib import Path

import pytest

from interlude import load_scenarios
from interlude.simulator.cli.main import main
from interlude.simulator.errors import BadInputError
from interlude.simulator.sweep import Flags, load_sweep

OUTSIDE = ["../../x", "/etc/x", "..", ".", "a/b", "a\\b", "", "a\nb", "x" * 201, "é", "-x", "a\0b"]


def ways(name):
    """Return scenarios that set a name in every way there is, each as the changes of a valid one."""
    return {
        "the scenario's": {"name": name},
        "the scenario's below variants": {"name": name, "variants": {"a": {}, "b": {"seed": 1}}},
        "the scenario's below variants with names": {"name": name, "variants": {"a": {"name": "x"}}},
        "a variant's own": {"variants": {"a": {"name": name}}},
        "a label": {"methods": [{"name": "fedavg", "label": name}]},
        "a variant's label": {"variants": {"a": {"methods.0.label": name}}},
        "a sweep's label": {"sweep": {"methods.0.label": ["fine", name]}},
        "a sweep's method": {"sweep": {"methods": [{"name": "fedavg", "label": name}]}},
        "a sweep's scenario": {"name": name, "sweep": {"clients.count": [3, 4]}},
        "a sweep's scenario below variants": {
            "name": name,
            "variants": {"a": {"name": "x"}},
            "sweep": {"clients.count": [3]},
        },
    }


@pytest.mark.parametrize("way", ways(""))
def test_a_name_that_leads_elsewhere_is_refused(scenario_file, way):
    for name in OUTSIDE:
        path = scenario_file(ways(name)[way])
        with pytest.raises(BadInputError, match=r"name|label"):
            load_sweep(path) if "sweep" in way else load_scenarios(path)


@pytest.mark.parametrize("field", ["name", "methods.0.label"])
@pytest.mark.parametrize("variants", [{}, {"variants": {"a": {}, "b": {"name": "own"}}}])
def test_an_override_is_checked_like_the_file(scenario_file, field, variants):
    path = scenario_file(variants)
    for name in ("../../x", "..", "''", "a/b"):
        with pytest.raises(BadInputError, match=field):
            load_scenarios(path, [f"{field}={name}"])
        with pytest.raises(BadInputError, match=field):
            load_sweep(path, [f"{field}={name}"], Flags(seeds=[0]))


def test_nothing_is_written_outside(refusal, scenario_file):
    path = scenario_file(ways("../../x")["a sweep's scenario below variants"])
    assert "name: " in refusal("sweep", path, "--runs", "deep/runs", "--timing-only")
    path = scenario_file(ways("../../x")["a variant's own"])
    assert "name: " in refusal("run", path, "--runs", "deep/runs", "--timing-only")


def test_points_of_a_sweep_are_named_within_their_directory(scenario_file):
    values = ["../../up.csv", "/etc/passwd", "a/b" * 40, "..", "x" * 500]
    path = scenario_file({"methods": [{"name": "fedavg"}], "sweep": {"paper.source": values, "paper.accuracy": [{}]}})
    names = [scenario.name for scenario in load_sweep(path).scenarios]
    assert len(set(names)) == len(values)
    assert all(name.startswith("tiny-source-") and "/" not in name and len(name) <= 200 for name in names)


def test_a_point_of_many_long_values_keeps_a_name_of_its_own(scenario_file):
    block = {"world.network.uplink_mbps": [1.5, 2.5], "world.network.downlink_mbps": [3.5, 4.5]}
    names = [scenario.name for scenario in load_sweep(scenario_file({"name": "y" * 190, "sweep": block})).scenarios]
    assert len(set(names)) == 4
    assert all(len(name) <= 200 for name in names)


def test_a_renamed_scenario_keeps_its_variants_apart(scenario_file):
    path = scenario_file({"variants": {"a": {}, "b": {"clients.count": 5}}})
    assert [scenario.name for scenario in load_scenarios(path, ["name=other"])] == ["other-a", "other-b"]
    assert load_sweep(path, ["name=other"], Flags(seeds=[3])).name == "other"


def test_two_variants_cannot_have_one_name(scenario_file):
    path = scenario_file({"variants": {"a": {"name": "x"}, "b": {"name": "x", "seed": 1}}})
    with pytest.raises(BadInputError, match="variants: 'a' and 'b' have the same name, x"):
        load_scenarios(path)


def test_variants_without_a_scenario_s_name_are_refused(scenario_file, removed):
    path = scenario_file({"name": removed, "variants": {"a": {}}})
    with pytest.raises(BadInputError, match="name is missing"):
        load_scenarios(path)


ACCENTS = """
from interlude.simulator.federation.rules import Barrier
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions

class Méthode(Method):
    class Options(MethodOptions):
        server: Barrier = Barrier()
"""


def test_a_class_whose_name_is_no_directory_s_needs_a_label(scenario_file, tmp_path, monkeypatch):
    (tmp_path / "accents.py").write_text(ACCENTS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    path = scenario_file({"methods": [{"name": "accents:Méthode"}]})
    with pytest.raises(BadInputError, match="'Méthode' cannot name a run directory; give it a 'label'"):
        load_scenarios(path)
    assert load_scenarios(path, ["methods.0.label=plain"])
    sys.modules.pop("accents")


def test_a_variant_whose_directory_is_taken_is_refused_before_another_one_begins(refusal, scenario_file):
    path = scenario_file({"until": {"simulated_s": 3}, "variants": {"a": {}, "b": {}}})
    with pytest.raises(SystemExit) as finished:
        main(["run", str(path), "--timing-only", "--device", "cpu"])
    assert not finished.value.code
    shutil.rmtree("runs/tiny-a")
    path = scenario_file({"until": {"simulated_s": 4}, "variants": {"a": {}, "b": {}}})
    assert "tiny-b" in refusal("run", path, "--timing-only", "--device", "cpu")


def test_with_overwrite_too_no_variant_begins_before_all_directories_can_be_replaced(refusal, scenario_file):
    path = scenario_file({"until": {"simulated_s": 3}, "variants": {"a": {}, "b": {}}})
    foreign = Path("runs/tiny-b/fedavg-s0/thesis.txt")
    foreign.parent.mkdir(parents=True)
    foreign.touch()
    assert "tiny-b" in refusal("run", path, "--timing-only", "--overwrite", "--device", "cpu")
