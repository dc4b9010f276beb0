"""Locks of run directories: one process owns a directory from its claim until the record is closed.

A lock is a file that names its owner. It is linked to its name once it is written, which fails where the name is taken,
so it is never seen empty and works on network file systems that lack `flock`; without hard links it is made by O_EXCL.
A process that is killed leaves its lock behind, which counts for nothing once its owner is seen to be dead: on the same
host the process is gone, or its number belongs to a process that started at another time. From another host, or from
another container's processes, that cannot be seen; the message then says which file to delete.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from interlude.simulator.errors import BadInputError

LOCK = ".lock"
_TAKEOVER = ".lock.takeover"

_PATIENCE_S = 2.0  # what another process does to a lock takes microseconds
_LOOK_AGAIN_S = 0.02
_LARGEST_PID = 2**31 - 1


def is_lock_file(name: str) -> bool:
    """Return whether a file of a run directory is one that locking makes."""
    return name == LOCK or name.startswith(f"{LOCK}.")


@dataclass(frozen=True)
class Owner:
    """A process that writes into a run directory."""

    pid: int
    host: str
    since: str
    """When it claimed the directory, in local time."""
    started: str
    """When the process started, in clock ticks since the host's start; empty where that is not told."""
    boot: str
    """Identifies the host's start; empty where that is not told."""
    namespace: str
    """Identifies the processes that it sees, a container's or the host's; empty where that is not told."""

    @classmethod
    def here(cls) -> "Owner":
        """Return this process, as an owner from now on."""
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        pid = os.getpid()
        return cls(pid, socket.gethostname(), since, _started(pid) or "", _boot(), _namespace())

    def is_alive(self) -> bool | None:
        """Return whether the process still runs; None if that cannot be seen from here."""
        if self.host != socket.gethostname() or os.name != "posix":
            return None
        if self.boot != _boot():
            return False
        if self.namespace != _namespace():
            return None
        started = _started(self.pid)
        return started is not None and (started == self.started or not (started and self.started))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} writes there since {self.since}"


def check_free(directory: Path) -> None:
    """Check that no other process owns a directory.

    Raises:
        BadInputError: naming the owner.
    """
    try:
        owner = _owner(directory / LOCK)
    except FileNotFoundError:
        return
    is_alive = False if owner is None else owner.is_alive()
    if is_alive:
        raise BadInputError(f"{directory}: {owner}; wait for it, or stop it")
    if is_alive is None:
        raise BadInputError(
            f"{directory}: {owner}, and whether it still runs cannot be seen from {socket.gethostname()}; if it has "
            f"ended, delete {directory / LOCK}"
        )


@contextmanager
def owned(directory: Path) -> Iterator[None]:
    """Own a directory, which is made if necessary; it is removed again if nothing was written into it.

    Raises:
        BadInputError: if another process owns it, which is named, or it cannot be written.
    """
    me = Owner.here()
    try:
        _acquire(directory, me)
    except OSError as error:
        raise BadInputError(f"{directory}: cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        with suppress(OSError):
            if os.getpid() == me.pid and _owner(directory / LOCK) == me:  # not in a forked process
                (directory / LOCK).unlink()
                directory.rmdir()  # fails unless it is empty


def _acquire(directory: Path, me: Owner) -> None:
    until = time.monotonic() + _PATIENCE_S
    while True:
        directory.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # an owner that wrote nothing has just removed the directory
            if _make(directory / LOCK, json.dumps(asdict(me))):
                return
        check_free(directory)
        if time.monotonic() > until:
            raise BadInputError(
                f"{directory}: another process is about to take it over; if none is, delete {directory / _TAKEOVER}"
            )
        _remove_dead(directory)


def _remove_dead(directory: Path) -> None:
    """Remove a dead owner's lock; one process at a time, lest it removes the lock of the one before it.

    Where there is none there is nothing to remove: the next one that appears is a living owner's.
    """
    lock, takeover = directory / LOCK, directory / _TAKEOVER
    with suppress(FileNotFoundError):
        if not _make(takeover, ""):
            time.sleep(_LOOK_AGAIN_S)
            return
        try:
            owner = _owner(lock)
            is_dead = owner is None or owner.is_alive() is False
            if is_dead and _owner(lock) == owner:  # read again: before it ended it may have made way for another one
                lock.unlink()
        finally:
            takeover.unlink()


def _make(path: Path, text: str) -> bool:
    """Make a file that must not exist, whole from its first moment; returns whether this process made it."""
    written = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        written.write_text(text, encoding="utf-8")
        os.link(written, path)
    except FileExistsError:
        return False
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links, or a full one
        return _make_at_once(path, text)
    finally:
        written.unlink(missing_ok=True)
    return True


def _make_at_once(path: Path, text: str) -> bool:
    """Make a file that must not exist; for a moment it is empty. Returns whether this process made it."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        os.write(descriptor, text.encode())
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(descriptor)
    return True


def _owner(lock: Path) -> Owner | None:
    """Return whose lock it is; None if its owner died before it had written its name.

    Raises:
        FileNotFoundError: if there is no lock.
        BadInputError: if it may not be read.
    """
    until = time.monotonic() + _PATIENCE_S / 4
    while True:
        try:
            owner = Owner(**json.loads(lock.read_text(encoding="utf-8")))
            if 0 < owner.pid <= _LARGEST_PID:
                return owner
        except FileNotFoundError:
            raise
        except PermissionError as error:
            raise BadInputError(f"{lock}: cannot be read, so who owns the directory is not known") from error
        except (OSError, ValueError, TypeError):
            pass
        if time.monotonic() > until:
            return None
        time.sleep(_LOOK_AGAIN_S)  # its owner is about to write its name


def _started(pid: int) -> str | None:
    """Return when a process started; empty where that is not told, None if there is no such process."""
    if os.name != "posix":  # where signal 0 is no question
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:  # it is another user's
        pass
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return None if words[0] in "ZX" else words[19]


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
