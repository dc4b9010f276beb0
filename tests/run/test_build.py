"""Everything that runs are made of is built once, and each method is played once where it is checked."""

from collections import Counter

import pytest
import torch

from interlude import parse_scenario, run_scenario
from interlude.simulator.cli.main import main
from interlude.simulator.errors import CannotRunError
from interlude.simulator.run import build, estimate, opening
from interlude.simulator.run.build import build_testbed
from interlude.simulator.run.interruption import ResumePolicy

TWO_METHODS = [{"name": "fedavg"}, {"name": "fedasync"}]


@pytest.fixture
def calls(monkeypatch):
    """Return how often a data set was loaded, clients and a world were drawn, and a clock was made to be played."""
    counted = Counter()

    def counting(module, name):
        original = getattr(module, name)

        def call(*arguments, **options):
            counted[name] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, call)

    for name in ("load_dataset", "partition", "World"):
        counting(build, name)
    counting(opening, "Run")
    return counted


def test_a_run_of_two_methods_loads_and_draws_once(calls, scenario_with, tmp_path):
    scenario = parse_scenario(scenario_with({"methods": TWO_METHODS, "until.simulated_s": 5}))
    run_scenario(scenario, runs=tmp_path, device="cpu", timing_only=True)
    assert calls == {"load_dataset": 1, "partition": 1, "World": 1, "Run": 2}


def test_a_check_loads_and_draws_once_and_plays_each_method_once(calls, scenario_file):
    with pytest.raises(SystemExit) as ended:
        main(["check", str(scenario_file({"methods": TWO_METHODS}))])
    assert ended.value.code == 0
    assert calls == {"load_dataset": 1, "partition": 1, "World": 1, "Run": 2}


def test_methods_share_what_they_are_compared_on(scenario_with):
    testbed = build_testbed(parse_scenario(scenario_with({"methods": TWO_METHODS})))
    first, second = (testbed.ingredients(options) for options in testbed.scenario.methods)
    assert first.dataset is second.dataset
    assert first.population is second.population
    assert first.world is second.world
    assert type(first.method) is not type(second.method)


def test_runs_of_another_seed_see_other_data_unless_the_scenario_pins_them(scenario_with):
    def colours(changes):
        return build_testbed(parse_scenario(scenario_with(changes))).dataset.test[0]["color"]

    assert not torch.equal(colours({"seed": 1}), colours({"seed": 2}))
    pinned = {"data.seed": 1}
    assert torch.equal(colours({"seed": 1}), colours({**pinned, "seed": 2}))


def test_a_method_without_interruptions_comes_to_what_its_estimate_says(scenario_with, tmp_path):
    """A run that is over within its first 1,000 events is estimated exactly."""
    scenario = parse_scenario(scenario_with())
    testbed = build_testbed(scenario)
    (estimated,) = estimate.estimate(testbed, torch.device("cpu"))
    (record,) = run_scenario(scenario, runs=tmp_path, device="cpu", timing_only=True)
    totals, sent = record.info["totals"], record.timeline[record.timeline["bytes"] > 0]
    assert estimated.local_rounds == totals["local_rounds"]
    assert estimated.needs.events == totals["events"]
    assert estimated.num_bytes == sent["bytes"].sum()


def test_more_clients_than_samples_hold_shards_in_turn_where_nothing_is_trained(scenario_with, tmp_path):
    scenario, said = parse_scenario(scenario_with({"clients.count": 3_000, "until": {"versions": 1}})), []
    with pytest.raises(CannotRunError, match=r"clients\.count"):
        build_testbed(scenario)
    run_scenario(scenario, runs=tmp_path, device="cpu", timing_only=True, policy=ResumePolicy(say=said.append))
    assert ["hold 21 shards" in sentence for sentence in said] == [True]  # 1,347 samples, at least 2 each: 64 a shard
