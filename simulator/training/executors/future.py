"""Promises of training results, and what executors that train have in common: who still holds which promise.

A run is resumed by playing it again without training, up to the moment of a checkpoint. Then whoever holds a promise
holds one of the replay; `TrainingExecutor.restore` fills it in place with what the checkpoint says of its number.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

import torch

from interlude.models.network import Parameters
from interlude.models.packed import Packed
from interlude.simulator.errors import InterludeError, TrainingError
from interlude.simulator.training.task import Deferred, Task, Trained

Decision = TypeVar("Decision")


class _Trainer(Protocol):
    def need(self, promise: "Promise") -> None:
        """See to it that a promise is kept."""
        ...


class Promise:
    """A task until it is trained; its result after."""

    __slots__ = ("__weakref__", "_trainer", "failure", "job", "number", "outcome", "received", "task")

    def __init__(self, trainer: _Trainer, task: Task, number: int) -> None:
        self._trainer = trainer
        self.task = task
        self.number = number
        """How many tasks were submitted before."""
        self.received: Parameters = task.received
        self.outcome: Trained | None = None
        self.failure: str | None = None
        """What is wrong with the result, so that nobody may have it."""
        self.job: Any = None
        """What it is trained in, once that is under way."""

    @property
    def is_done(self) -> bool:
        """Whether the result is there."""
        return self.outcome is not None

    def settle(self, trained: Trained, failure: str | None = None) -> None:
        """Take the result."""
        self.outcome, self.failure = trained, failure
        self.job = None
        del self.task  # and with it the parameters that it started from

    def result(self) -> Trained:
        """Return the result, computing it if nobody has yet.

        Raises:
            TrainingError: if the loss is not finite and that ends a run.
        """
        if self.outcome is None:
            self._trainer.need(self)
        if self.failure is not None:
            raise TrainingError(self.failure)
        assert self.outcome is not None
        return self.outcome

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs to know of it; the task itself is made again by a replay."""
        state: dict[str, Any] = {"received": self.received, "trained": self.outcome, "failure": self.failure}
        if self.outcome is None:
            start = self.task.start
            state["start"] = start.number if isinstance(start, Promise) else start
            state["broadcast"] = self.task.broadcast
        return state

    def restore(self, trainer: _Trainer, state: Mapping[str, Any], others: Mapping[int, "Promise"]) -> None:
        """Become what a checkpoint says.

        Args:
            trainer: who keeps it from now on.
            state: what `state` returned.
            others: the promises of the replay by number.
        """
        self._trainer = trainer
        self.received = state["received"]
        if state["trained"] is not None:
            self.settle(state["trained"], state["failure"])
            return
        start = state["start"]
        self.task.start = others[start] if isinstance(start, int) else start
        self.task.received, self.task.broadcast = self.received, state["broadcast"]


class TrainingExecutor(ABC):
    """Base of executors that train: it numbers promises and keeps a journal of what values decided."""

    def __init__(self) -> None:
        self.decisions: list[Any] = []
        """What `decide` returned, in order."""
        self.promises: WeakValueDictionary[int, Promise] = WeakValueDictionary()
        """Those that somebody holds, by number."""
        self.notes: list[str] = []
        """Sentences that a record should keep."""
        self._num_submitted = 0

    @abstractmethod
    def need(self, promise: Promise) -> None:
        """See to it that a promise is kept."""

    def gather(self, needed: Sequence[Deferred]) -> None:
        """Get ready for somebody who will ask for these results; by default they are computed one by one."""
        del needed

    def decide(
        self, by_values: Callable[[], Decision], otherwise: Callable[[], Decision], needed: Sequence[Deferred] = ()
    ) -> Decision:
        """Return the decision by values, and write it down; nobody changes it afterwards."""
        del otherwise
        self.gather(needed)
        decision = by_values()
        self.decisions.append(decision)
        return decision

    def settle(self) -> None:
        """Wait for what is under way, and begin nothing new; by default nothing ever is."""
        return

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs to know, tensors included, at a moment without anything under way."""
        return {
            "submitted": self._num_submitted,
            "decisions": self.decisions,
            "notes": self.notes,
            "promises": {number: promise.state() for number, promise in sorted(self.promises.items())},
        }

    def restore(self, state: Mapping[str, Any], replayed: Mapping[int, Promise]) -> None:
        """Go on from a checkpoint.

        Args:
            state: what `state` returned.
            replayed: the promises that a replay has made and that somebody holds, by number.

        Raises:
            InterludeError: if the replay made others.
        """
        self._num_submitted = state["submitted"]
        self.decisions = list(state["decisions"])
        self.notes = list(state["notes"])
        if not state["promises"].keys() <= replayed.keys():
            raise InterludeError("the run played again does not hold the results that its checkpoint holds")
        for number, of_promise in state["promises"].items():
            replayed[number].restore(self, of_promise, replayed)
            self.promises[number] = replayed[number]

    def _promise(self, task: Task) -> Promise:
        promise = Promise(self, task, self._num_submitted)
        self.promises[promise.number] = promise
        self._num_submitted += 1
        return promise


def is_finite(trained: Trained) -> bool:
    """Return whether a result is free of NaN and infinity: loss, parameters and report. Reads values back."""
    parameters = trained.parameters
    tensors: Iterable[torch.Tensor] = [parameters.flat] if isinstance(parameters, Packed) else parameters.values()
    reported = [value for values in trained.report.values() for value in values.values()]
    return math.isfinite(float(trained.loss)) and all(bool(t.isfinite().all()) for t in (*tensors, *reported))
