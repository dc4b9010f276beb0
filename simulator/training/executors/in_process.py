"""Training and evaluation in this process: groups of chains, and the metrics of models."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from interlude.models.inputs import Samples
from interlude.models.network import Network, Parameters
from interlude.simulator.errors import DivergedError, TrainingError
from interlude.simulator.training.evaluation import Evaluation, EvaluationSets, evaluate_together
from interlude.simulator.training.executors.strategy import Strategy
from interlude.simulator.training.spec import TrainingSpec
from interlude.simulator.training.stacked.rows import Chain
from interlude.simulator.training.stacked.trainer import StackedTrainer
from interlude.simulator.training.task import Task, Trained, diverged

_MOST_ROWS = 1 << 16


class InProcess:
    """Trains and evaluates in this process, within its device's memory.

    Args:
        network: the network.
        spec: batch size and optimiser.
        seed: the run's seed, for the order of batches.
        train: the training set.
        sets: the samples that models are evaluated on.
        strategy: how a group is trained.
        note: receives sentences for the record.
    """

    def __init__(
        self,
        network: Network,
        spec: TrainingSpec,
        seed: int,
        train: Samples,
        sets: EvaluationSets,
        strategy: Strategy,
        note: Callable[[str], None],
    ) -> None:
        self.layout = network.layout
        self.trainer = StackedTrainer(network, spec, seed, train, strategy)
        self.most_rows = _MOST_ROWS
        """Largest number of clients known to fit in memory at once."""
        self._network = network
        self._sets = sets
        self._stacks = strategy.stacks
        self._stops_on_divergence = spec.on_divergence == "stop"
        self._note = note
        self._unchecked: list[tuple[str, Tensor]] = []

    def train(self, chains: Sequence[Chain]) -> list[list[Trained]]:
        """Train chains of tasks; after memory runs out, half of them at a time.

        Raises:
            TrainingError: if memory does not suffice for one client.
        """
        if len(chains) <= self.most_rows:
            with suppress(torch.cuda.OutOfMemoryError):
                return self.trainer.train(chains)
            if len(chains) == 1:
                raise TrainingError(f"memory ran out in the training of {chains[0][0].label}, alone in its group")
            if self.most_rows == _MOST_ROWS:
                self._note(f"memory ran out for {len(chains)} clients at a time, so groups were split")
            self.most_rows = len(chains) // 2
        middle = -(-len(chains) // 2)
        return [*self.train(chains[:middle]), *self.train(chains[middle:])]

    def evaluate(self, models: Sequence[Parameters]) -> list[Evaluation]:
        """Return the metrics of models."""
        return evaluate_together(self._network, models, self._sets, self._stacks)

    def failure_of(self, task: Task, loss: float | Tensor) -> str | None:
        """Return the failure of a task's loss, if any; on a GPU the check is deferred until values are read anyway."""
        if not self._stops_on_divergence:
            return None  # the server decides about losses that are not finite
        if isinstance(loss, Tensor):
            self._unchecked.append((task.label, loss))
        elif not math.isfinite(loss):
            return diverged(task.label, loss)
        return None

    def check_losses(self) -> None:
        """Check the losses whose check was deferred.

        Raises:
            DivergedError: if one is not finite.
        """
        if self._unchecked:
            unchecked, self._unchecked = self._unchecked, []
            for (label, _), loss in zip(unchecked, torch.stack([loss for _, loss in unchecked]).tolist(), strict=True):
                if not math.isfinite(loss):
                    raise DivergedError(diverged(label, loss))
