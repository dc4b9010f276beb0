"""The executor of a timing-only run: the clock runs without values."""

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Final, TypeVar

from interlude.models.network import Parameters
from interlude.simulator.training.executors.future import Future, failed
from interlude.simulator.training.task import Task, Trained

Decision = TypeVar("Decision")

UNTRAINED: Final[Future[Trained]] = failed("a timing-only run has no training results")
"""The future of every task: it never changes, so one suffices."""


class TimingOnlyExecutor:
    """Trains nothing; results are never computed, and merges leave the server's state unchanged."""

    needs_tasks: ClassVar[bool] = False

    def submit(self, task: Task) -> Future[Trained]:
        """Return a future without a result."""
        del task
        return UNTRAINED

    def results(self, futures: Sequence[Future[Trained]]) -> list[Trained] | None:
        """Return None: there are no values."""
        del futures
        return None

    def take(self, futures: Sequence[Future[Trained]]) -> Iterator[Trained] | None:
        """Return None: there are no values."""
        del futures
        return None

    def decide(self, by_values: Callable[[], Decision]) -> Decision:
        """Return the decision, made without values."""
        return by_values()

    def evaluate(self, model: Parameters) -> None:
        """Return None: there is no model."""
        del model

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
