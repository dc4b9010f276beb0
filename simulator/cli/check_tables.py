"""The output of `interlude check`: sizes and durations of a scenario, and estimated totals of its runs."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from interlude.models.inputs import lacking
from interlude.simulator.cli.table_rows import TableRows, size
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.federation.setting import Population
from interlude.simulator.run.build import Testbed, how_trained
from interlude.simulator.run.estimate import Estimate
from interlude.simulator.run.first_rounds import FirstRounds
from interlude.simulator.run.limits import PROGRAM_BYTES
from interlude.simulator.scenario.registry import foreign_code
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.world.world import World


def foreign_table(scenarios: Sequence[Scenario]) -> Iterator[tuple[str, TableRows]]:
    """Yield a table of the code of a user's own that scenarios run; nothing where they run none."""
    found = dict.fromkeys(code for scenario in scenarios for code in foreign_code(scenario))
    if found:
        rows = [(field, name, str(file or "")) for field, name, file in found]
        yield "foreign code that it runs", TableRows(rows, ("field", "named", "file"))


def check_tables(
    testbed: Testbed, device: torch.device, rounds: FirstRounds, estimates: Sequence[Estimate]
) -> Iterator[tuple[str, TableRows]]:
    """Yield tables about what a scenario would run.

    Args:
        testbed: the scenario's data set, clients and world.
        device: where it would train.
        rounds: durations of its clients' first local rounds.
        estimates: needs and totals of each of its methods.
    """
    scenario, world, population = testbed.scenario, testbed.world, testbed.population
    yield scenario.name, _sizes(testbed)
    timings = {
        "download": rounds.download_s,
        "first modality arrives": rounds.first_arrival_s,
        "last modality arrives": rounds.last_arrival_s,
        "joint training": rounds.train_s,
        "upload": rounds.upload_s,
    }
    yield (
        "a first local round on all modalities held, seconds over clients",
        TableRows(
            [(name, *(f"{v:.2f}" for v in np.quantile(values, (0, 0.5, 1)))) for name, values in timings.items()],
            ("", "fastest", "median", "slowest"),
            frozenset({1, 2, 3}),
        ),
    )
    yield _contents(scenario, world, population.num_clients)
    failing = _what_fails(scenario, world, population)
    if failing:
        yield "what fails", TableRows(failing)
    yield (
        f"methods, estimated from {_played(estimates, population.num_clients)} without training",
        TableRows(
            [
                (
                    options.run_label,
                    options.waiting,
                    options.server.rule,
                    *("" if math.isnan(v) else size(v) for v in (estimate.bytes_down, estimate.bytes_up)),
                    _about(estimate.versions),
                    _about(estimate.local_rounds),
                    _about_bytes(estimate.num_bytes),
                )
                for options, estimate in zip(scenario.methods, estimates, strict=True)
            ],
            ("method", "waiting", "server", "down", "up", "versions", "local rounds", "bytes in all"),
            frozenset({3, 4, 5, 6, 7}),
        ),
    )
    if any(options.training for options in scenario.methods):
        yield _training(scenario)
    yield _limits(scenario, estimates)
    if failing:
        yield (
            "lost work",
            TableRows(
                [_losses(estimate) for estimate in estimates],
                ("method", "local rounds", "why", "device-s", "bytes", "too old", "held up, device-s", "time off"),
                frozenset({1, 3, 4, 5, 6, 7}),
            ),
        )
    trained = []
    for options in scenario.methods:
        network = testbed.ingredients(options).network
        how = how_trained(scenario.executor, network, device, scenario.training_of(options).batch_size)
        trained.append((options.run_label, *how))
    yield f"training on {device}", TableRows(trained, ("method", "how", "why"))


def _sizes(testbed: Testbed) -> TableRows:
    """Return a table of the data set, the clients and the model."""
    scenario, dataset = testbed.scenario, testbed.dataset
    num_held_out = len(testbed.validation)
    held_out = f" ({num_held_out} of them the validation part)" if num_held_out else ""
    shards = testbed.population.num_samples
    num_train = "no stored" if dataset.drawn is not None else str(dataset.num_stored)
    return TableRows(
        [
            (
                "data",
                f"{scenario.data.dataset}: {num_train} training{held_out}, {len(dataset.test[1])} test samples",
            ),
            (
                "modalities",
                ", ".join(f"{m} {list(given.shape)}{_lack(dataset, m)}" for m, given in dataset.inputs.items()),
            ),
            ("clients", f"{len(shards)} with {shards.min()} to {shards.max()} samples, median {np.median(shards):g}"),
            (
                "model",
                ", ".join(f"{group} {size(num_bytes)}" for group, num_bytes in testbed.network.group_bytes.items()),
            ),
            ("runs", f"{len(scenario.methods)} methods, seed {scenario.seed}, each until {scenario.until}"),
        ]
    )


