"""`--set` reaches every field, or is refused in one sentence."""

import pytest
from sentences import sentence_about

from interlude.simulator.scenario.loading import load_scenario


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("clients.count", "must look like key=value"),
        ("=3", "must look like key=value"),
        ("", "must look like key=value"),
        ("clients.count=[1", "not valid YAML"),
        ("seed=" + 600 * "[", "not valid YAML"),
        ("clients.count=", "clients.count"),  # nothing is not a number
        ("methods.7.name=mba", "positions 0 to 0"),
        ("methods.first.name=mba", "positions 0 to 0"),
        ("methods.-1.name=mba", "positions 0 to 0"),
        ("methods.1=mba", "positions 0 to 0"),
        ("name.x=1", "'name' is a value, not a section"),
        ("name.x.y=1", "into a value, not a section"),
        ("clients.cuont=3", "did you mean 'count'"),
        ("bogus.deep.key=3", "unknown key 'bogus'"),
    ],
    ids=lambda value: value[:30],
)
def test_an_override_that_leads_nowhere_is_one_sentence(scenario_file, override, said):
    assert said in sentence_about(scenario_file(), [override])


def test_overrides_reach_sections_lists_and_new_keys(scenario_file):
    overrides = [
        "clients.count=7",
        "methods.0.proximal=0.5",
        "methods.0.server.clients_per_round=3",  # a new section
        "world.faults.dropout_probability=0.25",  # another
        "world.arrival.gray.per_client={distribution: constant, value_s: 9}",
        "name=renamed",
        "clients.count=8",  # the last one counts
    ]
    scenario = load_scenario(scenario_file(), overrides)
    assert scenario.name == "renamed"
    assert scenario.clients.count == 8
    assert scenario.methods[0].proximal == 0.5
    assert scenario.methods[0].server.clients_per_round == 3
    assert scenario.world.faults.dropout_probability == 0.25
    assert scenario.resolved()["world"]["arrival"]["gray"]["per_client"]["value_s"] == 9


def test_an_override_replaces_a_whole_method(scenario_file):
    assert load_scenario(scenario_file(), ["methods.0={name: mba, beta: 2}"]).methods[0].beta == 2.0


def test_a_value_may_hold_an_equals_sign(scenario_file):
    assert "'a=b'" in sentence_about(scenario_file(), ["name=a=b"])
