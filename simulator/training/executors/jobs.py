"""The jobs of the batched executor: groups of chains to train, models to evaluate, for this process or a worker."""

import pickle
import weakref
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from torch import Tensor

from interlude.models.packed import Packed
from interlude.simulator.errors import TrainingError
from interlude.simulator.training.evaluation import Evaluation, evaluate_together
from interlude.simulator.training.executors.future import Promise
from interlude.simulator.training.objective import Objective
from interlude.simulator.training.task import Trained, resolve
from interlude.simulator.training.workers.worker import Arrays, Done, SentChain, SentTask, as_tensors

if TYPE_CHECKING:
    from interlude.simulator.training.executors.batched import BatchedExecutor


class TrainingJob:
    """A group of chains that are trained together; it keeps the tasks, but their promises only as long as others do."""

    def __init__(self, executor: "BatchedExecutor", chains: Sequence[Sequence[Promise]]) -> None:
        self._executor = executor
        self._chains = [[pending.task for pending in chain] for chain in chains]
        self._promises = [[weakref.ref(pending) for pending in chain] for chain in chains]
        self._results: list[list[Tensor]] = []
        self.is_done = False

    @property
    def num_steps(self) -> int:
        """Optimiser steps of all its tasks."""
        return sum(stint.num_steps for chain in self._chains for task in chain for stint in task.stints)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody can still ask for a result of it."""
        return any(promise() is not None for chain in self._promises for promise in chain)

    def execute(self) -> None:
        """Do it in this process."""
        self._settle(self._executor.train(self._chains))

    def message(self) -> tuple[str, object] | None:
        """Return what a worker needs to do it; None if only this process can."""
        executor, layout = self._executor, self._executor.network.layout
        if not all(_travels(stint.objective) for chain in self._chains for task in chain for stint in task.stints):
            return None
        arrays = Arrays()
        sent: list[SentChain] = []
        self._results = []
        for chain in self._chains:
            try:
                start = executor.row_of(layout.pack(resolve(chain[0].start)).flat)
            except TrainingError:
                return None  # what it starts from diverged: whoever asks for it is told
            received = [executor.row_of(layout.pack(task.received).flat) for task in chain]
            made = [executor.new_row() for _ in chain]
            if start is None or None in received or None in made:
                return None  # no row is free: the job is carried out here
            tasks = tuple(
                SentTask.of(task, arrays, slot, row[0])
                for task, slot, row in zip(chain, received, made, strict=True)
                if slot is not None and row is not None
            )
            sent.append(SentChain(start, tasks))
            self._results.append([row[1] for row in made if row is not None])
        return "train", sent

    def accept(self, answer: Done) -> None:
        """Take in a worker's answer."""
        layout = self._executor.network.layout
        results = [
            [
                Trained(Packed(layout, row), as_tensors(report), loss)
                for row, (loss, report) in zip(rows, done, strict=True)
            ]
            for rows, done in zip(self._results, answer, strict=True)
        ]
        self._settle(results)

    def _settle(self, results: Sequence[Sequence[Trained]]) -> None:
        for promises, tasks, trained in zip(self._promises, self._chains, results, strict=True):
            for promise, task, result in zip(promises, tasks, trained, strict=True):
                pending = promise()
                if pending is not None:
                    pending.settle(result, self._executor.check(task, result.loss))
        self.is_done = True
        self._chains, self._results = [], []


class DeferredEvaluation:
    """A model until it is evaluated; its metrics after."""

    def __init__(self, executor: "BatchedExecutor", model: Packed) -> None:
        self._executor = executor
        self.model: Packed | None = model
        self.job: EvaluationJob | None = None
        self.outcome: Evaluation | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the metrics are there."""
        return self.outcome is not None

    def result(self) -> Evaluation:
        """Return the metrics, computing them if need be."""
        if self.job is None and self.outcome is None:
            self._executor.launch_evaluations()
        if self.outcome is None:
            assert self.job is not None
            self._executor.finish(self.job)
        assert self.outcome is not None
        return self.outcome


class EvaluationJob:
    """Models that are evaluated together."""

    def __init__(self, executor: "BatchedExecutor", evaluations: list[DeferredEvaluation]) -> None:
        self._executor = executor
        self._evaluations = evaluations
        self.is_done = False
        self.is_wanted = True
        for evaluation in evaluations:
            evaluation.job = self

    def execute(self) -> None:
        """Do it in this process."""
        executor = self._executor
        models = [evaluation.model for evaluation in self._evaluations if evaluation.model is not None]
        self.accept(evaluate_together(executor.network, models, executor.test, executor.strategy.stacks))

    def message(self) -> tuple[str, object] | None:
        """Return what a worker needs to do it; None if only this process can."""
        slots = [self._executor.row_of(e.model.flat) for e in self._evaluations if e.model is not None]
        return None if None in slots else ("evaluate", slots)

    def accept(self, answer: Sequence[Evaluation]) -> None:
        """Take in the metrics."""
        for evaluation, outcome in zip(self._evaluations, answer, strict=True):
            evaluation.outcome, evaluation.model, evaluation.job = outcome, None, None
        self.is_done = True


@lru_cache(maxsize=1 << 10)
def _travels(objective: Objective) -> bool:
    """Return whether another process can know an objective: its class must be in a module, not in a script."""
    try:
        return b"__main__" not in pickle.dumps(objective)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
