"""Runs of a sweep on a Ray cluster; their files come back through Ray, so no disk has to be shared.

So does what a run saves while it goes on: if its node is lost, or the sweep ends, it is resumed there on any node.

This code travels along with the runs, so nodes need the dependencies in the same versions and nothing else. A method
of the user's own (``my_package.my_module:MyMethod``) must be importable there. Files that a scenario reads by a
relative path are sent along; one with an absolute path, or above the working directory, must be on every node.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from interlude.simulator.errors import BadInputError, InterludeError, RecordError, one_line
from interlude.simulator.record.atomic import write_json
from interlude.simulator.record.checkpoint import Checkpoints
from interlude.simulator.record.claim import CHECKPOINTS, make_room
from interlude.simulator.record.contents import sealed
from interlude.simulator.record.lock import owned
from interlude.simulator.record.provenance import package_versions
from interlude.simulator.run.interruption import CHECKPOINT_EVERY_S
from interlude.simulator.sweep.ray_node import (
    Files,
    Mailbox,
    Request,
    Returned,
    execute_request,
    saved_files,
    write_files,
)
from interlude.simulator.sweep.runs import Ended, Event, Started, SweepQueue, SweepTask

_POLL_S = 1.0
_CONNECT_S = 5.0
_PROBE_S = 60.0
_ADDRESS = re.compile(r"(?:ray://)?(?P<host>[^\s/:]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
_PROBE = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False); ray.shutdown()"


class RayCluster:
    """Executes runs as Ray tasks; one that dies with its worker or node goes on where it was saved, once.

    Args:
        address: of the cluster: ``host:port``, ``ray://host:port`` or ``auto``; None: RAY_ADDRESS, or a Ray of its own
            on this machine.
        cpus_per_run: CPUs that Ray sets aside for a run.
        gpus_per_run: GPUs that Ray sets aside for a run, 0.5 for two runs a GPU.
        jobs: most runs at a time; None: as many as fit on the cluster.
        checkpoint_every_s: host seconds between checkpoints of a run; 0 for none.
    """

    def __init__(
        self,
        address: str | None = None,
        cpus_per_run: float = 1.0,
        gpus_per_run: float = 0.0,
        jobs: int | None = None,
        checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    ) -> None:
        self._address = address or os.environ.get("RAY_ADDRESS") or "local"
        self._cpus_per_run = cpus_per_run
        self._gpus_per_run = gpus_per_run
        self._jobs = jobs
        self._checkpoint_every_s = checkpoint_every_s

    def choose_device(self, name: str) -> torch.device:
        """Return where runs train: on a GPU where one is set aside for them, unless told otherwise."""
        if name == "auto":
            return torch.device("cuda" if self._gpus_per_run > 0 else "cpu")
        if name not in ("cpu", "cuda"):
            raise BadInputError(f"--device: must be one of auto, cpu, cuda with --executor ray; given '{name}'")
        if name == "cuda" and not self._gpus_per_run:
            raise BadInputError("--device: 'cuda' with --executor ray needs --gpus-per-run above 0; given 0")
        return torch.device(name)

    def check(self, num_runs: int) -> None:
        """Raise BadInputError, within a bounded time, if Ray is not available."""
        del num_runs
        if find_spec("ray") is None:
            raise BadInputError("--executor ray: Ray is not installed; install it with pip install 'interlude[ray]'")
        if self._address != "local":
            _check_reachable(self._address)

    def play(self, tasks: Sequence[SweepTask], keep_open: Sequence[int]) -> Generator[Event, None, None]:
        """Execute runs."""
        del keep_open  # only this process writes into run directories
        if not tasks:
            return
        ray = import_module("ray")
        own = {"include_dashboard": False} if self._address == "local" else {}
        with tempfile.TemporaryDirectory() as luggage:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(Path(__file__).parents[2], Path(luggage) / "interlude", ignore=ignored)
            luggage_of_runs = {"working_dir": luggage}
            try:
                ray.init(self._address, runtime_env=luggage_of_runs, log_to_driver=False, logging_level="error", **own)
            except (ConnectionError, OSError, RuntimeError, ValueError) as error:
                raise InterludeError(f"Ray at '{self._address}' cannot be used: {one_line(error)}") from error
        try:
            yield from self._play(ray, SweepQueue(tasks))
        finally:
            ray.shutdown()

    def _play(self, ray: Any, waiting: SweepQueue) -> Iterator[Event]:
        remote = ray.remote(num_cpus=self._cpus_per_run, num_gpus=self._gpus_per_run, max_retries=0)(execute_request)
        post = _Post(ray)
        under_way: dict[Any, SweepTask] = {}
        while len(waiting) or under_way:
            while len(waiting) and (self._jobs is None or len(under_way) < self._jobs):
                task = waiting.take()
                try:
                    under_way[remote.remote(_request(task, self._checkpoint_every_s), post.mailbox)] = task
                except OSError as error:
                    yield Ended(task, one_line(error))
                    continue
                yield Started(task)
            ready = ray.wait(list(under_way), num_returns=1, timeout=_POLL_S)[0] if under_way else []
            saved = post.taken()
            for task in under_way.values():
                if task.name in saved:
                    _keep(task, saved[task.name])
            for reference in ready:
                task = under_way.pop(reference)
                try:
                    returned: Returned = ray.get(reference)
                except ray.exceptions.RayTaskError as error:  # the node could not even read the request
                    yield Ended(task, one_line(error.cause or error), str(error))
                except ray.exceptions.RayError as error:
                    yield waiting.lose(task, f"as Ray says: {_first_line(error)}")
                else:
                    yield _take(task, returned)


class _Post:
    """The sweep's end of the mailbox.

    Args:
        ray: the package.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self.mailbox = ray.remote(num_cpus=0, max_restarts=-1)(Mailbox).remote()
        """Handle of the actor."""
        self._asked = self.mailbox.take.remote()

    def taken(self) -> dict[str, Files]:
        """Return what runs have saved since the last time; nothing while the mailbox moves to another node."""
        if not self._ray.wait([self._asked], timeout=0)[0]:
            return {}
        try:
            taken: dict[str, Files] = self._ray.get(self._asked)
        except self._ray.exceptions.RayError:
            taken = {}
        self._asked = self.mailbox.take.remote()
        return taken


