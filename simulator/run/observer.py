"""Evaluations become metrics, written in the order of simulated time."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any, Literal

from interlude.simulator.federation.server import Server
from interlude.simulator.record.sink import Sink
from interlude.simulator.scenario.sections import UntilSpec
from interlude.simulator.training.evaluation import has_diverged
from interlude.simulator.training.executors.base import EvaluationFuture, TrainingExecutor
from interlude.simulator.training.values import FUSED, Values

MOST_OBSERVATIONS = 16
"""Most pending evaluations; each keeps a version of the model in memory."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The metrics of one version of the model."""

    label: str
    """The run's label."""
    time_s: float
    """When the run was evaluated, in simulated seconds."""
    version: int
    accuracy: Mapping[str, float]
    """Top-1 accuracy in [0, 1] on the test set, ``fused`` and of each modality alone."""
    loss: float
    """Mean cross-entropy of the fused logits on the test set."""
    validation_accuracy: Mapping[str, float] | None = None
    """As `accuracy`, on the validation part; None where there is none."""

    @property
    def deciding_accuracy(self) -> Mapping[str, float]:
        """The accuracy that decisions are made by: on the validation part, or on the test set where there is none."""
        return self.accuracy if self.validation_accuracy is None else self.validation_accuracy


@dataclass(frozen=True, slots=True)
class Moment:
    """Progress of a run, as its watcher receives it."""

    label: str
    time_s: float
    """Simulated seconds so far."""
    version: int
    events: int
    local_rounds: int
    done: float
    """Finished share of the run, in [0, 1]; 0 where only an accuracy ends it."""
    evaluated: Evaluated | None
    """The latest evaluation that is computed, of an earlier moment as a rule; None in a timing-only run."""

    @property
    def accuracy(self) -> float | None:
        """Fused test accuracy of `evaluated`."""
        return None if self.evaluated is None else self.evaluated.accuracy[FUSED]


EndedBy = Literal["simulated_s", "versions", "accuracy", "patience_s", "callback", "idle"]
"""What ended a run: a bound of ``until``, a Python caller, or that no client will be on again."""

Watcher = Callable[[Moment], None]

OnEvaluation = Callable[[Evaluated], object]
"""Receives every evaluation in the order of simulated time; one for which it returns a true value ends the run."""


@dataclass(frozen=True, slots=True)
class _Observation:
    """An observation that is written once its evaluation is computed."""

    time_s: float
    version: int
    evaluation: EvaluationFuture
    memory: Values


