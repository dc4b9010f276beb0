"""Worker processes of one thread each, and the jobs they share with the process that runs the clock.

The process that executes a job never changes its result, so any free process takes it: workers take the oldest jobs,
and the main process itself computes a result that it needs and that no worker has begun.
"""

import os
import pickle
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from itertools import count
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import send_handle
from typing import Any, Protocol

from interlude.simulator.errors import TrainingError
from interlude.simulator.training.workers.shared_models import SharedModels

is_supported = sys.platform != "win32"
"""Whether worker processes are available; they need descriptors that are passed through Unix sockets."""


_COMMAND = "from interlude.simulator.training.workers.worker import main; main()"


class Job(Protocol):
    """A unit of computation."""

    is_done: bool

    @property
    def is_wanted(self) -> bool:
        """Whether its results can still be requested."""
        ...

    def execute(self) -> None:
        """Compute it in this process."""
        ...

    def message(self, models: SharedModels) -> tuple[str, object] | None:
        """Return the message to a worker, its models in shared rows; None if it cannot be sent now."""
        ...

    def accept(self, answer: Any) -> None:
        """Store a worker's answer."""
        ...


class _Worker:
    """A worker process, seen from here."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            paths = [path or os.getcwd() for path in sys.path]
            self.process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # this process handles Ctrl-C and closes the connection
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
            )
        self.connection = Connection(ours.detach())
        self.jobs: dict[int, Job] = {}
        self.setup: object = None
        self.setup_number = 0
        self.is_here = False
        """Whether the process is up and takes messages."""


class WorkerPool:
    """Worker processes, started when they are first needed and kept from run to run; a context manager.

    Args:
        num_workers: processes besides this one.
    """

    def __init__(self, num_workers: int) -> None:
        self._num_wanted = num_workers if is_supported else 0
        self._numbers = count(1)
        self.workers: list[_Worker] = []

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.connection.close()
        for worker in self.workers:
            try:
                worker.process.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                worker.process.kill()  # busy with a job that is no longer wanted
                worker.process.wait()
        self.workers = []
        self._num_wanted = 0

    @property
    def is_wanted(self) -> bool:
        """Whether the pool has workers."""
        return self._num_wanted > 0

    def start(self) -> None:
        """Start the processes unless they are started; returns before they are up, which takes seconds."""
        while len(self.workers) < self._num_wanted:
            self.workers.append(_Worker())

    def wait(self) -> None:
        """Wait until the processes are up, for measurements."""
        self.start()
        for worker in self.workers:
            if not worker.is_here:
                worker.connection.recv()
                worker.is_here = True

    def new_number(self) -> int:
        """Return a message number that is unique in this pool, over all of its runs."""
        return next(self._numbers)

    def lose(self, worker: _Worker) -> None:
        """Drop a worker that died."""
        self._num_wanted -= 1
        self.workers.remove(worker)
        worker.connection.close()
        worker.process.kill()
        worker.process.wait()


class JobQueue:
    """The jobs of one run.

    Args:
        pool: worker processes, which take jobs after `begin`; None for this process alone.
        most_at_once: jobs queued at a worker, so that it never waits for the next.
    """

    def __init__(self, pool: WorkerPool | None, most_at_once: int) -> None:
        self._pool = pool
        self._most_at_once = most_at_once
        self._setup: bytes | None = None
        self._models: SharedModels | None = None
        self._descriptors: tuple[int, ...] = ()
        self._queue: deque[Job] = deque()

    @property
    def has_help(self) -> bool:
        """Whether workers take jobs."""
        return self._setup is not None

    def begin(self, setup: object, models: SharedModels, descriptors: tuple[int, ...]) -> None:
        """Let workers take jobs from now on.

        Args:
            setup: describes this run to a worker.
            models: the models that workers see.
            descriptors: file descriptors of the shared memory.
        """
        assert self._pool is not None
        self._setup = pickle.dumps(setup)
        self._models = models
        self._descriptors = descriptors
        self._pool.start()

    def put(self, job: Job) -> None:
        """Add a job; it is executed when a process is free, at the latest when it is needed."""
        self._queue = deque(waiting for waiting in self._queue if waiting.is_wanted)
        self._queue.append(job)

    def bring_forward(self, jobs: Iterable[Job]) -> None:
        """Let jobs that nothing has begun be executed first, in this order, so that no result waits for its reader."""
        waits = set(self._queue)
        first = dict.fromkeys(job for job in jobs if job in waits)
        self._queue = deque([*first, *(waiting for waiting in self._queue if waiting not in first)])

    def finish(self, job: Job) -> None:
        """Finish a job: execute it here, or execute others until a worker has finished it."""
        while not job.is_done:
            self._collect(timeout_s=0.0)
            if job.is_done:
                return
            ours = job if job in self._queue else self._queue[0] if self._queue else None
            if ours is None:
                assert self._pool is not None, "a job that is neither done nor waiting is at a worker"
                assert any(job in worker.jobs.values() for worker in self._pool.workers)
                self._collect(timeout_s=None)
                continue
            self._queue.remove(ours)
            self._feed()
            try:
                ours.execute()
            except BaseException:
                self._queue.appendleft(ours)
                raise

    def finish_all(self) -> None:
        """Finish every job that is wanted."""
        while True:
            self._queue = deque(waiting for waiting in self._queue if waiting.is_wanted)
            if self._queue:
                self.finish(self._queue[0])
            elif self.has_help and self._pool is not None and any(map(self._has_jobs, self._pool.workers)):
                self._collect(timeout_s=None)
            else:
                return

    def _has_jobs(self, worker: _Worker) -> bool:
        """Return whether a worker is at work for this run."""
        return worker.setup is self._setup and bool(worker.jobs)

    def poll(self) -> None:
        """Read workers' answers, and send them more jobs."""
        self._collect(timeout_s=0.0)
        self._feed()

    def _feed(self) -> None:
        if self._pool is None or self._models is None:
            return
        for worker in [worker for worker in self._pool.workers if worker.is_here]:
            try:
                while self._queue and len(worker.jobs) < self._most_at_once:
                    message = self._queue[0].message(self._models)
                    if message is None:
                        return
                    self._send(worker, message, self._queue.popleft())
            except (BrokenPipeError, ConnectionResetError):
                self._lose(worker)

    def _send(self, worker: _Worker, message: tuple[str, object], job: Job) -> None:
        assert self._pool is not None
        is_new = worker.setup is not self._setup
        if is_new:
            worker.jobs.clear()  # left over from an earlier run
        number = self._pool.new_number()
        worker.jobs[number] = job  # first, so that it is not lost if the worker has died
        if is_new:
            worker.setup_number = self._pool.new_number()
            worker.connection.send(("setup", worker.setup_number, self._setup))
            for descriptor in self._descriptors:
                send_handle(worker.connection, descriptor, worker.process.pid)
            worker.setup = self._setup
        kind, body = message
        worker.connection.send((kind, number, pickle.dumps(body)))

    def _collect(self, timeout_s: float | None) -> None:
        """Read answers; without a time limit, wait for at least one."""
        if self._pool is None or self._setup is None:
            return
        busy = {worker.connection: worker for worker in self._pool.workers if worker.jobs or not worker.is_here}
        for connection in wait(list(busy), timeout_s) if busy else ():
            assert isinstance(connection, Connection)
            worker = busy[connection]
            try:
                while connection.poll():
                    self._take(worker, *connection.recv())
            except (EOFError, ConnectionResetError):
                self._lose(worker)

    def _take(self, worker: _Worker, number: int, is_good: bool, answer: Any) -> None:
        worker.is_here = True
        job = worker.jobs.pop(number, None)
        is_ours = number == worker.setup_number or (job is not None and job.is_wanted)
        if not is_good and is_ours:
            if job is not None:
                self._queue.appendleft(job)  # if it is requested again, it fails in this process
            sentence, trace = answer
            raise TrainingError(sentence) from RuntimeError(trace)
        if job is not None and is_good:
            job.accept(answer)

    def _lose(self, worker: _Worker) -> None:
        """Continue without a worker that died; other processes take its jobs."""
        assert self._pool is not None
        self._queue.extendleft(reversed(list(worker.jobs.values())))
        self._pool.lose(worker)
