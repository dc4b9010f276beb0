"""When a run is saved, and how it is resumed.

A run is saved between two events of its clock: at intervals of host seconds, or when it is requested to end (Ctrl-C,
SIGTERM). It is resumed by replaying its clock without training up to that event; then it loads the model, results and
metrics of the checkpoint. Saving and resuming never change the results of a run.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from interlude.simulator.errors import InterludeError
from interlude.simulator.federation.clock import Clock
from interlude.simulator.record.atomic import writing
from interlude.simulator.record.checkpoint import Checkpoint, Checkpoints
from interlude.simulator.record.snapshot import CannotHoldError
from interlude.simulator.record.writer import RunWriter
from interlude.simulator.run.interruption import ResumePolicy
from interlude.simulator.run.loop import Run
from interlude.simulator.run.observer import MOST_OBSERVATIONS
from interlude.simulator.training.executors.replay import ReplayingExecutor

_LEAST_PAUSE = 20.0
"""Host seconds between two checkpoints per second spent on the last one: saving costs at most 5 %."""


class Checkpointer:
    """Saves one run at intervals, and ends it upon request.

    Args:
        checkpoints: the files.
        policy: the interval, and requests to end the run.
        writer: writes the run's record.
    """

    def __init__(self, checkpoints: Checkpoints, policy: ResumePolicy, writer: RunWriter) -> None:
        self._checkpoints = checkpoints
        self._every_s = policy.checkpoint_every_s
        self._interruption = policy.interruption
        self._writer = writer
        self._timer: threading.Timer | None = None
        self._is_due = False
        self.why_not: str | None = None
        """Why this run cannot be saved."""

    @contextmanager
    def watching(self, clock: Clock) -> Iterator[None]:
        """Pause a clock whenever its run is due to be saved or requested to end."""
        self._clock = clock
        with self._interruption.pausing(clock.pause):
            try:
                yield
            finally:
                self._every_s = 0.0
                if self._timer is not None:
                    self._timer.cancel()

    def begin(self) -> None:
        """Start counting host seconds; raises Interrupted if the end was requested before."""
        self._interruption.obey()
        self._wait(self._every_s)

    def act(self, run: Run) -> None:
        """Save a paused run if that is due, and end it if that was requested.

        Raises:
            Interrupted: if the end was requested.
            RecordError: if a checkpoint cannot be written.
        """
        if self._is_due or (self._interruption.is_asked and self._every_s > 0.0):
            began_s = time.perf_counter()
            self._save(run)
            self._is_due = False
            self._wait(max(self._every_s, _LEAST_PAUSE * (time.perf_counter() - began_s)))
        self._interruption.obey()

    def _save(self, run: Run) -> None:
        try:
            with writing(self._checkpoints.directory):
                self._checkpoints.save(run.clock.num_events, state_of(run, self._writer))
        except CannotHoldError as error:
            self.why_not = str(error)

    def _wait(self, host_s: float) -> None:
        if self._every_s > 0.0 and self.why_not is None:
            self._timer = threading.Timer(host_s, self._request)
            self._timer.daemon = True
            self._timer.start()

    def _request(self) -> None:
        self._is_due = True
        self._clock.pause()


def state_of(run: Run, writer: RunWriter) -> dict[str, Any]:
    """Return the state of a run between two events, for a checkpoint."""
    state: dict[str, Any] = {"whereabouts": _whereabouts(run), "moment": run.next_moment}
    if run.trainer is not None:
        run.trainer.drain()
        run.observer.write(MOST_OBSERVATIONS)
        state |= {"server": run.server.state(), "executor": run.trainer.state(), "observer": run.observer.state()}
    state["metrics_bytes"] = writer.sync_metrics()
    state["host_s"] = run.host_s
    return state


def restore(run: Run, checkpoint: Checkpoint, writer: RunWriter) -> None:
    """Replay a run up to a checkpoint without training, and load its state; returns early if interrupted.

    Raises:
        InterludeError: if the replay does not lead to the checkpoint.
    """
    state = checkpoint.state
    has_ended = run.clock.advance(math.inf, checkpoint.num_events)
    is_there = run.clock.num_events == checkpoint.num_events
    if not is_there and not has_ended:
        return
    if not is_there or _whereabouts(run) != state["whereabouts"]:
        raise InterludeError("the replayed run does not reach its checkpoint; start it again with --overwrite")
    run.next_moment = state["moment"]
    run.host_s_before = state["host_s"]
    writer.cut_metrics(state["metrics_bytes"])
    if run.trainer is not None:
        replaying = run.server.executor
        assert isinstance(replaying, ReplayingExecutor)
        run.trainer.restore(state["executor"], replaying.futures)
        run.server.restore(state["server"], run.executor)
        run.observer.restore(state["observer"], run.trainer)


def decisions_of(checkpoint: Checkpoint) -> list[Any] | None:
    """Return the journaled decisions up to a checkpoint; None in a timing-only run, which has none."""
    executor = checkpoint.state.get("executor")
    return None if executor is None else executor["decisions"]


def _whereabouts(run: Run) -> tuple[float, int, int]:
    """Return a fingerprint of the run's state, equal after an exact replay."""
    return float(run.clock.now), run.server.version, run.server.fleet.num_returned
