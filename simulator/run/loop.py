"""One run under way: the clock advances, models are evaluated, what is seen is written down, all of it can be saved."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from interlude.simulator.data.dataset import Dataset
from interlude.simulator.errors import InterludeError, TooManyEventsError
from interlude.simulator.federation.accounting.energy import energy_j
from interlude.simulator.federation.clock import Clock
from interlude.simulator.federation.server import Population, Server
from interlude.simulator.federation.timeline import Timeline
from interlude.simulator.record.checkpoint import Checkpoint
from interlude.simulator.record.writer import RunWriter
from interlude.simulator.run.build import executor_and_model, how_trained, world_of
from interlude.simulator.run.checkpointer import Checkpointer
from interlude.simulator.run.spec import RunSpec
from interlude.simulator.scenario.loading import method_class
from interlude.simulator.training.evaluation import FUSED, Evaluated, Evaluation, PendingEvaluation
from interlude.simulator.training.executors.future import TrainingExecutor
from interlude.simulator.training.executors.replay import ReplayingExecutor
from interlude.simulator.training.executors.sequential import Executor
from interlude.simulator.training.objective import Values
from interlude.simulator.training.workers.pool import WorkerPool


@dataclass(frozen=True, slots=True)
class Moment:
    """What a run tells those who watch it."""

    label: str
    time_s: float
    """Simulated seconds so far."""
    version: int
    done: float
    """Share of the run that is over, in [0, 1]."""
    accuracy: float | None
    """Fused test accuracy of the latest model that is evaluated; None before the first, and in a timing-only run."""


MOST_OBSERVATIONS = 16
"""Moments whose evaluations may be under way; each keeps a version of the model alive."""

Watcher = Callable[[Moment], None]


class Run:
    """Everything that makes up one run.

    Args:
        part: what to run.
        dataset: what is learned from.
        population: who holds what.
        writer: receives the record.
        crew: worker processes that help to train.
        checkpoint: where to go on from; None for the beginning.
    """

    def __init__(
        self,
        part: RunSpec,
        dataset: Dataset,
        population: Population,
        writer: RunWriter,
        crew: WorkerPool | None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        scenario, options = part.scenario, part.options
        self._scenario = scenario
        self._writer = writer
        self._label = options.run_label
        self._checkpoint = checkpoint
        self._keeper: Checkpointer | None = None
        self._host_s_before = 0.0
        self._started_host_s = time.perf_counter()
        self._next_moment = 0
        self._evaluated: tuple[int, PendingEvaluation | None] | None = None
        self._observations: deque[_Observation] = deque()
        self._accuracy: float | None = None
        self.end_s = 0.0
        self.clock = Clock()
        self.timeline = Timeline(writer.add_timeline)
        method = method_class(options.name)(options)
        network = method.network(scenario.model, dataset.inputs, dataset.num_classes)
        self._executor, model = executor_and_model(part, network, dataset, crew)
        executor: Executor = self._executor
        if checkpoint is not None and isinstance(self._executor, TrainingExecutor):
            executor = ReplayingExecutor(checkpoint.state["executor"]["decisions"])
        label, reason = (
            ("none", "timing only")
            if part.timing_only
            else how_trained(scenario.executor, network, part.device, scenario.training.batch_size)
        )
        writer.add_facts({"executor": {"label": label, "reason": reason}})
        if dataset.num_dropped:
            writer.add_facts({"samples_dropped": dataset.num_dropped})
        self.server = Server(
            clock=self.clock,
            world=world_of(scenario, dataset, population.num_clients),
            method=method,
            network=network,
            model=model,
            executor=executor,
            training=scenario.training,
            population=population,
            timeline=self.timeline,
            seed=scenario.seed,
            max_versions=scenario.until.versions,
        )

    def play(self, watch: Watcher | None, keeper: Checkpointer | None = None) -> None:
        """Let simulated time pass until the scenario's end, evaluating on the way.

        Args:
            watch: told of every evaluation.
            keeper: saves the run now and then.

        Raises:
            Interrupted: if somebody asked for the end.
        """
        self._keeper = keeper
        with nullcontext() if keeper is None else keeper.watching(self.clock):
            if self._checkpoint is not None:
                self._replay(self._checkpoint)
            if keeper is not None:
                keeper.begin()
            self._go_on(watch)

    def _go_on(self, watch: Watcher | None) -> None:
        until = self._scenario.until
        limit_s = float("inf") if until.simulated_s is None else until.simulated_s
        most_events = self._scenario.limits.events
        for moment_s in islice(_moments(self._scenario.evaluate.every_s, limit_s), self._next_moment, None):
            while not self.clock.advance(moment_s, most_events):
                if self.clock.num_events >= most_events:
                    raise TooManyEventsError(
                        f"{most_events:,} events, the most that limits.events allows, are over after "
                        f"{self.clock.now:g} simulated seconds"
                    )
                self.clock.resume()
                if self._keeper is not None:
                    self._keeper.act(self.clock.num_events, self._state)
            if self._is_over():
                break
            self._observe(moment_s, watch)
            self._next_moment += 1
        self.end_s = self.clock.now if self._is_over() else limit_s
        self.server.finish(self.end_s)
        self.timeline.flush()
        if self._is_over():
            self._observe(self.end_s, watch)
        self._write_observations(0)

    def accounts(self, timeline: pd.DataFrame) -> dict[str, Any]:
        """Return what the run lost and, where the world says what devices draw, the energy it took.

        Joules by the moments of evaluation are added to the metrics, for all clients together.

        Args:
            timeline: all rows of the run.
        """
        accounts: dict[str, Any] = {"lost": self.server.losses.totals(timeline)}
        spec = self._scenario.world.energy
        if spec is not None:
            moments_s = [*_moments(self._scenario.evaluate.every_s, self.end_s)]
            watts = spec.watts(self._scenario.seed, self.server.num_clients)
            joules = energy_j(timeline, watts, moments_s)
            accounts["energy_j"] = {purpose: float(values[-1]) for purpose, values in joules.items()}
            made_s = timeline.loc[timeline["kind"] == "merge"].groupby("version")["end_s"].min()
            versions = np.searchsorted(made_s.to_numpy(), moments_s, side="right")
            totals = np.sum(list(joules.values()), axis=0).tolist()
            for moment_s, version, total in zip(moments_s, versions.tolist(), totals, strict=True):
                self._writer.add_metrics(moment_s, version, [("energy_j", FUSED, total)])
        return accounts

    def _is_over(self) -> bool:
        """Return whether the run is over early: by its versions, or as nobody will be there again."""
        nobody_comes = self.clock.is_at_rest and self._scenario.until.simulated_s is None
        return self.clock.is_stopped or nobody_comes

    def _replay(self, checkpoint: Checkpoint) -> None:
        """Play up to a checkpoint without training, and take up what it holds.

        Raises:
            InterludeError: if that leads elsewhere.
        """
        state = checkpoint.state
        has_ended = self.clock.advance(math.inf, checkpoint.num_events)
        is_there = self.clock.num_events == checkpoint.num_events
        if not is_there and not has_ended:
            return  # somebody asked for the end
        if not is_there or self._whereabouts() != state["whereabouts"]:
            raise InterludeError("the run played again does not lead to its checkpoint; begin it with --overwrite")
        self._next_moment = state["moment"]
        self._host_s_before = state["host_s"]
        self._accuracy = state["accuracy"]
        self._writer.cut_metrics(state["metrics_bytes"])
        if not isinstance(self._executor, TrainingExecutor):
            return
        replaying = self.server.executor
        assert isinstance(replaying, ReplayingExecutor)
        self._executor.restore(state["executor"], replaying.promises)
        self.server.restore(state["server"], self._executor)
        pending = [
            Evaluated(kept) if isinstance(kept, Evaluation) else self._executor.evaluate(kept)
            for kept in state["evaluations"]
        ]
        self._observations.extend(
            _Observation(time_s, version, pending[index], memory)
            for time_s, version, index, memory in state["observations"]
        )
        if state["evaluated"] is not None:
            version, index = state["evaluated"]
            self._evaluated = (version, pending[index])

    def _state(self) -> dict[str, Any]:
        """Return what a checkpoint needs to know, at a moment between two events."""
        state: dict[str, Any] = {"whereabouts": self._whereabouts(), "moment": self._next_moment}
        if isinstance(self._executor, TrainingExecutor):
            self._executor.settle()
            self._write_observations(MOST_OBSERVATIONS)
            state |= {"server": self.server.state(), "executor": self._executor.state(), **self._evaluations()}
        state["metrics_bytes"] = self._writer.sync_metrics()
        state["host_s"] = self._host_s()
        state["accuracy"] = self._accuracy
        return state

    def _evaluations(self) -> dict[str, Any]:
        """Return the observations that are not written yet, and the models that wait to be evaluated for them."""
        pending: dict[int, PendingEvaluation] = {id(o.pending): o.pending for o in self._observations}
        evaluated = None
        if self._evaluated is not None and (latest := self._evaluated[1]) is not None:
            pending[id(latest)] = latest
            evaluated = (self._evaluated[0], list(pending).index(id(latest)))
        numbers = {key: number for number, key in enumerate(pending)}
        return {
            "evaluations": [p.result() if p.is_ready else p.model for p in pending.values()],
            "observations": [(o.time_s, o.version, numbers[id(o.pending)], o.memory) for o in self._observations],
            "evaluated": evaluated,
        }

    def _whereabouts(self) -> tuple[float, int, int]:
        """Return what tells whether a replay has led to the same place."""
        return float(self.clock.now), self.server.version, self.server.num_returned

    def _host_s(self) -> float:
        return self._host_s_before + time.perf_counter() - self._started_host_s

    def write_model(self) -> None:
        """Write the last version of the global model, if anything was trained."""
        if isinstance(self._executor, TrainingExecutor):
            self._writer.add_model(self.server.model)

    def close(self) -> None:
        """Give back what the run holds."""
        self._executor.close()

    def salvage(self, may_compute: bool) -> None:
        """Write down what is known of a run that broke off, and what can still be computed where there is time."""
        with suppress(Exception):  # the error that broke the run off is the one to report
            self.timeline.flush()
            self._write_observations(0 if may_compute else MOST_OBSERVATIONS)

    def totals(self) -> dict[str, Any]:
        """Return what the run came to."""
        notes = list(self._executor.notes) if isinstance(self._executor, TrainingExecutor) else []
        if self._keeper is not None and self._keeper.why_not is not None:
            notes.append(self._keeper.why_not)
        return {
            **({"notes": notes} if notes else {}),
            "simulated_s": self.end_s or self.clock.now,
            "host_s": self._host_s(),
            "events": self.clock.num_events,
            "versions": self.server.version,
            "local_rounds": self.server.num_returned,
            "rejected_updates": self.server.num_rejected,
            "order_sha256": self.timeline.order_digest(),
        }

    def _observe(self, time_s: float, watch: Watcher | None) -> None:
        version = self.server.version
        if self._evaluated is None or self._evaluated[0] != version:
            self._evaluated = (version, self.server.executor.evaluate(self.server.model))
        pending = self._evaluated[1]
        if pending is not None:
            self._observations.append(_Observation(time_s, version, pending, self.server.observe()))
            self._write_observations(MOST_OBSERVATIONS)
        if watch is not None:
            watch(Moment(self._label, time_s, version, self._done(time_s), self._accuracy))

    def _write_observations(self, most_left: int) -> None:
        """Write what is evaluated, in the order of time; wait for evaluations only where too many are under way."""
        while self._observations and (len(self._observations) > most_left or self._observations[0].pending.is_ready):
            observation = self._observations.popleft()
            evaluation = observation.pending.result()
            self._accuracy = evaluation.accuracy[FUSED]
            rows = [("accuracy", modality, value) for modality, value in evaluation.accuracy.items()]
            rows.append(("loss", FUSED, evaluation.loss))
            rows += [
                (metric, modality, float(value))
                for metric, values in observation.memory.items()
                for modality, value in values.items()
            ]
            self._writer.add_metrics(observation.time_s, observation.version, rows)

    def _done(self, time_s: float) -> float:
        until = self._scenario.until
        shares = [0.0]
        if until.simulated_s is not None:
            shares.append(time_s / until.simulated_s)
        if until.versions is not None:
            shares.append(self.server.version / until.versions)
        return max(shares)


@dataclass(frozen=True, slots=True)
class _Observation:
    """A moment that is to be written down once its evaluation is there."""

    time_s: float
    version: int
    pending: PendingEvaluation
    memory: Values


def _moments(every_s: float, limit_s: float) -> Iterator[float]:
    """Yield 0, every_s, 2 every_s, ... and the limit itself."""
    index = 0
    while (moment_s := index * every_s) < limit_s:
        yield moment_s
        index += 1
    yield limit_s
