"""A run on a node of a Ray cluster: what it is sent, what it sends while it goes on, and what it returns."""

import tempfile
from collections.abc import Iterable, Mapping
from contextlib import chdir, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from interlude.simulator.record.atomic import aside
from interlude.simulator.record.checkpoint import Checkpoints
from interlude.simulator.record.claim import CHECKPOINTS
from interlude.simulator.record.provenance import package_versions
from interlude.simulator.run.interruption import ResumePolicy
from interlude.simulator.run.spec import RunSpec
from interlude.simulator.sweep.worker import execute

_RUNS = Path("runs")

Files = Mapping[str, bytes]
"""Contents of files by path."""


@dataclass(frozen=True)
class Request:
    """A run, as it is sent to a node."""

    name: str
    """Its name in messages."""
    spec: RunSpec
    inputs: Files
    """Files that the scenario reads, by relative path."""
    saved: Files
    """What the run is resumed from, by path in its directory; empty where it begins."""
    packages: Mapping[str, str]
    """Versions that the sweep began with."""
    checkpoint_every_s: float
    """Host seconds between checkpoints; 0 for none."""


@dataclass(frozen=True)
class Returned:
    """The result of a run, as it is sent back."""

    files: Files
    """The run directory's files, by path in it."""
    failure: tuple[str, str | None] | None
    """Why it failed, and the traceback if it adds information."""


class Mailbox:
    """Holds what runs have saved, the latest of each, until the sweep takes it; an actor on the cluster."""

    def __init__(self) -> None:
        self._saved: dict[str, Files] = {}

    def put(self, name: str, files: Files) -> None:
        """Take in what a run has saved."""
        self._saved[name] = files

    def take(self) -> dict[str, Files]:
        """Return what was saved since the last call, by the run's name."""
        saved, self._saved = self._saved, {}
        return saved


def execute_request(request: Request, mailbox: Any) -> Returned:
    """Execute a run in a directory of its own, from the beginning or from where it is saved.

    Args:
        request: the run.
        mailbox: handle of the actor that receives what the run saves.
    """
    here = package_versions()
    others = [
        f"{name} {here[name]}, not {version}" for name, version in request.packages.items() if here[name] != version
    ]
    if others:
        return Returned({}, (f"the node has other versions than the sweep's machine: {', '.join(others)}", None))

    def send(path: Path) -> None:
        with suppress(Exception):  # whatever Ray has against it, the run goes on; lost, it begins again
            mailbox.put.remote(request.name, saved_files(path))

    policy = ResumePolicy(resume=True, checkpoint_every_s=request.checkpoint_every_s, on_saved=send)
    directory = replace(request.spec, runs=_RUNS).path
    with tempfile.TemporaryDirectory() as scratch, chdir(scratch):
        write_files(Path(), request.inputs)
        write_files(directory, request.saved)
        failure = execute(request.spec, _RUNS, str(request.spec.device), None, policy)
        return Returned(_contents(directory, directory.rglob("*")), failure)


def saved_files(path: Path) -> dict[str, bytes]:
    """Return what an unfinished run is resumed from, by path in its directory; its replay writes the timeline again."""
    newest = Checkpoints(path / CHECKPOINTS).files()[:1]
    return _contents(path, [path / "metrics.csv", *newest, path / "run.json"])


def write_files(directory: Path, files: Files) -> None:
    """Write files below a directory, in their order, each whole or not at all."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}")
        with aside(temporary, path):
            temporary.write_bytes(content)


def _contents(directory: Path, paths: Iterable[Path]) -> dict[str, bytes]:
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths if path.is_file()}
