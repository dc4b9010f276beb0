"""Checkpoint files: written to a temporary name and renamed, the last two kept, named after a checksum.

    checkpoint/<events>-<first half of the SHA-256>.safetensors

A file holds the bytes of tensors, and as one more tensor of bytes the JSON that describes them
(`interlude.simulator.record.snapshot`). Nothing in it is pickled.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from interlude.simulator.record.snapshot import CannotHoldError, decode, encode

_NAME = re.compile(r"(?P<events>\d{12})-(?P<digest>[0-9a-f]{32})\.safetensors")
_NUM_KEPT = 2
_STATE = "state"


class DamagedError(Exception):
    """A checkpoint file whose content is not what was written."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run between two of its events."""

    num_events: int
    """Events of the clock that had been processed."""
    state: Any
    """The state passed to `Checkpoints.save`."""


class Checkpoints:
    """The checkpoints of a run.

    Args:
        directory: holds the files; need not exist.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def files(self) -> list[Path]:
        """Return the files, the newest first."""
        found = [path for path in self.directory.glob("*.safetensors") if _NAME.fullmatch(path.name) and path.is_file()]
        return sorted(found, key=lambda path: path.name, reverse=True)

    def save(self, num_events: int, state: Any) -> int:
        """Write a checkpoint, and remove all but the last two; returns its size in bytes.

        Raises:
            CannotHoldError: if the state holds something of an unknown kind.
            OSError: if it cannot be written; earlier ones are kept.
        """
        data, blobs = encode(state)
        text = json.dumps({"events": num_events, "state": data}).encode()
        content = save({**blobs, _STATE: torch.frombuffer(bytearray(text), dtype=torch.uint8)})
        digest = hashlib.sha256(content).hexdigest()[:32]
        path = self.directory / f"{num_events:012d}-{digest}.safetensors"
        self.directory.mkdir(parents=True, exist_ok=True)
        temporary = self.directory / ".new"
        try:
            with temporary.open("wb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_directory(self.directory)
        before = [file for file in self.files() if _num_events(file) < num_events]
        kept = [path, *before[: _NUM_KEPT - 1]]  # one of a later moment was skipped: it is damaged or cannot be reached
        for file in self.files():
            if file not in kept:
                file.unlink()
        return len(content)

    def usable(
        self, device: torch.device, complain: Callable[[str], None], lacks: Callable[[Any], str | None] = lambda _: None
    ) -> Iterator[Checkpoint]:
        """Yield the checkpoints that are intact and fit the rest of the record, the newest first.

        Args:
            device: for tensors that were not on the CPU.
            complain: receives a sentence about each other one.
            lacks: returns a clause about why a state does not fit the rest of the record; None if it fits.
        """
        for path in self.files():
            try:
                checkpoint = read(path, device)
                reason = lacks(checkpoint.state)
            except DamagedError as error:
                reason = str(error)
            if reason is None:
                yield checkpoint
            else:
                complain(f"{path}: {reason}, so this checkpoint is not used")

    def clear(self) -> None:
        """Remove all of them."""
        for path in [*self.files(), self.directory / ".new"]:
            path.unlink(missing_ok=True)
        if self.directory.is_dir() and not any(self.directory.iterdir()):
            self.directory.rmdir()

    def tidy_up(self) -> None:
        """Remove those of a complete run, which needs none; where that fails or is cut short, they harm nothing."""
        with suppress(OSError):
            self.clear()


def read(path: Path, device: torch.device) -> Checkpoint:
    """Return the checkpoint in a file.

    Raises:
        DamagedError: if the file is not what was written.
    """
    match = _NAME.fullmatch(path.name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"cannot be read ({error.strerror or error})") from error
    if match is None or hashlib.sha256(content).hexdigest()[:32] != match["digest"]:
        raise DamagedError("is damaged (its content is not what its checksum says)")
    try:
        blobs: dict[str, Tensor] = load(content)
        data = json.loads(blobs[_STATE].numpy().tobytes())
        return Checkpoint(data["events"], decode(data["state"], blobs, device))
    except (SafetensorError, CannotHoldError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DamagedError(f"cannot be understood ({error})") from error


def _num_events(path: Path) -> int:
    """Return the events of the clock before a checkpoint, from the name of its file."""
    return int(path.name.partition("-")[0])


def _sync_directory(directory: Path) -> None:
    """Flush a directory, so that a rename in it survives a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
