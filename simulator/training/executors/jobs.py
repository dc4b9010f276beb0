"""The jobs of the batched executor: groups of chains to train, models to evaluate, for this process or a worker."""

import pickle
import weakref
from collections.abc import Sequence
from functools import lru_cache

from torch import Tensor

from interlude.models.packed import Packed
from interlude.simulator.errors import TrainingError
from interlude.simulator.training.evaluation import Evaluation
from interlude.simulator.training.executors.base import EvaluationFuture, TrainingFuture
from interlude.simulator.training.executors.in_process import InProcess
from interlude.simulator.training.objective import Objective
from interlude.simulator.training.task import Trained, resolve
from interlude.simulator.training.workers.shared_models import SharedModels
from interlude.simulator.training.workers.worker import Done, Sender, SentChain, as_tensors


class TrainingJob:
    """A group of chains that are trained together; it holds the tasks, and weak references to their futures."""

    def __init__(self, in_process: InProcess, chains: Sequence[Sequence[TrainingFuture]]) -> None:
        self._in_process = in_process
        self._chains = [[future.task for future in chain] for chain in chains]
        self._futures = [[weakref.ref(future) for future in chain] for chain in chains]
        self._results: list[list[Tensor]] = []
        self.is_done = False

    @property
    def num_steps(self) -> int:
        """Optimiser steps of all its tasks."""
        return sum(steps.num_steps for chain in self._chains for task in chain for steps in task.local_steps)

    @property
    def is_wanted(self) -> bool:
        """Whether any of its results can still be requested."""
        return any(future() is not None for chain in self._futures for future in chain)

    def execute(self) -> None:
        """Train in this process."""
        self._fulfil(self._in_process.train(self._chains))

    def message(self, models: SharedModels) -> tuple[str, object] | None:
        """Return what a worker needs to do it; None if only this process can."""
        layout = self._in_process.layout
        if not all(_travels(steps.objective) for chain in self._chains for task in chain for steps in task.local_steps):
            return None
        sender = Sender(models)
        sent: list[SentChain] = []
        self._results = []
        for chain in self._chains:
            try:
                start = sender.row_of(layout.pack(resolve(chain[0].start)).flat)
            except TrainingError:
                return None  # what it starts from diverged, which this process reports when it trains the chain
            received = [sender.row_of(layout.pack(task.latest).flat) for task in chain]
            made = [models.new_row() for _ in chain]
            if start is None or None in received or None in made:
                return None  # no row is free, so the job stays here
            tasks = tuple(
                sender.task(task, slot, row[0])
                for task, slot, row in zip(chain, received, made, strict=True)
                if slot is not None and row is not None
            )
            sent.append(SentChain(start, tasks))
            self._results.append([row[1] for row in made if row is not None])
        return "train", sent

    def accept(self, answer: Done) -> None:
        """Take in a worker's answer."""
        layout = self._in_process.layout
        results = [
            [
                Trained(Packed(layout, row), task.received, as_tensors(report), loss)
                for task, row, (loss, report) in zip(tasks, rows, done, strict=True)
            ]
            for tasks, rows, done in zip(self._chains, self._results, answer, strict=True)
        ]
        self._fulfil(results)

    def _fulfil(self, results: Sequence[Sequence[Trained]]) -> None:
        for futures, tasks, chain_results in zip(self._futures, self._chains, results, strict=True):
            for reference, task, trained in zip(futures, tasks, chain_results, strict=True):
                future = reference()
                if future is not None:
                    future.fulfil(trained, self._in_process.failure_of(task, trained.loss))
        self.is_done = True
        self._chains, self._results = [], []


class EvaluationJob:
    """Models that are evaluated together."""

    def __init__(self, in_process: InProcess, futures: Sequence[EvaluationFuture]) -> None:
        self._in_process = in_process
        self._futures = futures
        self._models = [in_process.layout.pack(future.model) for future in futures if future.model is not None]
        self.is_done = False
        self.is_wanted = True
        for future in futures:
            future.job = self

    def execute(self) -> None:
        """Evaluate in this process."""
        self.accept(self._in_process.evaluate(self._models))

    def message(self, models: SharedModels) -> tuple[str, object] | None:
        """Return what a worker needs to do it; None if only this process can."""
        slots = [models.row_of(model.flat) for model in self._models]
        return None if None in slots else ("evaluate", slots)

    def accept(self, answer: Sequence[Evaluation]) -> None:
        """Take in the metrics."""
        for future, evaluation in zip(self._futures, answer, strict=True):
            future.fulfil(evaluation)
        self.is_done = True
        self._models = []


@lru_cache(maxsize=1 << 10)
def _travels(objective: Objective) -> bool:
    """Return whether another process can know an objective: its class must be in a module, not in a script."""
    try:
        return b"__main__" not in pickle.dumps(objective)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
