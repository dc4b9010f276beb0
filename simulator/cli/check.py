"""What a scenario would run: sizes, durations, and how much happens, by playing a little of it without training."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from interlude.models.network import Network
from interlude.simulator.arrays import Floats
from interlude.simulator.cli.tables import Rows, size
from interlude.simulator.data import load_dataset
from interlude.simulator.federation.server import Population
from interlude.simulator.methods.base import MethodOptions
from interlude.simulator.run.build import how_trained, populate, world_of
from interlude.simulator.run.experiment import run_scenario
from interlude.simulator.run.limits import Needs
from interlude.simulator.scenario.loading import Scenario, method_class
from interlude.simulator.training.cost import shared_costs
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.world.world import World

_ROUNDS_PLAYED = 5
_MOST_EVENTS_PLAYED = 50_000


@dataclass(frozen=True)
class FirstRounds:
    """What every client's first local round takes if it waits for all its modalities; [N] seconds each."""

    download_s: Floats
    first_arrival_s: Floats
    last_arrival_s: Floats
    train_s: Floats
    upload_s: Floats

    @property
    def total_s(self) -> Floats:
        """From dispatch to return."""
        return np.maximum(self.download_s, self.last_arrival_s) + self.train_s + self.upload_s


def plan(scenario: Scenario, device: torch.device, needs: Sequence[Needs]) -> Iterator[tuple[str, Rows]]:
    """Yield tables about what a scenario would run.

    Args:
        scenario: the scenario.
        device: where it would train.
        needs: what each of its methods needs.

    Raises:
        BadInputError: if its population cannot be made.
    """
    dataset = load_dataset(scenario.data)
    population = populate(scenario, dataset)
    network = Network(scenario.model, dataset.inputs, dataset.num_classes)
    world = world_of(scenario, dataset, population.num_clients)
    shards = np.array([len(shard) for shard in population.shards])
    ends = [f"{scenario.until.simulated_s:g} simulated s"] if scenario.until.simulated_s else []
    ends += [f"{scenario.until.versions} versions"] if scenario.until.versions else []
    yield (
        scenario.name,
        Rows(
            [
                (
                    "data",
                    f"{scenario.data.dataset}: {len(dataset.train[1])} training, {len(dataset.test[1])} test samples",
                ),
                ("modalities", ", ".join(f"{m} {list(given.shape)}" for m, given in dataset.inputs.items())),
                (
                    "clients",
                    f"{len(shards)} with {shards.min()} to {shards.max()} samples, median {np.median(shards):g}",
                ),
                (
                    "model",
                    ", ".join(f"{group} {size(num_bytes)}" for group, num_bytes in network.group_bytes.items()),
                ),
                (
                    "runs",
                    f"{len(scenario.methods)} methods, seed {scenario.seed}, each until {' or '.join(ends)}",
                ),
            ]
        ),
    )
    common = _first_rounds(scenario, network, world, population)
    timings = {
        "download": common.download_s,
        "first modality arrives": common.first_arrival_s,
        "last modality arrives": common.last_arrival_s,
        "joint training": common.train_s,
        "upload": common.upload_s,
    }
    yield (
        "a first local round on all modalities held, seconds over clients",
        Rows(
            [(name, *(f"{v:.2f}" for v in np.quantile(values, (0, 0.5, 1)))) for name, values in timings.items()],
            ("", "fastest", "median", "slowest"),
            frozenset({1, 2, 3}),
        ),
    )
    yield _contents(scenario, world, len(shards))
    failing = _what_fails(scenario, world, population)
    if failing:
        yield "what fails", Rows(failing)
    horizon_s = _ROUNDS_PLAYED * float(common.total_s.max())
    busiest = max(needed.events / needed.simulated_s for needed in needs)
    horizon_s = min(horizon_s, scenario.until.simulated_s or horizon_s, _MOST_EVENTS_PLAYED / max(busiest, 1e-9))
    played = [_played(scenario, options, horizon_s) for options in scenario.methods]
    yield (
        f"methods, by playing their first {horizon_s:.0f} simulated seconds without training",
        Rows(
            [row for row, _ in played],
            ("method", "waiting", "server", "down", "up", "local rounds", "bytes in all"),
            frozenset({3, 4, 5, 6}),
        ),
    )
    yield _limits(scenario, needs)
    if failing:
        yield (
            "what of it comes to nothing",
            Rows(
                [lost for _, lost in played],
                ("method", "local rounds", "why", "device-s", "bytes", "too old", "held up, device-s", "time off"),
                frozenset({1, 3, 4, 5, 6, 7}),
            ),
        )
    trained = []
    for options in scenario.methods:
        own = method_class(options.name)(options).network(scenario.model, dataset.inputs, dataset.num_classes)
        how = how_trained(scenario.executor, own, device, scenario.training.batch_size)
        trained.append((options.run_label, *how))
    yield f"training on {device}", Rows(trained, ("method", "how", "why"))


