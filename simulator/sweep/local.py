"""Runs of a sweep on this machine, in processes of one thread each, sized to its cores and memory."""

import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch

from interlude.simulator.errors import BadInputError, InterludeError, one_line
from interlude.simulator.run.devices import choose_devices
from interlude.simulator.run.interruption import CHECKPOINT_EVERY_S
from interlude.simulator.sweep.runs import Ended, Event, Moved, Started, SweepQueue, SweepTask
from interlude.simulator.training.host import num_cores

_COMMAND = "from interlude.simulator.sweep.worker import main; main()"
_BYTES_PER_RUN = 1e9
"""Memory that is reserved for a process: runs of 16 to 100 small clients were measured at 0.5 to 0.7 GB."""
_MOST_FALSE_STARTS = 3
_PATIENCE_S = 5.0
_SAVING_S = 60.0
"""Host seconds that an interrupted run may take to finish its wave and save itself."""


class LocalProcesses:
    """Executes runs in processes on this machine; one that dies takes no other with it.

    Args:
        jobs: runs at a time; None: as many as cores and memory allow, and one on each accelerator.
        checkpoint_every_s: host seconds between checkpoints of a run; 0 for none.
    """

    def __init__(self, jobs: int | None = None, checkpoint_every_s: float = CHECKPOINT_EVERY_S) -> None:
        self.jobs = jobs
        self._devices = [torch.device("cpu")]
        self._checkpoint_every_s = checkpoint_every_s
        self._workers: list[SweepWorker] = []
        self._false_starts = 0

    def choose_device(self, name: str) -> torch.device:
        """Return the device of the runs, the first of several; raises BadInputError if one is not available."""
        self._devices = choose_devices(name)
        if self.jobs is None:
            self.jobs = default_jobs() if self._devices[0].type == "cpu" else len(self._devices)
        return self._devices[0]

    def check(self, num_runs: int) -> None:
        """Raise BadInputError on systems where processes cannot inherit a connection."""
        del num_runs
        if sys.platform == "win32":
            raise BadInputError("--executor local: needs Linux or macOS; on Windows use WSL, or --executor ray")

    def play(self, tasks: Sequence[SweepTask], keep_open: Sequence[int]) -> Generator[Event, None, None]:
        """Execute runs.

        Args:
            tasks: the runs.
            keep_open: descriptors that each process inherits.

        Raises:
            InterludeError: if processes die before they take a run.
        """
        waiting = SweepQueue(tasks)
        try:
            while len(waiting) or any(worker.task is not None for worker in self._workers):
                self._start(len(waiting), keep_open)
                for worker in [worker for worker in self._workers if worker.is_ready and worker.task is None]:
                    yield from self._give(worker, waiting)
                if not len(waiting) and all(worker.task is None for worker in self._workers):
                    continue
                by_connection = {worker.connection: worker for worker in self._workers}
                for connection in wait(list(by_connection)):
                    assert isinstance(connection, Connection)
                    yield from self._hear(by_connection[connection], waiting)
        finally:
            self._stop()

    def _start(self, num_waiting: int, keep_open: Sequence[int]) -> None:
        """Start as many workers as there are runs for."""
        num_busy = sum(worker.task is not None for worker in self._workers)
        while len(self._workers) < min(self.jobs or 1, num_busy + num_waiting):
            self._workers.append(SweepWorker(keep_open, self._least_busy()))

    def _least_busy(self) -> torch.device:
        """Return the device that the fewest workers have; the first of equals."""
        taken = [worker.device for worker in self._workers]
        return min(self._devices, key=taken.count)

    def _hear(self, worker: "SweepWorker", waiting: SweepQueue) -> Iterator[Event]:
        try:
            kind, said = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._lose(worker, waiting)
            return
        if kind == "ready":
            worker.is_ready = True
            self._false_starts = 0
        elif worker.task is not None and kind == "moved":
            yield Moved(worker.task, said)
        elif worker.task is not None and kind == "ended":
            task, worker.task = worker.task, None
            yield Ended(task, *(said or ()))

    def _give(self, worker: "SweepWorker", waiting: SweepQueue) -> Iterator[Event]:
        """Send a run to an idle worker."""
        if not len(waiting):
            return
        task = waiting.take()
        yield Started(task)
        try:
            if not task.is_saved():
                task.make_room()
            message = pickle.dumps((replace(task.spec, device=worker.device), self._checkpoint_every_s))
        except (OSError, BadInputError, pickle.PicklingError) as error:
            yield Ended(task, one_line(error))
            return
        worker.task = task
        with suppress(BrokenPipeError):  # the death of a worker is noticed when its connection is read
            worker.connection.send_bytes(message)

    def _lose(self, worker: "SweepWorker", waiting: SweepQueue) -> Iterator[Event]:
        self._workers.remove(worker)
        how = worker.reap()
        if worker.task is not None:
            yield Ended(worker.task) if worker.task.is_finished() else waiting.lose(worker.task, how)
        elif not worker.is_ready:
            self._false_starts += 1
            if self._false_starts >= _MOST_FALSE_STARTS:
                raise InterludeError(f"worker processes cannot be started: the last one was {how}")

    def _stop(self) -> None:
        workers, self._workers = self._workers, []
        try:
            busy = [worker for worker in workers if worker.task is not None]
            for worker in busy:
                worker.request_end()
            until_s = time.monotonic() + _SAVING_S
            for worker in busy:
                worker.wait(until_s - time.monotonic())
        finally:
            for worker in workers:
                worker.connection.close()  # the process then ends itself
            for worker in workers:
                worker.reap()


class SweepWorker:
    """The parent's end of a worker process.

    Args:
        keep_open: descriptors that it inherits.
        device: where its runs train.
    """

    def __init__(self, keep_open: Sequence[int], device: torch.device) -> None:
        ours, theirs = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process is reaped
        with theirs:
            paths = [path or os.getcwd() for path in sys.path]
            self._process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, str(theirs.fileno())],
                pass_fds=[theirs.fileno(), *keep_open],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C is for the sweep, which ends its workers
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
            )
        self.connection = Connection(ours.detach())
        self.device = device
        self.task: SweepTask | None = None
        self.is_ready = False
        """Whether it has started and takes runs."""

    def request_end(self) -> None:
        """Request that the current run is saved and the process ends."""
        self._process.terminate()

    def wait(self, most_s: float) -> None:
        """Wait for the process to end."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, most_s))

    def reap(self) -> str:
        """Wait for the process to end and return how it ended."""
        self.connection.close()
        try:
            code = self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        with self._errors as errors:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        how = f"killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        return f"{how} ({said})" if said else how


def default_jobs() -> int:
    """Return how many runs this machine takes at a time: one per core, and no more than fit into free memory."""
    free = available_memory_bytes()
    return max(1, num_cores() if free is None else min(num_cores(), int(free // _BYTES_PER_RUN)))


def available_memory_bytes(root: Path = Path("/")) -> float | None:
    """Return the memory available to processes here, a control group's limit included; None if unknown."""
    found = [_mem_available(root / "proc/meminfo"), _left_in_group(root / "sys/fs/cgroup")]
    return min((free for free in found if free is not None), default=None)


def _mem_available(file: Path) -> float | None:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None


def _left_in_group(folder: Path) -> float | None:
    try:
        limit = float((folder / "memory.max").read_text(encoding="ascii"))
        used = float((folder / "memory.current").read_text(encoding="ascii"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        return limit - used + float(stat["file"])  # cached files can be evicted
    except (OSError, ValueError, KeyError):  # "max": no limit
        return None


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
