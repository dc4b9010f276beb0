"""Client-trainings per second and peak memory by group size, one client after the other being a group of 1."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from workloads import NUM_CLASSES, R18, SEED, SMOKE, W1, W2, Workload, samples

from interlude.models.network import Network
from interlude.models.packed import Packed
from interlude.models.spec import ModelSpec
from interlude.simulator.data.dataset import to_device
from interlude.simulator.run.devices import wait_for
from interlude.simulator.training.evaluation import EvaluationSets
from interlude.simulator.training.executors.batched import BatchedExecutor
from interlude.simulator.training.executors.strategy import Strategy
from interlude.simulator.training.merge import ClientUpdate, weighted_mean
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.spec import OptimizerSpec, TrainingSpec
from interlude.simulator.training.task import LocalSteps, Task

_LEAST_S = 5.0
"""Seconds of rounds that are timed, at least one round."""


@dataclass(frozen=True)
class Case:
    """A workload in groups of one size."""

    workload: Workload
    group_size: int
    least_s: float = _LEAST_S

    @property
    def name(self) -> str:
        """Its name in tables."""
        return f"{self.workload.name}, groups of {self.group_size}" if self.group_size > 1 else self.workload.name


def cases(is_smoke: bool) -> list[Case]:
    """Return what is measured."""
    if is_smoke:
        return [Case(SMOKE["S1"], size, least_s=0.0) for size in (1, 4)]
    groups = {W1: (1, 16, 64, 100), W2: (1, 2, 6), R18: (1, 2, 4, 8, 16, 32)}
    return [Case(workload, size) for workload, sizes in groups.items() for size in sizes]


def measured(case: Case, device: torch.device) -> dict[str, Any]:
    """Return the speed and peak memory of rounds in groups of one size, and how far one round is from the looped."""
    federation = _Federation(case.workload, device)
    looped, grouped = (federation.executor(size) for size in (1, case.group_size))
    apart = _relative(federation.round(looped, 0), federation.round(grouped, 0), federation.model)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started, num_rounds = time.perf_counter(), 0
    while num_rounds == 0 or time.perf_counter() - started < case.least_s:
        num_rounds += 1
        federation.round(grouped, num_rounds)
        wait_for(device)
    seconds = time.perf_counter() - started
    return {
        "name": case.name,
        "workload": case.workload.name,
        "group_size": case.group_size,
        "trainings_per_s": round(num_rounds * case.workload.clients_per_round / seconds, 2),
        "peak_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        "apart_from_looped": apart,
    }


class _Federation:
    def __init__(self, workload: Workload, device: torch.device) -> None:
        self._workload = workload
        spec = ModelSpec(encoder=workload.encoder, width=workload.width)  # type: ignore[arg-type]
        self._network = Network(spec, workload.shapes, NUM_CLASSES)
        train, test = (to_device(part, device) for part in samples(workload.name))
        self._train, self._sets = train, EvaluationSets(test)
        self.model = self._network.layout.pack(
            self._network.initial_parameters(torch.Generator().manual_seed(SEED), device)
        )

    def executor(self, group_size: int) -> BatchedExecutor:
        """Return an executor that trains in groups; one client after the other in groups of 1."""
        spec = TrainingSpec(batch_size=self._workload.batch_size, optimizer=OptimizerSpec(learning_rate=0.05))
        strategy = Strategy(stacks=group_size > 1, group_size=group_size, reason="measured")
        return BatchedExecutor(self._network, spec, SEED, self._train, self._sets, strategy)

    def round(self, executor: BatchedExecutor, window: int) -> Packed:
        """Train a round's clients from the same model, and return the mean of what they made."""
        size = self._workload.samples_per_client
        steps = LocalSteps(CrossEntropy(self._network.modalities), self._workload.num_steps, "joint")
        tasks = [
            Task(client, window, 0, (steps,), np.arange(client * size, (client + 1) * size), self.model, self.model)
            for client in range(self._workload.clients_per_round)
        ]
        futures = [executor.submit(task) for task in tasks]
        groups = tuple(self._network.groups)
        updates = [
            ClientUpdate(task.client, groups, size, 0, trained.parameters, self.model, {})
            for task, trained in zip(tasks, executor.results(futures) or (), strict=True)
        ]
        return weighted_mean(self.model, updates)


def _relative(one: Packed, other: Packed, start: Packed) -> float:
    """Return the distance of two models as a share of how far the first has moved."""
    return float((one.flat - other.flat).norm() / (one.flat - start.flat).norm())
