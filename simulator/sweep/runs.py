"""The runs of a sweep: which are finished, which are to be executed, and their outcomes.

An existing run is the requested one if its resolved scenario, code, packages and device are the same
(`RunSpec.identity`). Finished runs are kept, so a sweep that was killed is resumed. A run that was killed, or failed,
is resumed where it was saved, or else begins again. A `SweepExecutor` executes runs: local processes or a cluster.
"""

from collections import deque
from collections.abc import Generator, Hashable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from interlude.simulator.errors import BadInputError, RecordError
from interlude.simulator.files import only_one
from interlude.simulator.record.checkpoint import Checkpoints
from interlude.simulator.record.claim import CHECKPOINTS, check_replaceable, claim, end, is_vacant, make_room
from interlude.simulator.record.lock import check_free, owned
from interlude.simulator.record.reader import RunRecord
from interlude.simulator.record.writer import RunWriter
from interlude.simulator.run.build import files_of, load
from interlude.simulator.run.observer import Moment
from interlude.simulator.run.spec import RunSpec, run_specs
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.sweep.grid import Sweep

_LOCK_WAIT_S = 10.0  # workers hold the lock, too: those of a killed sweep take a moment to end
_MOST_ATTEMPTS = 2


@dataclass(frozen=True)
class SweepTask:
    """A run to execute."""

    name: str
    """Its name in messages: its directory below the directory of all runs."""
    spec: RunSpec
    files: Mapping[str, Path]
    """The location of every input file of the run, by its name."""

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The run's identity: equal for equal runs."""
        return self.spec.identity(self.files)

    def is_finished(self, overwrite: bool = False) -> bool:
        """Return whether this run exists, complete; an unfinished one, which may be replaced, counts as none.

        Raises:
            BadInputError: if the directory holds another run or other files.
        """
        path = self.spec.path
        if overwrite:
            check_replaceable(path)
            return False
        if (path / "run.json").exists():
            record = RunRecord(path)
            if not record.is_complete and record.info.get("digest") == self.identity["digest"]:
                return False
        return claim(path, self.identity) is not None

    def is_saved(self) -> bool:
        """Return whether this run exists, unfinished, and can be resumed."""
        path = self.spec.path
        if not (path / "run.json").exists() or not Checkpoints(path / CHECKPOINTS).files():
            return False
        with suppress(BadInputError):
            return claim(path, self.identity, resume=True) is not None
        return False

    def make_room(self) -> None:
        """Remove an earlier run."""
        with owned(self.spec.path):
            make_room(self.spec.path)

    def record_failure(self, error: str, traceback: str | None) -> None:
        """Record why the run failed; its other files are kept. What is not this run's is left as it is."""
        path = self.spec.path
        with suppress(BadInputError), owned(path):  # another process may own it: that is why the run failed
            if is_vacant(path):
                writer = RunWriter(path, self.identity)
                writer.add_facts(self.spec.facts)
                writer.close("failed", {}, error)
            elif not RunRecord(path).is_complete:
                end(path, "failed", error)
            if traceback:
                with suppress(OSError):  # on a full disk the record holds as much as there was room for
                    (path / "traceback.txt").write_text(traceback, encoding="utf-8")

    def record_interruption(self) -> None:
        """Record that a run in progress was interrupted."""
        path = self.spec.path
        if (path / "run.json").exists():
            with suppress(BadInputError, RecordError), owned(path):  # the interruption is what to report
                if RunRecord(path).info["status"] == "running":
                    end(path, "interrupted")


@dataclass(frozen=True)
class Started:
    """A process has begun a run."""

    task: SweepTask


@dataclass(frozen=True)
class Moved:
    """A run has reached a moment."""

    task: SweepTask
    moment: Moment


@dataclass(frozen=True)
class Lost:
    """The process of a run has died; the run goes on where it was saved, or begins again."""

    task: SweepTask
    how: str
    is_saved: bool


@dataclass(frozen=True)
class Ended:
    """A run has ended."""

    task: SweepTask
    error: str | None = None
    """Why it failed; None if it is complete."""
    traceback: str | None = None


Event = Started | Moved | Lost | Ended


class SweepExecutor(Protocol):
    """Executes runs."""

    def choose_device(self, name: str) -> torch.device:
        """Return the device of the runs, the first of several; raises BadInputError if one is not available."""
        ...

    def check(self, num_runs: int) -> None:
        """Raise BadInputError if runs cannot be executed at all; called before anything is written."""
        ...

    def play(self, tasks: Sequence[SweepTask], keep_open: Sequence[int]) -> Generator[Event, None, None]:
        """Execute runs; each ends once, with its record in its directory unless it failed.

        Args:
            tasks: the runs.
            keep_open: descriptors that every process that writes into run directories keeps open while it runs.
        """
        ...


