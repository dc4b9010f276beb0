"""The runs of a sweep: which are finished, which are to be carried out, and what became of them.

A run is the one that is asked for if its resolved scenario, its code, its packages and its device are the same
(`RunSpec.identity`). Finished ones are left alone, so a sweep that was killed is resumed. A run that was killed, or
failed, is resumed where it was saved, or else carried out afresh. Who carries runs out, local processes or a
cluster, is an `Executor`.
"""

from collections import deque
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from interlude.simulator.errors import BadInputError
from interlude.simulator.files import only_one
from interlude.simulator.record.checkpoint import Checkpoints
from interlude.simulator.record.writer import CHECKPOINTS, RunRecord, RunWriter, claim, end, is_only_begun, make_room
from interlude.simulator.run.loop import Moment
from interlude.simulator.run.spec import RunSpec
from interlude.simulator.sweep.grid import Sweep

_LOCK_WAIT_S = 10.0  # workers hold the lock, too: those of a sweep that was killed take a moment to die
_MOST_ATTEMPTS = 2


@dataclass(frozen=True)
class Task:
    """A run to carry out."""

    name: str
    """How people are told of it: its directory below the directory of all runs."""
    part: RunSpec

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What makes two runs the same run."""
        return self.part.identity

    def is_finished(self, overwrite: bool = False) -> bool:
        """Whether the very run is there, complete; what may be replaced, an unfinished run of it, counts as nothing.

        Raises:
            BadInputError: if something else is there.
        """
        path = self.part.path
        if not path.exists() or is_only_begun(path):
            return False
        if (path / "run.json").exists():
            record = RunRecord(path)
            if overwrite or (not record.is_complete and record.info.get("digest") == self.identity["digest"]):
                return False
        return claim(path, self.identity) is not None

    def is_saved(self) -> bool:
        """Whether the very run is there, unfinished, and can be gone on with."""
        path = self.part.path
        if not (path / "run.json").exists() or not Checkpoints(path / CHECKPOINTS).files():
            return False
        with suppress(BadInputError):
            return claim(path, self.identity, resume=True) is not None
        return False

    def make_room(self) -> None:
        """Remove an earlier run."""
        make_room(self.part.path)

    def record_failure(self, error: str, traceback: str | None) -> None:
        """Write down why the run failed, beside what is there of it."""
        if is_only_begun(self.part.path) or not (self.part.path / "run.json").exists():
            self.make_room()
            RunWriter(self.part.path, self.identity).close("failed", {}, error)
        else:
            end(self.part.path, "failed", error)
        if traceback:
            with suppress(OSError):  # of a full disk the record has said what there was room for
                (self.part.path / "traceback.txt").write_text(traceback, encoding="utf-8")

    def record_interruption(self) -> None:
        """Write down that a run that is under way was given up."""
        if (self.part.path / "run.json").exists() and RunRecord(self.part.path).info["status"] == "running":
            end(self.part.path, "interrupted")


@dataclass(frozen=True)
class Started:
    """A process has begun a run."""

    task: Task


@dataclass(frozen=True)
class Moved:
    """A run has come as far as a moment."""

    task: Task
    moment: Moment


@dataclass(frozen=True)
class Lost:
    """The process of a run has died; the run is carried out again."""

    task: Task
    how: str


@dataclass(frozen=True)
class Ended:
    """A run is over."""

    task: Task
    error: str | None = None
    """Why it failed; None if it is complete."""
    traceback: str | None = None


Event = Started | Moved | Lost | Ended


class Executor(Protocol):
    """Carries runs out."""

    def choose_device(self, name: str) -> torch.device:
        """Return where runs train; raises BadInputError if they cannot."""
        ...

    def check(self, num_runs: int) -> None:
        """Raise BadInputError if runs cannot be carried out at all; comes before anything is written."""
        ...

    def play(self, tasks: Sequence[Task], keep_open: Sequence[int]) -> Generator[Event, None, None]:
        """Carry runs out; each ends once, with its record in its directory unless it failed.

        Args:
            tasks: the runs.
            keep_open: descriptors that every process that writes into run directories holds open while it lives.
        """
        ...


class Queue:
    """Runs that wait, and how often each was begun."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._waiting = deque(tasks)
        self._attempts = dict.fromkeys((task.name for task in tasks), 0)

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> Task:
        """Return the next run, which now begins."""
        task = self._waiting.popleft()
        self._attempts[task.name] += 1
        return task

    def lose(self, task: Task, how: str) -> Event:
        """Let a run whose process died be carried out once more; the second time it has failed."""
        if self._attempts[task.name] < _MOST_ATTEMPTS:
            self._waiting.appendleft(task)
            return Lost(task, how)
        return Ended(task, f"its process died {_MOST_ATTEMPTS} times; the last time {how}")


