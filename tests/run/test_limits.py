"""What a run would need is told before it begins, honestly enough, and refused only where it is too much."""

import math
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from interlude import run_scenario
from interlude.simulator.errors import CannotRunError, InterludeError
from interlude.simulator.record.reader import RunRecord
from interlude.simulator.run import experiment
from interlude.simulator.run.build import build_testbed
from interlude.simulator.run.estimate import estimate
from interlude.simulator.run.limits import Needs
from interlude.simulator.scenario.documents import load_documents
from interlude.simulator.scenario.loading import parse_scenario
from interlude.simulator.scenario.sections import LimitsSpec

CPU = torch.device("cpu")
SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").rglob("*.yaml"))
SMALL = {"data.partition": {"kind": "iid"}, "model.width": 4, "training.window_samples": 16}

INSTANT = {
    "world.arrival.gray.per_client": {"distribution": "constant", "value_s": 0},
    "world.arrival.color.per_client": {"distribution": "constant", "value_s": 0},
    "world.compute.throughput_gflops": 1e99,
    "world.network": {"uplink_mbps": 1e99, "downlink_mbps": 1e99, "latency_ms": 0},
}
"""A world in which nothing takes time."""


def needs_of(scenario_with, changes):
    testbed = build_testbed(parse_scenario(scenario_with({**SMALL, **changes})))
    return [found.needs for found in estimate(testbed, CPU, timing_only=True)]


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_no_shipped_scenario_is_refused(path):
    try:
        scenarios = [parse_scenario(document, str(path)) for document in load_documents(path).variants]
        testbeds = [build_testbed(scenario) for scenario in scenarios]
    except InterludeError as error:
        if "INTERLUDE_DATA" in os.environ:
            raise
        pytest.skip(f"its data are not here: {error}")
    for testbed in testbeds:
        methods = testbed.scenario.methods
        few = (methods[0], *[m for m in methods if m.server.rule == "on_arrival"][:1])
        estimate(replace(testbed, scenario=testbed.scenario.model_copy(update={"methods": few})), CPU)


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        (Needs("a", 11.0, 0.0, 1.0, 0.0), "limits.events: 'a' needs about 11 events, but at most 10"),
        (Needs("a", 5.0, 20.0, 1.0, 0.0), "25 events, 20 of them evaluations"),
        (Needs("a", math.inf, 0.0, math.inf, 0.0), "'a' needs infinitely many events"),
        (Needs("a", 1.0, 0.0, 1.0, 3e9), "limits.memory_gb: 'a' needs about 3 GB"),
    ],
)
def test_what_is_too_much_is_said_with_its_numbers(needs, said):
    with pytest.raises(CannotRunError, match=said):
        needs.check(LimitsSpec(events=10, memory_gb=2))


@pytest.mark.parametrize("method", ["fedavg", "fedasync", "mba"])
@pytest.mark.parametrize("until", [{"simulated_s": 900}, {"versions": 150}])
def test_the_estimate_is_near_what_the_run_comes_to(scenario_with, tmp_path, method, until):
    changes = {"methods": [{"name": method}], "until": until}
    (needs,) = needs_of(scenario_with, changes)
    (record,) = run_scenario(
        parse_scenario(scenario_with({**SMALL, **changes})), runs=tmp_path, device="cpu", timing_only=True
    )
    assert needs.events == pytest.approx(record.info["totals"]["events"], rel=0.2)
    assert needs.simulated_s == pytest.approx(record.info["totals"]["simulated_s"], rel=0.2)


def test_a_run_that_is_allowed_needs_no_raised_limit_and_a_raised_one_helps(scenario_with):
    assert needs_of(scenario_with, {"limits": {"events": 2_000}})
    too_long = {"until": {"simulated_s": 100_000}}
    with pytest.raises(CannotRunError, match=r"limits\.events"):
        needs_of(scenario_with, {**too_long, "limits": {"events": 2_000}})
    assert needs_of(scenario_with, {**too_long, "limits": {"events": 10**7}})


def test_a_world_in_which_nothing_takes_time_is_refused(scenario_with):
    with pytest.raises(CannotRunError, match=r"limits\.events"):
        needs_of(scenario_with, {**INSTANT, "methods": [{"name": "fedasync"}]})


def test_many_clients_that_start_at_once_are_no_false_alarm(scenario_with):
    """600 downloads in the first millisecond, then a day of computing: the first moments tell nothing of the rest."""
    slow = {"world.compute": {"throughput_gflops": 1, "overhead_s": 86_400}, "until": {"simulated_s": 300_000}}
    fast = {"world.network": {"uplink_mbps": 1e5, "downlink_mbps": 1e5, "latency_ms": 0.001}}
    changes = {**slow, **fast, "clients.count": 600, "methods": [{"name": "fedasync"}], "limits": {"events": 50_000}}
    (needs,) = needs_of(scenario_with, changes)
    assert needs.events < 20_000


def test_a_run_beyond_its_estimate_stops_at_the_limit_with_its_record(scenario_with, tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "estimate", lambda *_, **__: [])
    changes = {
        "until": {"versions": 100},
        "methods": [{"name": "fedasync"}],
        "world.faults": {"dropout_probability": 0.999999},
        "limits": {"events": 3_000},
    }
    with pytest.raises(InterludeError, match=r"the limit of 3,000 events \(limits\.events\) is reached after"):
        run_scenario(parse_scenario(scenario_with({**SMALL, **changes})), runs=tmp_path, device="cpu", timing_only=True)
    record = RunRecord(tmp_path / "tiny/fedasync-s0")
    assert record.info["status"] == "failed"
    assert len(record.timeline) > 1_000


def test_memory_counts_models_alive_and_a_group_in_training(scenario_with):
    def needed(**changes):
        scenario = parse_scenario(scenario_with({**SMALL, "model.width": 64, "until.simulated_s": 1, **changes}))
        return estimate(build_testbed(scenario), CPU)[0].needs.memory_bytes

    one = needed(methods=[{"name": "fedasync", "server": {"concurrency": 1}}])
    four = needed(methods=[{"name": "fedasync", "server": {"concurrency": 4}}])
    assert four > one + 6 * 80_000  # three more results and three more starts of about 90 kB each


def test_a_barrier_needs_memory_for_all_results_only_where_they_may_be_rejected(scenario_with):
    def needed(num_clients, **training):
        method = {"name": "fedavg", "training": training}
        changes = {"clients.count": num_clients, "methods": [method], "executor.strategy": "looped", "model.width": 64}
        return estimate(build_testbed(parse_scenario(scenario_with({**SMALL, **changes}))), CPU)[0].needs.memory_bytes

    model_bytes = 80_000  # at least
    assert needed(20) - needed(10) < model_bytes
    assert needed(20, on_divergence="reject") - needed(10, on_divergence="reject") > 10 * model_bytes


def test_a_huge_scenario_is_refused_in_no_time(scenario_with):
    started = time.process_time()
    for changes in ({"until.simulated_s": 1e99}, {"evaluate.every_s": 1e-99}, {"training.local_epochs": 2**62}):
        with pytest.raises(CannotRunError):
            needs_of(scenario_with, changes)
    assert time.process_time() - started < 60  # would else take for ever