def _limits(scenario: Scenario, needs: Sequence[Needs]) -> tuple[str, Rows]:
    """Return a table of what each method needs, against what the scenario allows."""
    allowed = f"{scenario.limits.events:,} events, {size(scenario.limits.memory_gb * 1e9)}"
    return (
        f"needed, by count before anything runs; limits: {allowed}",
        Rows(
            [
                (
                    needed.label,
                    f"~ {needed.events:,.0f}",
                    f"~ {needed.evaluations:,.0f}",
                    f"~ {size(needed.memory_bytes)}",
                )
                for needed in needs
            ],
            ("method", "events", "evaluations", "memory beside the data"),
            frozenset({1, 2, 3}),
        ),
    )


def _contents(scenario: Scenario, world: World, num_clients: int) -> tuple[str, Rows]:
    """Return a table of what the world gives its clients."""
    clients = range(num_clients)
    contents = {
        "GFLOP/s in the first round": [1e-9 / world.devices.s_per_flop(client, 0) for client in clients],
        "downlink, mbps": [world.links.mbps(client, "down") for client in clients],
        "uplink, mbps": [world.links.mbps(client, "up") for client in clients],
    }
    title = "the world"
    if world.availability is not None and scenario.world.availability is not None:
        there = world.availability
        title += f", where {scenario.world.availability.kind} availability may {there.policy} work under way"
        first_on_s = [there.next_on(client, 0.0) for client in clients]
        contents["share of time on"] = [there.on_share(client) for client in clients]
        contents["first on, s"] = first_on_s
        contents["then on for, s"] = [
            there.remaining_on(client, at_s) if at_s < math.inf else 0.0
            for client, at_s in zip(clients, first_on_s, strict=True)
        ]
    shares = (0, 0.1, 0.5, 0.9, 1)
    return (
        title,
        Rows(
            [
                (name, *(f"{v:.4g}" for v in np.quantile(values, shares, method="inverted_cdf")))
                for name, values in contents.items()
            ],
            ("over clients", "least", "p10", "median", "p90", "most"),
            frozenset(range(1, 6)),
        ),
    )


def _first_rounds(scenario: Scenario, network: Network, world: World, population: Population) -> FirstRounds:
    costs = shared_costs(network, scenario.training.batch_size, {})
    rows = []
    for client, shard in enumerate(population.shards):
        held = population.modalities[client]
        num_bytes = network.num_bytes(network.groups_of(held))
        num_samples = min(len(shard), scenario.training.window_samples or len(shard))
        steps = costs.num_steps(num_samples, scenario.training.local_epochs)
        flops = costs.of_task((LocalSteps(CrossEntropy(held), steps, "joint"),), num_samples).flops
        arrivals_s = world.arrivals_s(client, 0, 0.0, num_samples, held).values()
        rows.append(
            (
                world.links.transfer_s(client, "down", num_bytes, 0),
                min(arrivals_s, default=0.0),
                max(arrivals_s, default=0.0),
                world.devices.overhead_s(client) + flops * world.devices.s_per_flop(client, 0),
                world.links.transfer_s(client, "up", num_bytes, 0),
            )
        )
    return FirstRounds(*np.array(rows).T)