class SweepQueue:
    """Waiting runs, and how often each was started."""

    def __init__(self, tasks: Sequence[SweepTask]) -> None:
        self._waiting = deque(tasks)
        self._attempts = dict.fromkeys((task.name for task in tasks), 0)

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> SweepTask:
        """Remove and return the next run, which starts now."""
        task = self._waiting.popleft()
        self._attempts[task.name] += 1
        return task

    def lose(self, task: SweepTask, how: str) -> Event:
        """Put a run whose process died back in front; after the second time it has failed."""
        if self._attempts[task.name] < _MOST_ATTEMPTS:
            self._waiting.appendleft(task)
            return Lost(task, how, task.is_saved())
        return Ended(task, f"its process died {_MOST_ATTEMPTS} times; the last time {how}")


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run."""

    name: str
    path: Path
    status: Literal["complete", "failed", "reused"]
    """`reused`: it was complete before."""
    error: str | None = None
    """Why it failed."""


class SweepWatcher(Protocol):
    """Receives the progress of a sweep."""

    def begin(self, num_runs: int, num_finished: int) -> None:
        """Receive the number of runs, and of those finished before."""
        ...

    def see(self, event: Event) -> None:
        """Receive an event."""
        ...


def run_sweep(
    sweep: Sweep,
    executor: SweepExecutor,
    *,
    runs: str | Path = "runs",
    device: str = "auto",
    timing_only: bool = False,
    overwrite: bool = False,
    watch: SweepWatcher | None = None,
) -> list[Outcome]:
    """Execute every run of a sweep that is not finished yet.

    Args:
        sweep: the runs.
        executor: executes the runs.
        runs: where run directories go, as ``runs/<sweep>/<point>/<label>-s<seed>``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; several by commas, each of which has runs of its own.
        timing_only: run the clock without any training.
        overwrite: replace existing runs, finished ones included.
        watch: receives the progress.

    Returns:
        The outcome of each run, in the order of the sweep. A run that fails stops no other.

    Raises:
        BadInputError: if a scenario, the device, the executor or a run directory cannot be used; nothing is written.
    """
    tasks = tasks_of(sweep, Path(runs), executor.choose_device(device), timing_only)
    for task in tasks:
        task.is_finished(overwrite)
    executor.check(len(tasks))
    with only_one(sweep.directory(Path(runs)), "another sweep is at work there", wait_s=_LOCK_WAIT_S) as lock:
        for task in tasks:
            check_free(task.spec.path)
        finished = {task.name: task.is_finished(overwrite) for task in tasks}
        to_do = [task for task in tasks if not finished[task.name]]
        for task in to_do if overwrite else ():
            with owned(task.spec.path):
                Checkpoints(task.spec.path / CHECKPOINTS).clear()
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


def tasks_of(sweep: Sweep, runs: Path, device: torch.device, timing_only: bool) -> list[SweepTask]:
    """Return every run of a sweep.

    Raises:
        BadInputError: if a scenario does not fit its data set.
    """
    root = sweep.parent_of_points(runs)
    tasks = []
    for scenario, files in zip(sweep.scenarios, _files_of_all(sweep.scenarios, timing_only), strict=True):
        specs = run_specs(scenario, root, device, timing_only)
        tasks += [SweepTask(spec.path.relative_to(root).as_posix(), spec, files) for spec in specs]
    return tasks


def _files_of_all(scenarios: Sequence[Scenario], timing_only: bool) -> list[dict[str, Path]]:
    """Return the input files of each scenario, once it is checked against its data; each data set is loaded once."""
    sharing: dict[Hashable, list[int]] = {}
    for at, scenario in enumerate(scenarios):
        sharing.setdefault(scenario.data.content(scenario.seed), []).append(at)
    files: dict[int, dict[str, Path]] = {}
    for at in (at for group in sharing.values() for at in group):
        files[at] = files_of(scenarios[at], load(scenarios[at], timing_only=timing_only))
    return [files[at] for at in range(len(scenarios))]


def _outcome(task: SweepTask, ended: Ended | None) -> Outcome:
    if ended is None:
        return Outcome(task.name, task.spec.path, "reused")
    return Outcome(task.name, task.spec.path, "complete" if ended.error is None else "failed", ended.error)
