"""Evaluations become metrics, written in the order of simulated time."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from interlude.simulator.federation.server import Server
from interlude.simulator.record.sink import Sink
from interlude.simulator.scenario.sections import UntilSpec
from interlude.simulator.training.executors.base import EvaluationFuture, TrainingExecutor
from interlude.simulator.training.values import FUSED, Values

MOST_OBSERVATIONS = 16
"""Most pending evaluations; each keeps a version of the model in memory."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Progress of a run, as its watcher receives it."""

    label: str
    time_s: float
    """Simulated seconds so far."""
    version: int
    done: float
    """Finished share of the run, in [0, 1]."""
    accuracy: float | None
    """Fused test accuracy of the latest evaluated model; None before the first, and in a timing-only run."""


Watcher = Callable[[Moment], None]


@dataclass(frozen=True, slots=True)
class _Observation:
    """An observation that is written once its evaluation is computed."""

    time_s: float
    version: int
    evaluation: EvaluationFuture
    memory: Values


class Observer:
    """Evaluates the server's model between two events; takes no simulated time and changes no event.

    Args:
        label: the run's label for watchers.
        until: the end of the run.
        server: its model is evaluated.
        sink: receives the metrics.
    """

    def __init__(self, label: str, until: UntilSpec, server: Server, sink: Sink) -> None:
        self._label = label
        self._until = until
        self._server = server
        self._sink = sink
        self._evaluated: tuple[int, EvaluationFuture | None] | None = None
        self._observations: deque[_Observation] = deque()
        self._accuracy: float | None = None

    def observe(self, time_s: float, watch: Watcher | None) -> None:
        """Request the current version's evaluation for a moment of simulated time, and report to the watcher."""
        version = self._server.version
        if self._evaluated is None or self._evaluated[0] != version:
            self._evaluated = (version, self._server.executor.evaluate(self._server.model))
        future = self._evaluated[1]
        if future is not None:
            self._observations.append(_Observation(time_s, version, future, self._server.observe()))
            self.write(MOST_OBSERVATIONS)
        if watch is not None:
            watch(Moment(self._label, time_s, version, self._done(time_s), self._accuracy))

    def write(self, most_left: int) -> None:
        """Write finished evaluations, in the order of time; wait only for those beyond `most_left`."""
        while self._observations and (len(self._observations) > most_left or self._observations[0].evaluation.is_done):
            observation = self._observations.popleft()
            evaluation = observation.evaluation.result()
            self._accuracy = evaluation.accuracy[FUSED]
            rows = [("accuracy", modality, value) for modality, value in evaluation.accuracy.items()]
            rows.append(("loss", FUSED, evaluation.loss))
            rows += [(key.name, key.modality, float(value)) for key, value in observation.memory.items()]
            self._sink.add_metrics(observation.time_s, observation.version, rows)

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint: observations that are not written yet, and the models they wait for."""
        futures = {id(o.evaluation): o.evaluation for o in self._observations}
        evaluated = None
        if self._evaluated is not None and (latest := self._evaluated[1]) is not None:
            futures[id(latest)] = latest
            evaluated = (self._evaluated[0], list(futures).index(id(latest)))
        numbers = {key: number for number, key in enumerate(futures)}
        return {
            "evaluations": [future.state() for future in futures.values()],
            "observations": [(o.time_s, o.version, numbers[id(o.evaluation)], o.memory) for o in self._observations],
            "evaluated": evaluated,
            "accuracy": self._accuracy,
        }

    def restore(self, state: dict[str, Any], executor: TrainingExecutor) -> None:
        """Continue from a checkpoint's state; the executor computes the pending evaluations."""
        self._accuracy = state["accuracy"]
        futures = [executor.restored_evaluation(kept) for kept in state["evaluations"]]
        self._observations.extend(
            _Observation(time_s, version, futures[index], memory)
            for time_s, version, index, memory in state["observations"]
        )
        if state["evaluated"] is not None:
            version, index = state["evaluated"]
            self._evaluated = (version, futures[index])

    def _done(self, time_s: float) -> float:
        shares = [0.0]
        if self._until.simulated_s is not None:
            shares.append(time_s / self._until.simulated_s)
        if self._until.versions is not None:
            shares.append(self._server.version / self._until.versions)
        return max(shares)


def moments_s(every_s: float, limit_s: float) -> Iterator[float]:
    """Yield 0, every_s, 2 every_s, ... and the limit itself."""
    index = 0
    while (moment_s := index * every_s) < limit_s:
        yield moment_s
        index += 1
    yield limit_s
