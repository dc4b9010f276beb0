"""One run in progress: the clock advances to the scenario's end, with an observation at every evaluation."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import pyarrow as pa

from interlude.simulator.errors import TooManyEventsError
from interlude.simulator.federation.clock import Clock
from interlude.simulator.federation.server import Server
from interlude.simulator.federation.timeline import Timeline
from interlude.simulator.record.sink import Sink
from interlude.simulator.run.accounts import Accounts
from interlude.simulator.run.build import Ingredients, executor_and_model
from interlude.simulator.run.callbacks import Callback, on_merge_of
from interlude.simulator.run.observer import MOST_OBSERVATIONS, EndedBy, Observer, OnEvaluation, Watcher, moments_s
from interlude.simulator.run.spec import RunSpec
from interlude.simulator.run.ticks import Ticks, ticking
from interlude.simulator.training.executors.base import TrainingExecutor
from interlude.simulator.training.executors.replay import ReplayingExecutor
from interlude.simulator.training.workers.pool import WorkerPool

_EVENTS_AT_ONCE = 100
"""Far more events of a client at one instant than a run has in which time passes."""


class Run:
    """A clock, the server on it, an executor that computes, and an observer.

    Args:
        spec: the run.
        ingredients: everything that it needs.
        sink: receives the timeline and the metrics.
        workers: processes that help to train.
        decisions: the journaled decisions up to a checkpoint; if given, the run replays them without training until
            `interlude.simulator.run.checkpointer.restored` loads the checkpoint.
        watch: receives the progress, every second of host time and at the end.
        on_evaluation: receives evaluations and may end the run.
        callbacks: are told of merges.
        is_accounted: keep accounts; without them nothing checks the timeline.
    """

    def __init__(
        self,
        spec: RunSpec,
        ingredients: Ingredients,
        sink: Sink,
        workers: WorkerPool | None = None,
        decisions: Sequence[Any] | None = None,
        watch: Watcher | None = None,
        on_evaluation: OnEvaluation | None = None,
        callbacks: Sequence[Callback] = (),
        is_accounted: bool = False,
    ) -> None:
        scenario = spec.scenario
        self.spec = spec
        self.clock = Clock(_EVENTS_AT_ONCE * (ingredients.population.num_clients + _EVENTS_AT_ONCE))
        self.accounts: Accounts | None = None
        """What the rows of the timeline come to; None where no accounts are kept."""
        self.timeline = Timeline(sink.add_timeline, self._account, scenario.record.clients)
        self.timeline.on_merge = on_merge_of(spec.options.run_label, callbacks)
        self.executor, model = executor_and_model(spec, ingredients, workers)
        self.server = Server(
            clock=self.clock,
            world=ingredients.world,
            method=ingredients.method,
            network=ingredients.network,
            model=model,
            executor=self.executor if decisions is None or spec.timing_only else ReplayingExecutor(decisions),
            training=spec.training,
            population=ingredients.population,
            timeline=self.timeline,
            seed=scenario.seed,
            max_versions=scenario.until.versions,
            optimizer=spec.options.server.optimizer,
        )
        if is_accounted:
            num_clients, losses = ingredients.population.num_clients, self.server.losses
            self.accounts = Accounts(scenario, ingredients.world, num_clients, losses)
        self.observer = Observer(spec.options.run_label, scenario.until, self.server, sink, watch, on_evaluation)
        self.next_moment = 0
        """Number of evaluations made."""
        self.end_s = 0.0
        """When the run ended, in simulated seconds; 0 while it is in progress."""
        self.ended_by: EndedBy | None = None
        """What ended the run; None while it is in progress."""
        self.host_s_before = 0.0
        """Host seconds spent on the run before it was resumed."""
        self._started_host_s = time.perf_counter()

    @property
    def trainer(self) -> TrainingExecutor | None:
        """The executor if it trains; None in a timing-only run."""
        return self.executor if isinstance(self.executor, TrainingExecutor) else None

    @property
    def host_s(self) -> float:
        """Host seconds spent on the run."""
        return self.host_s_before + time.perf_counter() - self._started_host_s

    def play(self, at_pause: Callable[[], None] | None = None) -> None:
        """Advance the clock to the scenario's end, evaluating on the way.

        Args:
            at_pause: called between two events whenever the clock is paused.

        Raises:
            TooManyEventsError: if the run has more events than the scenario allows.
        """
        scenario, clock, observer = self.spec.scenario, self.clock, self.observer
        limit_s = float("inf") if scenario.until.simulated_s is None else scenario.until.simulated_s
        with ticking(clock.pause) as ticks:
            for moment_s in islice(moments_s(scenario.evaluate.every_s, limit_s), self.next_moment, None):
                self._advance(moment_s, scenario.limits.events, ticks, at_pause)
                self.ended_by = self._ended_by()
                if self.ended_by is not None:
                    observer.observe(clock.now)
                    self.finish(clock.now)
                    break
                observer.observe(moment_s)
                self.next_moment += 1
                self.ended_by = observer.ended_by
                if self.ended_by is not None:
                    self.finish(moment_s)
                    break
            else:
                self.ended_by = "simulated_s"
                self.finish(limit_s)
        observer.write(0)
        observer.tell(self.end_s, clock.num_events, is_over=True)

    def _ended_by(self) -> EndedBy | None:
        """Return why the run ends before its next evaluation."""
        if self.clock.is_stopped:
            return "versions"
        return "idle" if self.clock.is_at_rest and self.spec.scenario.until.simulated_s is None else None

    def finish(self, end_s: float, *, with_idle: bool = True) -> None:
        """End the run at a moment of simulated time: every client's spans are closed and the timeline is written.

        Args:
            end_s: the moment, in simulated seconds.
            with_idle: whether the time of idle clients is written, too, of which there may be millions.
        """
        self.end_s = end_s
        if self.accounts is not None:
            self.accounts.end(end_s)
        self.server.fleet.finish(end_s, with_idle=with_idle)
        self.timeline.finish()

    def salvage(self, may_compute: bool) -> None:
        """Write the metrics of a run that broke off, computing pending ones if there is time for it."""
        with suppress(Exception):  # the error that broke the run off is the one to report
            self.timeline.flush()
            self.observer.write(0 if may_compute else MOST_OBSERVATIONS)

    def close(self) -> None:
        """Release the executor's resources."""
        self.executor.close()

    def _account(self, table: pa.Table) -> None:
        if self.accounts is not None:
            self.accounts.add(table)

    def _advance(self, moment_s: float, most_events: int, ticks: Ticks, at_pause: Callable[[], None] | None) -> None:
        while not self.clock.advance(moment_s, most_events):
            if self.clock.num_events >= most_events:
                raise TooManyEventsError(
                    f"the limit of {most_events:,} events (limits.events) is reached after "
                    f"{self.clock.now:g} simulated seconds"
                )
            self.clock.resume()
            if ticks.take():
                self.observer.tell(self.clock.now, self.clock.num_events)
            if at_pause is not None:
                at_pause()
