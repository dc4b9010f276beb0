"""A resolved scenario parses back to an equal one; a broken one is one sentence."""

import datetime
import math
from collections.abc import Iterator

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from interlude.simulator.errors import BadInputError
from interlude.simulator.methods import METHODS
from interlude.simulator.scenario.loading import load_scenario, parse_scenario

VARIANTS = [
    {},
    {"methods": [{"name": name} for name in METHODS]},
    {
        "methods": [
            {"name": "mba", "server": {"rule": "buffered", "size": 3}, "anchor_form": "class_mean", "label": "b"}
        ]
    },
    {"methods": [{"name": "fedasync", "server": {"staleness": {"function": "hinge"}}}]},
    {"model.encoder": {"gray": "mlp", "color": "conv4"}},
    {"evaluate": {"every_s": 5, "target_accuracy": [0.6, 0.8]}},
    {"data.partition": {"kind": "iid"}, "until": {"versions": 3}},
    {
        "world.arrival.gray": {
            "kind": "stream",
            "sample_period_s": {"distribution": "gamma", "shape": 2, "mean": 0.1},
            "transfer_s": {"distribution": "exponential", "mean": 2},
            "queue_windows": 3,
            "on_miss": "absent",
            "miss_probability": 0.1,
        }
    },
    {"world.arrival.gray.per_client": {"distribution": "pareto", "shape": 2, "minimum_s": 1}},
    {"world.arrival.gray.per_client": {"distribution": "uniform", "low_s": 1, "high_s": 2}},
    {"world.arrival.gray.per_client": {"distribution": "weibull", "shape": 2, "scale_s": 1}},
]


@pytest.mark.parametrize("changes", VARIANTS)
def test_a_resolved_scenario_parses_back_to_an_equal_one(tmp_path, scenario_with, changes):
    scenario = parse_scenario(scenario_with(changes))
    path = tmp_path / "resolved.yaml"
    path.write_text(yaml.safe_dump(scenario.resolved()), encoding="utf-8")
    again = load_scenario(path)
    assert again == scenario
    assert again.resolved() == scenario.resolved()
    assert again.digest() == scenario.digest()


@pytest.mark.parametrize(("given_target", "targets"), [(None, ()), (0.5, (0.5,)), ([0.6, 0.5, 0.6], (0.6, 0.5))])
def test_targets_are_one_or_several_each_once(scenario_with, given_target, targets):
    evaluate = {"every_s": 5, "target_accuracy": given_target}
    assert parse_scenario(scenario_with({"evaluate": evaluate})).evaluate.targets == targets


def test_a_resolved_scenario_with_a_csv_parses_back_to_an_equal_one(tmp_path, scenario_with):
    (tmp_path / "delays.csv").write_text("s\n1\n2\n5\n", encoding="utf-8")
    delays = {"distribution": "empirical", "file": str(tmp_path / "delays.csv"), "column": "s"}
    scenario = parse_scenario(scenario_with({"world.arrival.gray.per_client": delays}))
    assert parse_scenario(scenario.resolved()) == scenario


def test_the_digest_tells_scenarios_apart(scenario_with):
    digests = {parse_scenario(scenario_with(c)).digest() for c in ({}, {"seed": 1}, {"clients.count": 5}, VARIANTS[1])}
    assert len(digests) == 4


def test_options_of_a_methods_own_server_rule_need_not_name_the_rule(scenario_with):
    (method,) = parse_scenario(scenario_with({"methods": [{"name": "fedasync", "server": {"mixing": 0.3}}]})).methods
    assert method.server.rule == "on_arrival"
    assert method.server.mixing == 0.3


def test_the_scenario_of_a_run_holds_one_method_and_its_seed(scenario_with):
    scenario = parse_scenario(scenario_with({"methods": [{"name": "fedavg"}, {"name": "mba"}]}))
    run = scenario.for_run(scenario.methods[1], 7)
    assert [method.name for method in run.methods] == ["mba"]
    assert run.seed == 7
    assert scenario.seed == 0


def paths_of(node, path=()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from paths_of(child, (*path, key))


VALUES = [None, True, -1, 0, 1, 0.5, math.inf, math.nan, "x", "", [], {}, [1], [[1]], {"a": 1}, {1: 2}, 10**30, b"x"]

VALUES += [1e-300, 1e300, 1e-3, 0.999, datetime.date(2020, 1, 1)]


@given(data=st.data())
@settings(max_examples=300)
def test_any_single_mutation_parses_or_is_one_sentence(scenario_with, data):
    scenario = scenario_with({"world.faults.dropout_probability": 0.1, **VARIANTS[6], **VARIANTS[3]})
    *path, last = data.draw(st.sampled_from(list(paths_of(scenario))))
    parent = scenario
    for step in path:
        parent = parent[step]
    match data.draw(st.sampled_from(["drop", "rename", "retype"])):
        case "drop":
            del parent[last]
        case "rename" if isinstance(last, str):
            parent[data.draw(st.sampled_from([f"{last}x", last[:-1], 1, None]))] = parent.pop(last)
        case _:
            parent[last] = data.draw(st.sampled_from(VALUES))
    try:
        parse_scenario(scenario, "mutated.yaml")
    except BadInputError as error:
        sentence = str(error)
    else:
        return
    assert sentence.startswith("mutated.yaml: ")
    assert "\n" not in sentence


@pytest.mark.parametrize("name", METHODS)
def test_a_server_rule_that_is_the_methods_own_keeps_its_options_whether_it_is_named_or_not(name, scenario_with):
    (default,) = parse_scenario(scenario_with({"methods": [{"name": name}]})).methods
    (named,) = parse_scenario(
        scenario_with({"methods": [{"name": name, "server": {"rule": default.server.rule}}]})
    ).methods
    assert named == default


def test_another_server_rule_has_its_own_defaults(scenario_with):
    entry = {"name": "fadas", "server": {"rule": "buffered", "size": 2}}
    (fadas,) = parse_scenario(scenario_with({"methods": [entry]})).methods
    assert (fadas.server.size, fadas.server.learning_rate) == (2, 1e-3)
    (fedbuff,) = parse_scenario(scenario_with({"methods": [{**entry, "name": "fedbuff"}]})).methods
    assert fedbuff.server.learning_rate == 1.0
    (fedavg,) = parse_scenario(scenario_with({"methods": [{**entry, "name": "fedavg"}]})).methods
    assert (fedavg.server.size, fedavg.server.learning_rate) == (2, 1.0)
