"""The benchmark of `interlude calibrate`: executors as runs use them train the same local rounds repeatedly."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from interlude.models.network import Network
from interlude.simulator.calibrate.cases import Case
from interlude.simulator.data.dataset import to_device
from interlude.simulator.run.devices import wait_for
from interlude.simulator.training.evaluation import EvaluationSets
from interlude.simulator.training.executors.batched import BatchedExecutor
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.executors.strategy import choose_strategy
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.profile.costs import CostModel
from interlude.simulator.training.spec import ExecutorSpec
from interlude.simulator.training.task import LocalSteps, Task, steps_per_epoch
from interlude.simulator.training.workers.pool import WorkerPool
from interlude.simulator.world.compute import FLOPS_PER_GFLOP

MOST_ROUNDS = 7
_MOST_STEPS = 8
"""Of a local round; more say nothing new."""
_FEWEST_LOOPED_TASKS = 4
_STEPS_WITHOUT_HELP = 4000
"""Client steps after which workers never take part; the executor gives a run of 3000 or fewer no workers."""


@dataclass(frozen=True)
class Candidate:
    """A way of training."""

    label: str
    spec: ExecutorSpec
    """The ``executor`` section that selects it."""
    num_processes: int = 1


@dataclass(frozen=True)
class Measured:
    """The measurements of a candidate, round by round."""

    candidate: Candidate
    steps_per_s: tuple[float, ...]
    """Optimiser steps of single clients per second of host time."""
    gflops: tuple[float, ...]
    """Counted GFLOP per second of host time."""
    ratios: tuple[float, ...]
    """Speeds relative to the reference, one client after the other."""

    @property
    def median_steps_per_s(self) -> float:
        """The median round."""
        return statistics.median(self.steps_per_s)

    @property
    def median_gflops(self) -> float:
        """The median round."""
        return statistics.median(self.gflops)


@dataclass(frozen=True)
class Size:
    """The work of one turn, so that a turn of a slow network is not too long."""

    most_steps: int
    """Optimiser steps of a local round."""
    looped_tasks: int
    """Local rounds, where clients are not stacked."""


class Bench:
    """The model, data and clients that all candidates share.

    Args:
        case: the model and clients that are trained.
        device: where they are trained.
    """

    def __init__(self, case: Case, device: torch.device) -> None:
        self.case = case
        self.device = device
        self.network = Network(case.model, case.inputs, case.num_classes)
        self._samples = to_device(case.samples, device)
        self._costs = CostModel(self.network, case.training.batch_size, {})
        initial = self.network.initial_parameters(torch.Generator().manual_seed(0), device)
        self._model = self.network.layout.pack(initial)

    def executor(self, spec: ExecutorSpec, pool: WorkerPool | None) -> SequentialExecutor | BatchedExecutor:
        """Return an executor as a run would use it."""
        training, (inputs, labels) = self.case.training, self._samples
        sets = EvaluationSets(({modality: x[:1] for modality, x in inputs.items()}, labels[:1]))
        if spec.kind == "sequential":
            return SequentialExecutor(self.network, training, 0, self._samples, sets)
        strategy = choose_strategy(spec, self.network, self.device, training.batch_size)
        return BatchedExecutor(self.network, training, 0, self._samples, sets, strategy, pool)

    def size(self, steps_per_s: float, largest_stack: int, turn_s: float) -> Size:
        """Return the work of a turn for a machine of a known speed."""
        affordable = steps_per_s * turn_s
        most_rows = min(2 * largest_stack, len(self.case.windows))
        most_steps = max(1, min(_MOST_STEPS, int(affordable / most_rows)))
        return Size(most_steps, max(_FEWEST_LOOPED_TASKS, min(most_rows, int(affordable / most_steps))))

    def tasks(self, num_clients: int, most_steps: int) -> list[Task]:
        """Return a local round of the first clients, cut off after some steps."""
        training, tasks = self.case.training, []
        for client, window in enumerate(self.case.windows[:num_clients]):
            num_steps = training.local_epochs * steps_per_epoch(len(window), training.batch_size)
            tasks.append(self.task(client, self.case.modalities[client], min(num_steps, most_steps)))
        return tasks

    def task(self, client: int, modalities: tuple[str, ...], num_steps: int, most_samples: int | None = None) -> Task:
        """Return some steps of one client on some modalities, on its window or some samples of it."""
        steps = LocalSteps(CrossEntropy(modalities), num_steps, "joint")
        return Task(client, 0, 0, (steps,), self.case.windows[client][:most_samples], self._model, self._model)

    def work(self, task: Task) -> tuple[int, int]:
        """Return the counted FLOPs and operations of a task."""
        cost = self._costs.of_task(task.local_steps, len(task.samples))
        return cost.flops, cost.operations


class Contender:
    """A candidate that takes turns.

    Args:
        bench: the model, data and clients.
        candidate: the way of training.
        size: the work of a turn.
        pool: worker processes.
    """

    def __init__(self, bench: Bench, candidate: Candidate, size: Size, pool: WorkerPool | None = None) -> None:
        self.candidate = candidate
        self.rates: list[tuple[float, float]] = []
        """Steps per second and GFLOP/s of each turn."""
        self._device = bench.device
        self._executor = bench.executor(candidate.spec, pool)
        self._is_helped = pool is not None
        self.stacks = isinstance(self._executor, BatchedExecutor) and self._executor.strategy.stacks
        num_tasks = candidate.num_processes * self._tasks_per_process(size)
        self._tasks = bench.tasks(num_tasks, size.most_steps)
        self.num_steps = sum(steps.num_steps for task in self._tasks for steps in task.local_steps)
        """Of one play."""
        self._gflop = sum(bench.work(task)[0] for task in self._tasks) / FLOPS_PER_GFLOP

    def warm_up(self) -> None:
        """Train until the steady state: steps are recorded or compiled, workers are up and know the run."""
        if self._is_helped:
            self._wait_for_help()
        for _ in range(2 * self.candidate.num_processes if self.stacks else 1):
            self._play()

    def take_turn(self, seconds: float) -> None:
        """Train for some time, at least once."""
        num_plays = 0
        started = time.perf_counter()
        while num_plays == 0 or time.perf_counter() - started < seconds:
            self._play()
            num_plays += 1
        plays_per_s = num_plays / (time.perf_counter() - started)
        self.rates.append((self.num_steps * plays_per_s, self._gflop * plays_per_s))

    def measured(self, reference: "Contender", of_reference: float = 1.0) -> Measured:
        """Return the measurements; `of_reference` is the speed of `reference`, if it is not the reference of all."""
        pairs = zip(self.rates, reference.rates, strict=True)
        ratios = tuple(of_reference * mine / theirs for (mine, _), (theirs, _) in pairs)
        steps_per_s, gflops = zip(*self.rates, strict=True)
        return Measured(self.candidate, steps_per_s, gflops, ratios)

    @property
    def has_help(self) -> bool:
        """Whether workers take part: not if all clients of a round make one stack."""
        return isinstance(self._executor, BatchedExecutor) and self._executor.has_help

    def _wait_for_help(self) -> None:
        """Train until workers take part; the executor starts none for short runs."""
        num_steps = 0
        while not self.has_help and num_steps < _STEPS_WITHOUT_HELP:
            self._play()
            num_steps += max(self.num_steps, 1)

    def _play(self) -> None:
        futures = [self._executor.submit(task) for task in self._tasks]
        for future in futures:
            future.result()
        wait_for(self._device)

    def _tasks_per_process(self, size: Size) -> int:
        """Return the size of two full stacks, as the executor forms them; or some clients one by one."""
        if self.stacks and isinstance(self._executor, BatchedExecutor):
            return 2 * self._executor.strategy.group_size
        return size.looped_tasks


def take_turns(contenders: Sequence[Contender], turn_s: float, total_s: float) -> None:
    """Let contenders take turns in rounds until the time is over; every other round in the opposite order."""
    started = time.perf_counter()
    for index in range(MOST_ROUNDS):
        for contender in contenders[:: -1 if index % 2 else 1]:
            contender.take_turn(turn_s)
        if time.perf_counter() - started >= total_s:
            return