@dataclass(frozen=True)
class Outcome:
    """What became of a run."""

    name: str
    path: Path
    status: Literal["complete", "failed", "reused"]
    """`reused`: it was complete before."""
    error: str | None = None
    """Why it failed."""


class Watcher(Protocol):
    """Is told how a sweep goes on."""

    def begin(self, num_runs: int, num_finished: int) -> None:
        """How many runs there are, and how many were finished before."""
        ...

    def see(self, event: Event) -> None:
        """Something happened."""
        ...


def run_sweep(
    sweep: Sweep,
    executor: Executor,
    *,
    runs: str | Path = "runs",
    device: str = "auto",
    timing_only: bool = False,
    overwrite: bool = False,
    watch: Watcher | None = None,
) -> list[Outcome]:
    """Carry out every run of a sweep that is not finished yet.

    Args:
        sweep: what to run.
        executor: who carries runs out.
        runs: where run directories go, as ``runs/<sweep>/<point>/<label>-s<seed>``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        timing_only: run the clock without any training.
        overwrite: replace runs that are there, finished ones included.
        watch: told how it goes on.

    Returns:
        What became of each run, in the order of the sweep. A run that fails stops no other.

    Raises:
        BadInputError: if the device, the executor or a run directory cannot be used; then nothing is written.
    """
    tasks = tasks_of(sweep, Path(runs), executor.choose_device(device), timing_only)
    for task in tasks:
        task.is_finished(overwrite)
    executor.check(len(tasks))
    with only_one(sweep.directory(Path(runs)), "another sweep is at work there", wait_s=_LOCK_WAIT_S) as lock:
        finished = {task.name: task.is_finished(overwrite) for task in tasks}
        to_do = [task for task in tasks if not finished[task.name]]
        for task in to_do if overwrite else ():
            Checkpoints(task.part.path / CHECKPOINTS).clear()
        if watch is not None:
            watch.begin(len(tasks), len(tasks) - len(to_do))
        ended: dict[str, Ended] = {}
        try:
            with closing(executor.play(to_do, [lock.fileno()])) as events:
                for event in events:
                    if isinstance(event, Ended):
                        ended[event.task.name] = event
                        if event.error is not None:
                            event.task.record_failure(event.error, event.traceback)
                    if watch is not None:
                        watch.see(event)
        except BaseException:
            for task in to_do:
                task.record_interruption()
            raise
    return [_outcome(task, ended.get(task.name)) for task in tasks]


def tasks_of(sweep: Sweep, runs: Path, device: torch.device, timing_only: bool) -> list[Task]:
    """Return every run of a sweep."""
    root = sweep.parent_of_points(runs)
    parts = [
        RunSpec(scenario.for_run(method, scenario.seed), root, device, timing_only)
        for scenario in sweep.scenarios
        for method in scenario.methods
    ]
    return [Task(part.path.relative_to(root).as_posix(), part) for part in parts]


def _outcome(task: Task, ended: Ended | None) -> Outcome:
    if ended is None:
        return Outcome(task.name, task.part.path, "reused")
    return Outcome(task.name, task.part.path, "complete" if ended.error is None else "failed", ended.error)