def _what_fails(scenario: Scenario, world: World, population: Population) -> list[tuple[str, str]]:
    """Return what the world's faults come to in the long run, a row each; none where nothing fails."""
    spec, rows = scenario.world, []
    clients = range(population.num_clients)
    if world.availability is not None:
        joining = sum(world.availability.join_s(client) > 0.0 for client in clients)
        leaving = sum(math.isfinite(world.availability.leave_s(client)) for client in clients)
        rows.append(
            (
                "clients",
                f"{joining} join later, {leaving} leave for good; work of one that goes off: "
                f"{world.availability.policy}",
            )
        )
    for name, arrival in spec.arrival.items():
        if arrival.miss_probability > 0.0:
            rows.append((f"{name} misses", f"{arrival.miss_probability:.0%} of local rounds; then {arrival.on_miss}"))
    if spec.compute.stragglers is not None:
        slow = spec.compute.stragglers
        rows.append(("stragglers", f"{slow.share:.0%} of local rounds compute {slow.slowdown:g} times as long"))
    if spec.faults.crash_probability > 0.0:
        rows.append(("devices die", f"in {spec.faults.crash_probability:.0%} of local rounds"))
    if spec.faults.dropout_probability > 0.0:
        rows.append(("uploads break off", f"in {spec.faults.dropout_probability:.0%} of local rounds"))
    loss = spec.faults.upload_loss
    if loss is not None:
        given_up = loss.probability**loss.max_attempts
        rows.append(("attempts to upload", f"{loss.probability:.0%} get lost; {given_up:.2%} of updates after all"))
    outages = world.faults.outages
    if outages is not None:
        share = "at known moments" if outages.share is None else f"{outages.share:.1%} of the time"
        rows.append(("server away", share))
    for direction, shared in world.links.shared_bytes_per_s.items():
        own = sum(world.links.bytes_per_s(client, direction, 0) for client in clients)
        rows.append(
            (f"shared link, {direction}", f"{size(shared)}/s for clients that could take {size(own)}/s together")
        )
    if spec.energy is not None:
        watts = spec.energy.watts(scenario.seed, population.num_clients)
        rows.append(("power", ", ".join(f"{purpose} {power.mean():.3g} W" for purpose, power in watts.items())))
    return rows


def _played(scenario: Scenario, options: MethodOptions, horizon_s: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return two rows on one method: what the whole run comes to at its first pace, and what of that to nothing."""
    part = scenario.for_run(options, scenario.seed)
    part = part.model_copy(
        update={
            "until": part.until.model_copy(update={"simulated_s": horizon_s}),
            "evaluate": part.evaluate.model_copy(update={"every_s": horizon_s}),
        }
    )
    with tempfile.TemporaryDirectory() as runs:
        (record,) = run_scenario(part, runs=runs, device="cpu", timing_only=True)
        timeline, totals = record.timeline, record.info["totals"]
    sent = timeline[timeline["bytes"] > 0]
    moved = sent.groupby("kind")["bytes"]
    pace = (scenario.until.simulated_s or math.inf) / totals["simulated_s"]
    if scenario.until.versions is not None:
        pace = min(pace, scenario.until.versions / max(totals["versions"], 1))
    mean_bytes = moved.median().reindex(["download", "upload"])
    row = (
        options.run_label,
        options.waiting,
        options.server.rule,
        *("" if math.isnan(value) else size(value) for value in mean_bytes),
        f"~ {totals['local_rounds'] * pace:,.0f}",
        f"~ {size(float(sent['bytes'].sum()) * pace)}",
    )
    lost = totals["lost"]
    rounds = lost["rounds"]
    nothing = (
        options.run_label,
        f"~ {sum(rounds.values()) * pace:,.0f}",
        ", ".join(f"{why} {count / sum(rounds.values()):.0%}" for why, count in rounds.items()),
        f"~ {lost['device_s'] * pace:,.0f}",
        f"~ {size((lost['bytes_up'] + lost['bytes_down']) * pace)}",
        f"~ {lost['updates_dropped'] * pace:,.0f}",
        f"~ {lost['stalled_s'] * pace:,.0f}",
        f"{lost['off_s'] / (scenario.clients.count * totals['simulated_s']):.0%}",
    )
    return row, nothing
