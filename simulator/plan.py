"""What a scenario would run: sizes, durations and an estimate of how much happens, without running anything."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.network import Network
from simulator.arrays import Floats
from simulator.data import load_dataset
from simulator.data.dataset import Dataset
from simulator.describe import Rows, size
from simulator.experiment import populate
from simulator.federation.rules import Barrier
from simulator.federation.server import Population
from simulator.methods.base import MethodOptions
from simulator.scenario import Scenario, method_class
from simulator.training.cost import CostModel
from simulator.training.objective import CrossEntropy
from simulator.training.task import Stint, num_reported_bytes
from simulator.world.world import World


@dataclass(frozen=True)
class FirstRounds:
    """What every client's first local round takes if it waits for all modalities; [N] seconds each."""

    download_s: Floats
    first_arrival_s: Floats
    last_arrival_s: Floats
    train_s: Floats
    upload_s: Floats
    down_bytes: int
    up_bytes: int

    @property
    def total_s(self) -> Floats:
        """From dispatch to return."""
        return np.maximum(self.download_s, self.last_arrival_s) + self.train_s + self.upload_s


def plan(scenario: Scenario) -> Iterator[tuple[str, Rows]]:
    """Yield tables about what a scenario would run.

    Raises:
        BadInputError: if its population cannot be made.
    """
    dataset = load_dataset(scenario.data)
    population = populate(scenario, dataset)
    network = Network(scenario.model, dataset.input_shapes, dataset.num_classes)
    world = World(scenario.world, scenario.seed, population.num_clients, dataset.modalities)
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
                ("modalities", ", ".join(f"{m} {list(shape)}" for m, shape in dataset.input_shapes.items())),
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
    rounds = [_first_rounds(scenario, options, dataset, world, population) for options in scenario.methods]
    common = rounds[0]
    timings = {
        "download": common.download_s,
        "first modality arrives": common.first_arrival_s,
        "last modality arrives": common.last_arrival_s,
        "joint training": common.train_s,
        "upload": common.upload_s,
    }
    yield (
        "a first local round, seconds over clients",
        Rows(
            [(name, *(f"{v:.2f}" for v in np.quantile(values, (0, 0.5, 1)))) for name, values in timings.items()],
            ("", "fastest", "median", "slowest"),
            frozenset({1, 2, 3}),
        ),
    )
    yield (
        "methods (estimated from first rounds that wait for all modalities)",
        Rows(
            [_estimate(scenario, options, first) for options, first in zip(scenario.methods, rounds, strict=True)],
            ("method", "waiting", "server", "down", "up", "local rounds", "bytes in all"),
            frozenset({3, 4, 5, 6}),
        ),
    )


def _first_rounds(
    scenario: Scenario, options: MethodOptions, dataset: Dataset, world: World, population: Population
) -> FirstRounds:
    method = method_class(options.name)(options)
    network = method.network(scenario.model, dataset.input_shapes, dataset.num_classes)
    broadcast = method.broadcast(method.initial_memory(network, population.num_clients))
    costs = CostModel(network, scenario.training.batch_size, broadcast)
    up_bytes = sum(network.group_bytes.values())
    down_bytes = up_bytes + num_reported_bytes(broadcast)
    joint = CrossEntropy(network.modalities)
    rows = []
    for client, shard in enumerate(population.shards):
        num_samples = min(len(shard), scenario.training.window_samples or len(shard))
        steps = costs.num_steps(num_samples, scenario.training.local_epochs)
        flops = costs.of_task((Stint(joint, steps, "joint"),), num_samples).flops
        arrivals_s = world.arrivals_s(client, 0, 0.0, num_samples, population.modalities[client]).values()
        rows.append(
            (
                world.links.transfer_s(client, "down", down_bytes, 0),
                min(arrivals_s, default=0.0),
                max(arrivals_s, default=0.0),
                world.devices.overhead_s(client) + flops * world.devices.s_per_flop(client, 0),
                world.links.transfer_s(client, "up", up_bytes, 0),
            )
        )
    download_s, first_s, last_s, train_s, upload_s = np.array(rows).T
    return FirstRounds(download_s, first_s, last_s, train_s, upload_s, down_bytes, up_bytes)


def _estimate(scenario: Scenario, options: MethodOptions, first: FirstRounds) -> tuple[str, ...]:
    """Return a row on one method; an estimate only where simulated time ends the run."""
    until_s, server = scenario.until.simulated_s, options.server
    num_clients = len(first.total_s)
    if until_s is None:
        num_rounds = None
    elif isinstance(server, Barrier):
        per_round = min(server.clients_per_round or num_clients, num_clients)
        num_rounds = per_round * until_s / float(first.total_s.max())
    else:
        in_flight = min(server.concurrency or num_clients, num_clients)
        num_rounds = in_flight * until_s * float((1.0 / first.total_s).mean())
    return (
        options.run_label,
        options.waiting,
        server.rule,
        size(first.down_bytes),
        size(first.up_bytes),
        "" if num_rounds is None else f"~ {num_rounds:,.0f}",
        "" if num_rounds is None else f"~ {size(num_rounds * (first.down_bytes + first.up_bytes))}",
    )
