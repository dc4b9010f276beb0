"""When a run is saved, and how it is resumed.

A run is saved between two events of its clock: at intervals of host seconds, or when it is requested to end (Ctrl-C,
SIGTERM). It is resumed by replaying its clock without training up to that event; then it loads the model, results and
metrics of the checkpoint. Saving and resuming never change the results of a run.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from interlude.simulator.errors import InterludeError, RecordError, one_line
from interlude.simulator.federation.clock import Clock
from interlude.simulator.record.atomic import writing
from interlude.simulator.record.checkpoint import Checkpoint, Checkpoints
from interlude.simulator.record.prefix import Prefix
from interlude.simulator.record.snapshot import CannotHoldError
from interlude.simulator.record.writer import RunWriter
from interlude.simulator.run.interruption import ResumePolicy
from interlude.simulator.run.loop import Run
from interlude.simulator.run.observer import MOST_OBSERVATIONS
from interlude.simulator.training.executors.replay import ReplayingExecutor

_LEAST_PAUSE = 20.0
"""Host seconds between two checkpoints per second spent on the last one: saving costs at most 5 %."""


class UnreachableError(InterludeError):
    """A replay that does not lead to its checkpoint.

    Args:
        checkpoint: the checkpoint.
        reason: what went wrong in the replay.
    """

    def __init__(self, checkpoint: Checkpoint, reason: str = "") -> None:
        where = f"the replayed run does not reach its checkpoint of event {checkpoint.num_events:,}"
        super().__init__(f"{where}: {reason}" if reason else where)


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
        self._on_saved = policy.on_saved
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

        A second request skips the save, and so does a process of the clock that has failed in the middle of an event.

        Raises:
            Interrupted: if the end was requested.
            RecordError: if a checkpoint cannot be written.
        """
        is_wanted = self._is_due or (self._interruption.is_asked and self._every_s > 0.0)
        if is_wanted and not self._interruption.is_urgent and not run.clock.has_failed:
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
        else:
            self._on_saved(run.spec.path)

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
    state["metrics"] = writer.sync_metrics()
    state["host_s"] = run.host_s
    return state


def usable(checkpoints: Checkpoints, device: torch.device, say: Callable[[str], None]) -> Iterator[Checkpoint]:
    """Yield the checkpoints that are intact, and whose metrics.csv begins as it was saved; the newest first.

    The timeline needs no such check: a replay writes it again.

    Args:
        checkpoints: the files.
        device: for tensors that were not on the CPU.
        say: receives a sentence about each other one.
    """
    metrics = checkpoints.directory.with_name("metrics.csv")

    def lacks(state: Mapping[str, Any]) -> str | None:
        prefix = state.get("metrics")
        return prefix.difference(metrics) if isinstance(prefix, Prefix) else "another version of Interlude wrote it"

    return checkpoints.usable(device, say, lacks)


def restored(
    start: Callable[[Sequence[Any] | None], Run],
    checkpoint: Checkpoint,
    older: Iterator[Checkpoint],
    writer: RunWriter,
    policy: ResumePolicy,
) -> Run:
    """Return a run, restored from the newest checkpoint that a replay reaches.

    Args:
        start: returns a new run that replays the journaled decisions of a checkpoint.
        checkpoint: the newest one.
        older: those before it.
        writer: writes the run's record.
        policy: what interrupts the replay, and receives a sentence about a checkpoint that is not reached.

    Raises:
        InterludeError: if no checkpoint is reached.
        Interrupted: if the end was requested.
    """
    while True:
        writer.begin_timeline()
        run = start(_decisions_of(checkpoint))
        try:
            with policy.interruption.pausing(run.clock.pause):
                _restore(run, checkpoint)
            policy.interruption.obey()
            writer.cut_metrics(checkpoint.state["metrics"].num_bytes)
        except UnreachableError as error:
            run.close()
            before = next(older, None)
            if before is None:
                raise InterludeError(f"{error}; start the run again with --overwrite") from error
            policy.say(f"{run.spec.path}: {error}; the one before it is used")
            checkpoint = before
        except BaseException:
            run.close()
            raise
        else:
            return run


def _restore(run: Run, checkpoint: Checkpoint) -> None:
    """Replay a run up to a checkpoint without training, and load its state; returns early if interrupted.

    Raises:
        UnreachableError: if the replay does not lead to the checkpoint.
        RecordError: if the replayed timeline cannot be written.
    """
    state = checkpoint.state
    try:
        told, run.timeline.on_merge = run.timeline.on_merge, None  # not of what is replayed
        has_ended = run.clock.advance(math.inf, checkpoint.num_events)
        run.timeline.on_merge = told
        is_there = run.clock.num_events == checkpoint.num_events
        if not is_there and not has_ended:
            return
        if not is_there or run.clock.has_failed or _whereabouts(run) != state["whereabouts"]:
            raise UnreachableError(checkpoint)
        run.next_moment = state["moment"]
        run.host_s_before = state["host_s"]
        if run.trainer is not None:
            replaying = run.server.executor
            assert isinstance(replaying, ReplayingExecutor)
            run.trainer.restore(state["executor"], replaying.futures)
            run.server.restore(state["server"], run.executor)
            run.observer.restore(state["observer"], run.trainer)
    except (RecordError, UnreachableError):
        raise
    except Exception as error:  # a replay by other code, or of a state from the middle of an event, fails in any way
        raise UnreachableError(checkpoint, one_line(error)) from error


def _decisions_of(checkpoint: Checkpoint) -> list[Any] | None:
    """Return the journaled decisions up to a checkpoint; None in a timing-only run, which has none."""
    executor = checkpoint.state.get("executor")
    return None if executor is None else executor["decisions"]


def _whereabouts(run: Run) -> tuple[float, int, int]:
    """Return a fingerprint of the run's state, equal after an exact replay."""
    return float(run.clock.now), run.server.version, run.server.fleet.num_returned
