"""What a run would need, found by playing a little of its clock without training, before anything is made."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from interlude.simulator.data import load_dataset
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.errors import CannotRunError, InterludeError
from interlude.simulator.federation.rules import Barrier
from interlude.simulator.federation.server import Population
from interlude.simulator.record.writer import RunWriter
from interlude.simulator.run.build import populate
from interlude.simulator.run.limits import Needs, extrapolated, population_bytes, training_bytes
from interlude.simulator.run.loop import MOST_OBSERVATIONS, Run
from interlude.simulator.run.spec import RunSpec
from interlude.simulator.scenario.loading import Scenario, method_class
from interlude.simulator.training.executors.strategy import choose_strategy

_REHEARSED_EVENTS = 1_000
_REHEARSED_PER_CLIENT = 20
"""Events that tell what a run needs: a few rounds of a few clients; of each client, where those tell too much."""


class Rehearsal(RunWriter):
    """Takes what a run says of itself in its first moments, and writes nothing."""

    def __init__(self) -> None:
        self.path = Path()

    def add_facts(self, facts: Mapping[str, Any]) -> None:
        """Forget what is worth knowing of the run."""

    def add_metrics(self, time_s: float, version: int, rows: Iterable[tuple[str, str, float]]) -> None:
        """Forget what was measured."""

    def add_timeline(self, table: pa.Table) -> None:
        """Forget a part of the timeline."""


def check_limits(scenario: Scenario, device: torch.device, *, timing_only: bool = False) -> list[Needs]:
    """Return what each method of a scenario needs, by playing a little of its clock without training.

    Args:
        scenario: the scenario.
        device: where it would train.
        timing_only: whether it would not train at all.

    Raises:
        CannotRunError: with the numbers, if one needs more than the scenario's limits allow, or cannot be played.
    """
    dataset = load_dataset(scenario.data)
    num_samples = len(dataset.train[1])
    fixed_bytes = population_bytes(scenario.clients.count, num_samples)
    everything = Needs(scenario.name, 0.0, 0.0, 0.0, fixed_bytes)
    everything.check(scenario.limits)
    population = populate(scenario, dataset)
    found = []
    for method in scenario.methods:
        part = RunSpec(scenario.for_run(method, scenario.seed), Path(), device, timing_only)
        num_bytes = fixed_bytes + (0 if timing_only else _training_bytes(part, dataset, population))
        Needs(method.run_label, 0.0, 0.0, 0.0, num_bytes).check(scenario.limits)
        needs = _rehearsed(part, dataset, population, _REHEARSED_EVENTS, num_bytes)
        if needs.events + needs.evaluations > scenario.limits.events:
            # The first moments, when everybody starts at once, tell little of many clients: look again, longer.
            longer = min(_REHEARSED_PER_CLIENT * population.num_clients, scenario.limits.events)
            if longer > _REHEARSED_EVENTS:
                needs = _rehearsed(part, dataset, population, longer, num_bytes)
        needs.check(scenario.limits)
        found.append(needs)
    return found


def _rehearsed(part: RunSpec, dataset: Dataset, population: Population, num_events: int, num_bytes: float) -> Needs:
    until = part.scenario.until
    limit_s = math.inf if until.simulated_s is None else until.simulated_s
    run = Run(replace(part, timing_only=True), dataset, population, Rehearsal(), None)
    try:
        is_over = run.clock.advance(limit_s, num_events)
    except InterludeError as error:
        raise CannotRunError(f"'{part.options.run_label}' cannot run: {error}") from error
    ends_by_time = is_over and not run.clock.is_stopped and math.isfinite(limit_s)
    return extrapolated(
        part.options.run_label,
        run.clock.num_events,
        limit_s if ends_by_time else run.clock.now,
        run.server.version,
        simulated_s=until.simulated_s,
        versions=until.versions,
        is_over=is_over,
        every_s=part.scenario.evaluate.every_s,
        memory_bytes=num_bytes,
    )


def _training_bytes(part: RunSpec, dataset: Dataset, population: Population) -> int:
    scenario, server = part.scenario, part.options.server
    network = method_class(part.options.name)(part.options).network(scenario.model, dataset.inputs, dataset.num_classes)
    largest = max(len(shard) for shard in population.shards)
    batch_size = min(scenario.training.batch_size, scenario.training.window_samples or largest, largest)
    strategy = choose_strategy(scenario.executor, network, part.device, batch_size)
    num_clients = population.num_clients
    if isinstance(server, Barrier):  # all of a round start from one version
        in_flight = math.ceil(min((server.clients_per_round or num_clients) * server.over_selection, num_clients))
        num_starts = 1
    else:
        in_flight = num_starts = min(server.concurrency or num_clients, num_clients)
    return training_bytes(network, strategy, batch_size, in_flight, num_starts, MOST_OBSERVATIONS)
