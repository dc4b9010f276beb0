"""The mini-batches of local steps: which samples of its window a client takes in which step."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from interlude.simulator.arrays import Indices
from interlude.simulator.randomness import MovedGenerator, Stream
from interlude.simulator.training.task import LocalSteps, Task, steps_per_epoch


class Batches(NamedTuple):
    """The mini-batches of S steps of one client."""

    positions: Indices
    """[S, B] positions in the window, B the largest batch; one with fewer samples is filled up with zeros."""
    sizes: Indices
    """[S] samples of each batch."""

    def each(self) -> list[Indices]:
        """Return the positions of each batch, without filling."""
        return [at[:size] for at, size in zip(self.positions, self.sizes.tolist(), strict=True)]


class BatchOrders:
    """Draws the order of a client's samples, anew for every pass over its window.

    The order is addressed by (client, phase, window, epoch), so that the joint phase has the same batches whatever
    happened before it, and under every method.

    Args:
        seed: the run's seed.
        batch_size: samples of a full mini-batch.
    """

    def __init__(self, seed: int, batch_size: int) -> None:
        self._seed = seed
        self.batch_size = batch_size
        self._generator = MovedGenerator()

    def batches(self, task: Task, steps: LocalSteps) -> Batches:
        """Return the mini-batches of local steps of a task."""
        num_samples, batch_size = len(task.samples), self.batch_size
        per_epoch = steps_per_epoch(num_samples, batch_size)
        first, last = steps.first_step, steps.first_step + steps.num_steps
        epochs = range(first // per_epoch, -(-last // per_epoch))
        stream = _stream(self._seed, task.client, steps.phase)
        width = min(batch_size, num_samples)
        orders = np.zeros((len(epochs), per_epoch * width), np.int64)
        for order, epoch in zip(orders, epochs, strict=True):
            order[:num_samples] = self._generator.at(stream, task.window, epoch).permutation(num_samples)
        sizes = np.full(steps.num_steps, width)
        sizes[per_epoch - 1 - first % per_epoch :: per_epoch] = num_samples - (per_epoch - 1) * batch_size
        skipped = first % per_epoch
        return Batches(orders.reshape(-1, width)[skipped : skipped + steps.num_steps], sizes)


@lru_cache(maxsize=1 << 16)
def _stream(seed: int, client: int, phase: str) -> Stream:
    return Stream(seed, "batches", client, phase)
