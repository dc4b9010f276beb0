"""The interface of executors: tasks become futures of results.

The simulated clock never waits for an executor, and an executor never reads the clock. `SequentialExecutor` trains one
client after the other and is the reference; `BatchedExecutor` trains many at once; `TimingOnlyExecutor` trains nothing;
`ReplayingExecutor` replays a run up to a checkpoint.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Protocol, TypeVar

from interlude.models.network import Parameters
from interlude.simulator.training.executors.base import EvaluationFuture
from interlude.simulator.training.executors.future import Future
from interlude.simulator.training.task import Task, Trained

Decision = TypeVar("Decision")


class Executor(Protocol):
    """Computes the results of tasks."""

    needs_tasks: ClassVar[bool]
    """Whether it looks at tasks; otherwise a run makes none."""

    def submit(self, task: Task) -> Future[Trained]:
        """Return the future of a task's result; computes nothing yet."""
        ...

    def results(self, futures: Sequence[Future[Trained]]) -> list[Trained] | None:
        """Return results that are needed together, in the order of the futures; None in a run without values."""
        ...

    def take(self, futures: Sequence[Future[Trained]]) -> Iterator[Trained] | None:
        """Yield results that are needed together, in the order of the futures, which let go of them.

        Each is computed when it is asked for at the latest, with others as `results` would, so that a reader that keeps
        none needs no memory for all. None in a run without values.
        """
        ...

    def evaluate(self, model: Parameters) -> EvaluationFuture | None:
        """Return the future of a model's metrics; None in a run without values."""
        ...

    def decide(self, by_values: Callable[[], Decision]) -> Decision:
        """Return a decision of the clock that depends on values, and journal it.

        Every value that reaches the clock passes through here, so that a replay makes the same decision without
        values. A decision consists of tuples, lists, dicts, dataclasses, strings and plain numbers, so that a
        checkpoint can hold it. A run without values calls `by_values` too, which then gets None from `results`.
        """
        ...

    def close(self) -> None:
        """Release the executor's resources; it is not used afterwards."""
        ...