def _lack(dataset: Dataset, modality: str) -> str:
    """Return how many training samples lack a modality, in words; nothing where all have it."""
    if not dataset.inputs[modality].may_lack:
        return ""
    return f", lacked by {float(lacking(dataset.train[0][modality]).float().mean()):.0%}"


def _played(estimates: Sequence[Estimate], num_clients: int) -> str:
    """Return what the estimates are based on."""
    played_s = sorted(estimate.played_s for estimate in estimates)
    span = " to ".join(dict.fromkeys((f"{played_s[0]:.0f}", f"{played_s[-1]:.0f}")))
    fewest = min(estimate.played_clients for estimate in estimates)
    of_some = f", some for {fewest:,} of {num_clients:,} clients," if fewest < num_clients else ""
    return f"their first {span} simulated seconds{of_some}"


def _about(value: float) -> str:
    return "unknown" if math.isnan(value) else f"~ {value:,.0f}"


def _about_bytes(value: float) -> str:
    return "unknown" if math.isnan(value) else f"~ {size(value)}"


def _losses(estimate: Estimate) -> tuple[str, ...]:
    """Return a row about the lost work of a method's run."""
    num_lost = sum(estimate.lost_rounds.values())
    return (
        estimate.needs.label,
        _about(estimate.num_lost_rounds),
        ", ".join(f"{why} {count / num_lost:.0%}" for why, count in estimate.lost_rounds.items()),
        _about(estimate.lost_device_s),
        _about_bytes(estimate.lost_bytes),
        _about(estimate.updates_dropped),
        _about(estimate.stalled_s),
        f"{estimate.off_share:.0%}",
    )


def _limits(scenario: Scenario, estimates: Sequence[Estimate]) -> tuple[str, TableRows]:
    """Return a table of each method's needs, against the scenario's limits."""
    allowed = f"{scenario.limits.events:,} events, {size(scenario.limits.memory_gb * 1e9)}"
    return (
        f"estimated needs; limits: {allowed}",
        TableRows(
            [
                (
                    needed.label,
                    _about(needed.events),
                    _about(needed.evaluations),
                    _about_bytes(PROGRAM_BYTES + needed.memory_bytes),
                )
                for needed in (estimate.needs for estimate in estimates)
            ],
            ("method", "events", "evaluations", "memory, program included, beside the data"),
            frozenset({1, 2, 3}),
        ),
    )


def _training(scenario: Scenario) -> tuple[str, TableRows]:
    """Return a table of each method's local training, where they differ."""
    found = [(options.run_label, scenario.training_of(options)) for options in scenario.methods]
    rows = [
        (
            label,
            f"{training.optimizer.learning_rate:g}",
            str(training.local_epochs),
            str(training.batch_size),
            "all" if training.window_samples is None else str(training.window_samples),
        )
        for label, training in found
    ]
    header = ("method", "learning rate", "local epochs", "batch", "samples")
    return "local training, methods' own laid over the scenario's", TableRows(rows, header, frozenset({1, 2, 3, 4}))


def _contents(scenario: Scenario, world: World, num_clients: int) -> tuple[str, TableRows]:
    """Return a table of the world's devices, links and availability over clients."""
    clients = range(num_clients)
    contents = {
        "GFLOP/s in the first round": [1e-9 / world.devices.s_per_flop(client, 0) for client in clients],
        "downlink, mbps": [world.links.mbps(client, "down") for client in clients],
        "uplink, mbps": [world.links.mbps(client, "up") for client in clients],
    }
    title = "the world"
    if world.availability is not None and scenario.world.availability is not None:
        there = world.availability
        title += f", where {scenario.world.availability.kind} availability may {there.policy} work in progress"
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
        TableRows(
            [
                (name, *(f"{v:.4g}" for v in np.quantile(values, shares, method="inverted_cdf")))
                for name, values in contents.items()
            ],
            ("over clients", "least", "p10", "median", "p90", "most"),
            frozenset(range(1, 6)),
        ),
    )


def _what_fails(scenario: Scenario, world: World, population: Population) -> list[tuple[str, str]]:
    """Return the long-run rates of the world's faults, a row each; empty if nothing fails."""
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
    if world.battery_draws is not None:
        drawn = world.battery_draws
        held_j, charge_w = np.mean(drawn.level_j), np.mean(drawn.charge_w)
        rows.append(
            ("batteries", f"{held_j:.3g} J at the start, charged with {charge_w:.3g} W; reserve {drawn.reserve:.0%}")
        )
    return rows
