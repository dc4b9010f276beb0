"""How fast a host trains: seconds per FLOP, per operation and per task, fitted to trainings that were timed."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import lsq_linear

from interlude.simulator.calibrate.bench import Bench
from interlude.simulator.run.devices import wait_for
from interlude.simulator.training.spec import ExecutorSpec
from interlude.simulator.world.compute import FLOPS_PER_GFLOP

_SMALLEST_SHARE = 1e-3
"""Of the time, that FLOPs and operations take at least: each is a unit in which the scenario says another."""
_FEWEST_TURNS = 3
_SMALLER = 4
"""How many times smaller a small mini-batch is: of a network of one modality it alone tells FLOPs from operations."""


class Timed(NamedTuple):
    """A training whose time was measured."""

    flops: int
    operations: int
    seconds: float


@dataclass(frozen=True)
class Speed:
    """The speed of a host or device."""

    s_per_flop: float
    s_per_operation: float
    s_per_task: float

    @property
    def gflops(self) -> float:
        """GFLOP/s, but for the time that operations and tasks take to start."""
        return 1.0 / (self.s_per_flop * FLOPS_PER_GFLOP)

    @property
    def flops_each(self) -> float:
        """FLOPs in whose time an operation starts."""
        return self.s_per_operation / self.s_per_flop

    @property
    def per_task(self) -> float:
        """Operations in whose time a task starts."""
        return self.s_per_task / self.s_per_operation if self.s_per_operation else 0.0

    def seconds(self, flops: int, operations: int) -> float:
        """Return how long a training takes."""
        return flops * self.s_per_flop + operations * self.s_per_operation + self.s_per_task


def fitted(timed: Sequence[Timed]) -> Speed:
    """Return the speed that describes trainings best: least squares of relative errors, no part below zero.

    Args:
        timed: trainings that differ in what they count, or nothing can be told apart.
    """
    counts = np.array([(one.flops, one.operations, 1.0) for one in timed], dtype=float)
    seconds = np.array([one.seconds for one in timed])
    scale = seconds.sum() / counts.sum(axis=0)  # so that the columns are alike
    least = (_SMALLEST_SHARE, _SMALLEST_SHARE, 0.0)
    found = lsq_linear(counts * scale / seconds[:, None], np.ones(len(timed)), bounds=(least, np.inf))
    return Speed(*(float(value) for value in found.x * scale))


def relative_error(speed: Speed, timed: Sequence[Timed]) -> float:
    """Return the median relative error of a speed on trainings that were timed."""
    return statistics.median(abs(speed.seconds(one.flops, one.operations) / one.seconds - 1.0) for one in timed)


def measured(bench: Bench, most_steps: int, seconds: float) -> tuple[Speed, float]:
    """Return how fast a host trains one client after the other, and the error of that.

    Trainings on all modalities and on each alone take turns, of many steps and of one, and on small mini-batches.

    Args:
        bench: the model, data and clients.
        most_steps: of a training, two at least.
        seconds: host seconds to measure for, at least `_FEWEST_TURNS` turns.
    """
    executor, device = bench.executor(ExecutorSpec(kind="sequential"), None), bench.device
    client, held = max(enumerate(bench.case.modalities), key=lambda one: len(one[1]))
    parts = [held, *((modality,) for modality in held if len(held) > 1)]
    few = max(1, min(bench.case.training.batch_size, len(bench.case.windows[client])) // _SMALLER)
    many = max(most_steps, 2)
    tasks = [bench.task(client, part, *of) for part in parts for of in ((many, None), (1, None), (many, few))]
    works = [bench.work(task) for task in tasks]
    took_s: list[list[float]] = [[] for _ in tasks]
    started = time.perf_counter()
    while len(took_s[0]) <= _FEWEST_TURNS or time.perf_counter() - started < seconds:
        for times, task in zip(took_s, tasks, strict=True):
            begins = time.perf_counter()
            executor.submit(task).result()
            wait_for(device)
            times.append(time.perf_counter() - begins)
    # the first turn warms up
    timed = [Timed(*work, statistics.median(times[1:])) for work, times in zip(works, took_s, strict=True)]
    speed = fitted(timed)
    return speed, relative_error(speed, timed)
