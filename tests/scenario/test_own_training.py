"""A method's own ``training``, laid over the scenario's."""

import pytest
from sentences import sentence_about

from interlude import load_scenario, run_scenario
from interlude.analysis.runs import by_scenario, by_world
from interlude.simulator.scenario.loading import parse_scenario
from interlude.simulator.sweep import load_sweep

METHODS = [{"name": "fedavg"}, {"name": "mba", "training": {"optimizer": {"learning_rate": 0.1}, "local_epochs": 5}}]


def test_a_methods_training_is_the_scenarios_with_its_own_fields_laid_over(scenario_with):
    scenario = parse_scenario(scenario_with({"methods": METHODS, "training.optimizer.momentum": 0.9}))
    fedavg, mba = map(scenario.training_of, scenario.methods)
    assert fedavg == scenario.training
    assert (mba.local_epochs, mba.batch_size, mba.window_samples) == (5, 32, 32)
    assert (mba.optimizer.learning_rate, mba.optimizer.momentum) == (0.1, 0.9)
    assert parse_scenario(scenario.resolved()).digest() == scenario.digest()


def test_a_schedule_of_another_kind_replaces_the_scenarios(scenario_with):
    linear = {"kind": "linear", "to": 0.01, "over_versions": 10}
    steps = {"kind": "steps", "at_versions": [5]}
    methods = [
        {"name": "fedavg", "training": {"optimizer": {"schedule": steps}}},
        {"name": "mba", "training": {"optimizer": {"schedule": {"to": 0.02}}}},
        {"name": "fedasync", "training": {"optimizer": {"schedule": None}}},
    ]
    scenario = parse_scenario(scenario_with({"methods": methods, "training.optimizer.schedule": linear}))
    rates = [scenario.training_of(method).optimizer.rate_at(10) for method in scenario.methods]
    assert rates == pytest.approx([0.005, 0.02, 0.05])


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({"optimizer": {"learning_rate": -1}}, "methods.1.training.optimizer.learning_rate: should be greater than 0"),
        ({"optimizer": {"learning_rate": "0.1"}}, "methods.1.training.optimizer.learning_rate: must be a number"),
        ({"local_epoch": 2}, "methods.1.training.local_epoch: unknown key 'local_epoch'"),
        ({"optimizer": 0.1}, "methods.1.training.optimizer: must be a mapping"),
        ([0.1], "methods.1.training: must be a mapping"),
    ],
    ids=str,
)
def test_a_wrong_field_is_one_sentence(scenario_file, training, said):
    assert said in sentence_about(
        scenario_file({"methods": [{"name": "fedavg"}, {"name": "mba", "training": training}]})
    )


def test_set_and_sweeps_reach_it_by_the_methods_label(scenario_file):
    methods = {"methods": [{"name": "fedavg"}, {"name": "mba"}]}
    scenario = load_scenario(scenario_file(methods), ["methods.mba.training.local_epochs=5"])
    assert [scenario.training_of(method).local_epochs for method in scenario.methods] == [1, 5]
    sweep = load_sweep(scenario_file({**methods, "sweep": {"methods.mba.training.local_epochs": [2, 3]}}))
    assert [[s.training_of(m).local_epochs for m in s.methods] for s in sweep.scenarios] == [[1, 2], [1, 3]]
    assert [s.name for s in sweep.scenarios] == ["tiny-local_epochs-2", "tiny-local_epochs-3"]


def test_a_run_trains_as_its_method_says_and_is_paired_with_the_others(scenario_with, tmp_path):
    methods = [
        {"name": "fedavg"},
        {"name": "fedavg", "label": "more", "training": {"local_epochs": 3, "batch_size": 16}},
    ]
    own = parse_scenario(scenario_with({"methods": methods, "until": {"versions": 2}}))
    both = run_scenario(own, runs=tmp_path / "own", device="cpu", workers=1)
    changed = {"training.local_epochs": 3, "training.batch_size": 16, "methods": [{"name": "fedavg", "label": "more"}]}
    (alone,) = run_scenario(
        parse_scenario(scenario_with({"until": {"versions": 2}, **changed})),
        runs=tmp_path / "whole",
        device="cpu",
        workers=1,
    )
    assert both[1].metrics.equals(alone.metrics)
    assert both[1].timeline.equals(alone.timeline)
    assert not both[0].metrics.equals(both[1].metrics)
    assert len(by_world(both)) == len(by_scenario(both)) == 1
