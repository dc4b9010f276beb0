"""How long a client's first local round takes, from the world's durations alone, without simulation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from interlude.simulator.arrays import Floats
from interlude.simulator.errors import BadInputError, CannotRunError
from interlude.simulator.run.build import Testbed
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.profile.costs import shared_costs
from interlude.simulator.training.spec import TrainingSpec
from interlude.simulator.training.task import LocalSteps


@dataclass(frozen=True)
class FirstRounds:
    """Durations of the parts of clients' first local rounds; [N] seconds each."""

    download_s: Floats
    first_arrival_s: Floats
    last_arrival_s: Floats
    train_s: Floats
    upload_s: Floats

    @property
    def total_s(self) -> Floats:
        """From dispatch to return, if they wait for all their modalities."""
        return np.maximum(self.download_s, self.last_arrival_s) + self.train_s + self.upload_s

    @property
    def shortest_s(self) -> Floats:
        """From dispatch to return, if they wait for one of their modalities."""
        return np.maximum(self.download_s, self.first_arrival_s) + self.train_s + self.upload_s


def first_rounds(
    testbed: Testbed, clients: Sequence[int] | None = None, training: TrainingSpec | None = None
) -> FirstRounds:
    """Return the durations of clients' first local rounds, trained jointly on all modalities that each holds.

    Args:
        testbed: the data set, clients and world.
        clients: whose; None: all.
        training: how they train; None: as the scenario says for methods without a training of their own.

    Raises:
        CannotRunError: if a local round would take more optimiser steps than are allowed.
    """
    network, world, population = testbed.network, testbed.world, testbed.population
    devices = world.devices
    training = training or testbed.scenario.training
    costs = shared_costs(network, training.batch_size, {})
    rows = []
    for client in range(population.num_clients) if clients is None else clients:
        shard, held = population.shards[client], population.modalities[client]
        num_bytes = network.num_bytes(network.groups_of(held))
        num_samples = min(len(shard), training.window_samples or len(shard))
        try:
            steps = costs.num_steps(num_samples, training.local_epochs)
        except BadInputError as error:
            raise CannotRunError(str(error)) from error
        cost = costs.of_task((LocalSteps(CrossEntropy(held), steps, "joint"),), num_samples)
        work_flops = devices.task_flops + cost.flops + devices.operation_flops * cost.operations
        arrivals_s = world.arrivals_s(client, 0, 0.0, num_samples, held).values()
        rows.append(
            (
                world.links.transfer_s(client, "down", num_bytes, 0),
                min(arrivals_s, default=0.0),
                max(arrivals_s, default=0.0),
                devices.overhead_s(client) + work_flops * devices.s_per_flop(client, 0),
                world.links.transfer_s(client, "up", num_bytes, 0),
            )
        )
    return FirstRounds(*np.array(rows).T)