class Observer:
    """Evaluates the server's model between two events; takes no simulated time and changes no event.

    Evaluations are computed later, many at once, unless one of them may end the run.

    Args:
        label: the run's label for watchers.
        until: the end of the run.
        server: its model is evaluated.
        sink: receives the metrics.
        watch: receives the progress.
        on_evaluation: receives evaluations and may end the run.
    """

    def __init__(
        self,
        label: str,
        until: UntilSpec,
        server: Server,
        sink: Sink,
        watch: Watcher | None = None,
        on_evaluation: OnEvaluation | None = None,
    ) -> None:
        self._label = label
        self._until = until
        self._server = server
        self._sink = sink
        self._watch = watch
        self._on_evaluation = on_evaluation
        may_end_the_run = until.watches_accuracy or on_evaluation is not None
        self._most_pending = 0 if may_end_the_run else MOST_OBSERVATIONS
        self._requested: tuple[int, EvaluationFuture | None] | None = None
        self._observations: deque[_Observation] = deque()
        self._latest: Evaluated | None = None
        self._best: tuple[float, float] | None = None
        self.ended_by: EndedBy | None = None
        """Why the latest evaluation ends the run."""
        self.diverged_at_s: float | None = None
        """The first evaluation from which on the model stays diverged, in simulated seconds; None if it is sound."""

    def observe(self, time_s: float) -> None:
        """Request the current version's evaluation for a moment of simulated time."""
        version = self._server.version
        if self._requested is None or self._requested[0] != version:
            self._requested = (version, self._server.executor.evaluate(self._server.model))
        future = self._requested[1]
        if future is not None:
            self._observations.append(_Observation(time_s, version, future, self._server.observe()))
            self.write(self._most_pending)

    def tell(self, time_s: float, events: int, *, is_over: bool = False) -> None:
        """Report the progress to the watcher.

        Args:
            time_s: simulated seconds so far.
            events: events of the clock so far.
            is_over: whether the run has ended.
        """
        if self._watch is not None:
            self.write(MOST_OBSERVATIONS)
            version, num_returned = self._server.version, self._server.fleet.num_returned
            done = 1.0 if is_over else self._done(time_s)
            self._watch(Moment(self._label, time_s, version, events, num_returned, done, self._latest))

    def write(self, most_left: int) -> None:
        """Write finished evaluations, in the order of time; wait only for those beyond `most_left`."""
        while self._observations and (len(self._observations) > most_left or self._observations[0].evaluation.is_done):
            observation = self._observations.popleft()
            evaluation = observation.evaluation.result()
            rows = evaluation.rows()
            rows += [(key.name, key.modality, float(value)) for key, value in observation.memory.items()]
            self._sink.add_metrics(observation.time_s, observation.version, rows)
            time_s, version = observation.time_s, observation.version
            self._latest = Evaluated(
                self._label, time_s, version, evaluation.accuracy, evaluation.loss, evaluation.validation_accuracy
            )
            self._may_end_by(self._latest)
            if not has_diverged(evaluation.deciding_loss, self._server.network.num_classes):
                self.diverged_at_s = None
            elif self.diverged_at_s is None:
                self.diverged_at_s = time_s

    def _may_end_by(self, latest: Evaluated) -> None:
        """Find out whether an evaluation ends the run."""
        until = self._until
        accuracy = latest.deciding_accuracy[until.modality or FUSED]
        if self._best is None or accuracy > self._best[0]:
            self._best = accuracy, latest.time_s
        if until.accuracy is not None and accuracy >= until.accuracy:
            self.ended_by = "accuracy"
        elif until.patience_s is not None and latest.time_s - self._best[1] >= until.patience_s:
            self.ended_by = "patience_s"
        if self._on_evaluation is not None and self._on_evaluation(latest):
            self.ended_by = self.ended_by or "callback"

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint: observations that are not written yet, and the models they wait for."""
        futures = {id(o.evaluation): o.evaluation for o in self._observations}
        evaluated = None
        if self._requested is not None and (latest := self._requested[1]) is not None:
            futures[id(latest)] = latest
            evaluated = (self._requested[0], list(futures).index(id(latest)))
        numbers = {key: number for number, key in enumerate(futures)}
        return {
            "evaluations": [future.state() for future in futures.values()],
            "observations": [(o.time_s, o.version, numbers[id(o.evaluation)], o.memory) for o in self._observations],
            "evaluated": evaluated,
            "latest": None if self._latest is None else astuple(self._latest),
            "best": self._best,
            "diverged_at_s": self.diverged_at_s,
        }

    def restore(self, state: dict[str, Any], executor: TrainingExecutor) -> None:
        """Continue from a checkpoint's state; the executor computes the pending evaluations."""
        self._latest = None if state["latest"] is None else Evaluated(*state["latest"])
        self._best, self.diverged_at_s = state["best"], state["diverged_at_s"]
        futures = [executor.restored_evaluation(kept) for kept in state["evaluations"]]
        self._observations.extend(
            _Observation(time_s, version, futures[index], memory)
            for time_s, version, index, memory in state["observations"]
        )
        if state["evaluated"] is not None:
            version, index = state["evaluated"]
            self._requested = (version, futures[index])

    def _done(self, time_s: float) -> float:
        shares = [0.0]
        if self._until.simulated_s is not None:
            shares.append(time_s / self._until.simulated_s)
        if self._until.versions is not None:
            shares.append(self._server.version / self._until.versions)
        return min(1.0, max(shares))


def moments_s(every_s: float, limit_s: float) -> Iterator[float]:
    """Yield 0, every_s, 2 every_s, ... and the limit itself."""
    index = 0
    while (moment_s := index * every_s) < limit_s:
        yield moment_s
        index += 1
    yield limit_s
