"""The executor of a replay: a run up to the moment of a checkpoint, without training."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from interlude.simulator.errors import InterludeError, TrainingError
from interlude.simulator.training.executors.base import TrainingFuture
from interlude.simulator.training.executors.future import Future
from interlude.simulator.training.executors.timing_only import TimingOnlyExecutor
from interlude.simulator.training.task import Task, Trained

Decision = TypeVar("Decision")


class ReplayingExecutor(TimingOnlyExecutor):
    """Trains nothing, repeats journaled decisions, and tracks the futures that are still referred to.

    Args:
        decisions: the journaled decisions, in order.
    """

    needs_tasks = True

    def __init__(self, decisions: Sequence[Any]) -> None:
        self._decisions = iter(decisions)
        self._futures: WeakValueDictionary[int, TrainingFuture] = WeakValueDictionary()
        self._num_submitted = 0

    @property
    def futures(self) -> Mapping[int, TrainingFuture]:
        """The futures that are still referred to, by number."""
        return dict(self._futures)

    def submit(self, task: Task) -> Future[Trained]:
        """Return a future that is restored when the checkpoint is read."""
        future = self._futures[self._num_submitted] = TrainingFuture(self, task, self._num_submitted)
        self._num_submitted += 1
        return future

    def ensure_computed(self, future: TrainingFuture) -> None:
        """Raise an error: a replay computes no results."""
        raise TrainingError(f"task {future.number} of a replay was requested, but a replay computes no results")

    def decide(self, by_values: Callable[[], Decision]) -> Decision:
        """Return the next journaled decision.

        Raises:
            InterludeError: if the journal has no more decisions.
        """
        del by_values
        try:
            decision: Decision = next(self._decisions)
        except StopIteration:
            raise InterludeError("the replayed run makes more decisions than its checkpoint holds") from None
        return decision