def _request(task: SweepTask, checkpoint_every_s: float) -> Request:
    spec = task.spec
    inputs = {
        given.as_posix(): path.read_bytes()
        for given, path in spec.scenario.files().items()
        if not given.is_absolute() and ".." not in given.parts
    }
    saved = saved_files(spec.path) if task.is_saved() else {}
    return Request(task.name, spec, inputs, saved, package_versions(), checkpoint_every_s)


def _keep(task: SweepTask, saved: Files) -> None:
    """Write what a run in progress has saved into its directory, from which it is resumed; an older one is removed."""
    path = task.spec.path
    with suppress(OSError, BadInputError), owned(path):  # what cannot be kept is not resumed
        write_files(path, saved)
        for file in Checkpoints(path / CHECKPOINTS).files():
            if file.relative_to(path).as_posix() not in saved:
                file.unlink()


def _take(task: SweepTask, returned: Returned) -> Ended:
    """Write a run's files into its directory; run.json, written last, says that it is complete."""
    failure = returned.failure or (None, None)
    if "run.json" not in returned.files:
        return Ended(task, *failure)
    info = json.loads(returned.files["run.json"])
    if info["code"] != task.identity["code"]:
        return Ended(task, "the node ran other code than the sweep's; is another interlude installed there?")
    path = task.spec.path
    try:
        with owned(path):
            make_room(path)
            write_json(path / "run.json", sealed({**info, "status": "running"}))
            write_files(path, dict(sorted(returned.files.items(), key=lambda file: (file[0] == "run.json", file[0]))))
    except (OSError, BadInputError, RecordError) as error:
        return Ended(task, one_line(error))
    return Ended(task, *failure)


def _check_reachable(address: str) -> None:
    """Raise BadInputError if no Ray answers; a subprocess tries, as Ray may block for long or end its process."""
    match = _ADDRESS.fullmatch(address)
    if match is None and address != "auto":
        raise BadInputError(f"--ray-address: must be auto, host:port or ray://host:port; given '{address}'")
    if match is not None:
        try:
            with socket.create_connection((match["host"].strip("[]"), int(match["port"])), timeout=_CONNECT_S):
                pass
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or one_line(error)
            raise BadInputError(f"--ray-address: nothing answers at '{address}' ({reason})") from error
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BadInputError(f"--ray-address: no Ray answers at '{address}' within {_PROBE_S:.0f} s") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise BadInputError(
            f"--ray-address: no Ray to use at '{address}' ({lines[-1] if lines else 'no reason given'})"
        )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
