"""The executor of a replay: plays a run again up to the moment of a checkpoint, without training."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from interlude.simulator.errors import InterludeError, TrainingError
from interlude.simulator.training.executors.future import Promise
from interlude.simulator.training.executors.sequential import TimingOnlyExecutor
from interlude.simulator.training.task import Deferred, Task

Decision = TypeVar("Decision")


class ReplayingExecutor(TimingOnlyExecutor):
    """Trains nothing, decides as it was decided before, and remembers the promises that somebody holds.

    Args:
        decisions: what values decided, in order.
    """

    def __init__(self, decisions: Sequence[Any]) -> None:
        self._decisions = iter(decisions)
        self._promises: WeakValueDictionary[int, Promise] = WeakValueDictionary()
        self._num_submitted = 0

    @property
    def promises(self) -> Mapping[int, Promise]:
        """The promises that somebody holds, by number."""
        return dict(self._promises)

    def submit(self, task: Task) -> Deferred:
        """Return a promise that is kept once a checkpoint is read."""
        promise = self._promises[self._num_submitted] = Promise(self, task, self._num_submitted)
        self._num_submitted += 1
        return promise

    def need(self, promise: Promise) -> None:
        """Refuse: nothing is computed here."""
        raise TrainingError(f"task {promise.number} of a replay was asked for its result")

    def decide(
        self, by_values: Callable[[], Decision], otherwise: Callable[[], Decision], needed: Sequence[Deferred] = ()
    ) -> Decision:
        """Return what was decided before.

        Raises:
            InterludeError: if there were not so many decisions.
        """
        del by_values, otherwise, needed
        try:
            decision: Decision = next(self._decisions)
        except StopIteration:
            raise InterludeError("the run played again asks for more decisions than its checkpoint holds") from None
        return decision
