"""Base of the executors that train: numbered futures, and a journal of decisions.

A run is resumed by replaying it without training, up to the moment of a checkpoint. The futures of the replay then
stand wherever those of the run stood; `TrainingExecutor.restore` fills each in place with the checkpoint's state of
its number.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar
from weakref import WeakValueDictionary

import torch

from interlude.models.network import Parameters
from interlude.models.packed import Packed
from interlude.simulator.errors import DivergedError, InterludeError
from interlude.simulator.training.evaluation import Evaluation
from interlude.simulator.training.executors.future import Future
from interlude.simulator.training.task import Task, Trained
from interlude.simulator.training.workers.pool import Job

Decision = TypeVar("Decision")


class _Trains(Protocol):
    def ensure_computed(self, future: "TrainingFuture") -> None:
        """Train the task of a future."""
        ...


class _Evaluates(Protocol):
    def ensure_evaluated(self, future: "EvaluationFuture") -> None:
        """Evaluate the model of a future."""
        ...


class TrainingFuture(Future[Trained]):
    """The result of a task; holds the task until it is trained."""

    __slots__ = ("_executor", "job", "number", "task")
    failure_type = DivergedError

    def __init__(self, executor: _Trains, task: Task, number: int) -> None:
        super().__init__()
        self._executor = executor
        self.task = task
        self.number = number
        """Number of tasks submitted before it."""
        self.job: Job | None = None
        """The job in which it is trained, once that is in progress."""

    def ensure_computed(self) -> None:
        """Let the executor train the task."""
        self._executor.ensure_computed(self)

    def fulfil(self, value: Trained | None, failure: str | None = None) -> None:
        """Store the result."""
        super().fulfil(value, failure)
        self.job = None
        del self.task  # and with it the parameters it started from

    def state(self) -> dict[str, Any]:
        """Return its state for a checkpoint; a replay recreates the task itself."""
        if self.is_done:
            return {"trained": self._value, "failure": self._failure}
        start = self.task.start
        return {
            "start": start.number if isinstance(start, TrainingFuture) else start,
            "received": self.task.received,
            "broadcast": self.task.broadcast,
            "fresh": self.task.fresh,
        }

    def restore(self, executor: _Trains, state: Mapping[str, Any], others: Mapping[int, "TrainingFuture"]) -> None:
        """Take over the state from a checkpoint.

        Args:
            executor: fulfils it from now on.
            state: returned by `state`.
            others: the futures of the replay by number.
        """
        self._executor = executor
        if "trained" in state:
            self.fulfil(state["trained"], state["failure"])
            return
        start = state["start"]
        self.task.start = others[start] if isinstance(start, int) else start
        self.task.received, self.task.broadcast = state["received"], state["broadcast"]
        self.task.fresh = state["fresh"]


class EvaluationFuture(Future[Evaluation]):
    """The metrics of a model; holds the model until it is evaluated."""

    __slots__ = ("_executor", "job", "model")

    def __init__(self, executor: _Evaluates, model: Parameters) -> None:
        super().__init__()
        self._executor = executor
        self.model: Parameters | None = model
        """None once it is evaluated."""
        self.job: Job | None = None
        """The job in which it is evaluated, once that is in progress."""

    def ensure_computed(self) -> None:
        """Let the executor evaluate the model."""
        self._executor.ensure_evaluated(self)

    def fulfil(self, value: Evaluation | None, failure: str | None = None) -> None:
        """Store the metrics."""
        super().fulfil(value, failure)
        self.model = self.job = None

    def state(self) -> Evaluation | Parameters:
        """Return its state for a checkpoint: the metrics, or the model until they are computed."""
        if self.model is not None:
            return self.model
        return self.result()


class TrainingExecutor(ABC):
    """Base of executors that train: it numbers futures and keeps a journal of decisions that depend on values."""

    needs_tasks: ClassVar[bool] = True

    def __init__(self) -> None:
        self.decisions: list[Any] = []
        """The journal: results of `decide`, in order."""
        self.futures: WeakValueDictionary[int, TrainingFuture] = WeakValueDictionary()
        """The futures of tasks that are still referred to, by number."""
        self.notes: list[str] = []
        """Sentences for the record."""
        self._num_submitted = 0

    def submit(self, task: Task) -> Future[Trained]:
        """Return the future of a task's result; computes nothing yet."""
        return self._future(task)

    @abstractmethod
    def ensure_computed(self, future: TrainingFuture) -> None:
        """Train the task of a future, unless it is trained."""

    @abstractmethod
    def evaluate(self, model: Parameters) -> EvaluationFuture:
        """Return the future of a model's metrics."""

    def restored_evaluation(self, state: Evaluation | Parameters) -> EvaluationFuture:
        """Return the future of an `EvaluationFuture.state` from a checkpoint."""
        if not isinstance(state, Evaluation):
            return self.evaluate(state)
        future = EvaluationFuture(self, {})
        future.fulfil(state)
        return future

    @abstractmethod
    def ensure_evaluated(self, future: EvaluationFuture) -> None:
        """Evaluate the model of a future."""

    def results(self, futures: Sequence[Future[Trained]]) -> list[Trained] | None:
        """Return results, one after the other."""
        return [future.result() for future in futures]

    def take(self, futures: Sequence[Future[Trained]]) -> Iterator[Trained] | None:
        """Yield results, which the futures let go of, one after the other."""
        return (future.take() for future in futures)

    def decide(self, by_values: Callable[[], Decision]) -> Decision:
        """Return a decision that depends on values, and journal it; it does not change afterwards."""
        decision = by_values()
        self.decisions.append(decision)
        return decision

    def drain(self) -> None:
        """Wait for jobs in progress without beginning new ones; by default there are none."""
        return

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint, tensors included, at a moment without jobs in progress."""
        return {
            "submitted": self._num_submitted,
            "decisions": self.decisions,
            "notes": self.notes,
            "futures": {number: future.state() for number, future in sorted(self.futures.items())},
        }

    def restore(self, state: Mapping[str, Any], replayed: Mapping[int, TrainingFuture]) -> None:
        """Continue from the state of a checkpoint.

        Args:
            state: returned by `state`.
            replayed: the replay's futures that are still referred to, by number.

        Raises:
            InterludeError: if the replay made other futures.
        """
        self._num_submitted = state["submitted"]
        self.decisions = list(state["decisions"])
        self.notes[:] = state["notes"]
        if not state["futures"].keys() <= replayed.keys():
            raise InterludeError("the replayed run does not hold the same results as its checkpoint")
        for number, of_future in state["futures"].items():
            replayed[number].restore(self, of_future, replayed)
            self.futures[number] = replayed[number]

    def _future(self, task: Task) -> TrainingFuture:
        future = TrainingFuture(self, task, self._num_submitted)
        self.futures[future.number] = future
        self._num_submitted += 1
        return future


def are_finite(results: Sequence[Trained]) -> list[bool]:
    """Return whether results are free of NaN and infinity: loss, parameters and report. Waits for the device once."""
    read: list[bool] = torch.stack([_is_finite(trained) for trained in results]).tolist() if results else []
    return [is_so and math.isfinite(_known(trained.loss)) for is_so, trained in zip(read, results, strict=True)]


def _is_finite(trained: Trained) -> torch.Tensor:
    """Return whether the tensors of a result are free of NaN and infinity, 0-d where they are."""
    parameters = trained.parameters
    tensors: Iterable[torch.Tensor] = [parameters.flat] if isinstance(parameters, Packed) else parameters.values()
    losses = [trained.loss] if isinstance(trained.loss, torch.Tensor) else []
    return torch.stack([t.isfinite().all() for t in (*tensors, *trained.report.values(), *losses)]).all()


def _known(loss: float | torch.Tensor) -> float:
    """Return a loss that is on the host; one that is not counts among the tensors."""
    return 0.0 if isinstance(loss, torch.Tensor) else loss
