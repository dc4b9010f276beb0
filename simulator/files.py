"""Files: the data directory, hashes of contents, locks of directories, and reading what others wrote."""

import errno
import hashlib
import math
import os
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from interlude.simulator.errors import BadFileError, BadInputError, InterludeError, shortened

DATA_VARIABLE = "INTERLUDE_DATA"
"""The environment variable that names the data directory; worker processes inherit it."""

_LOCK = ".lock"
WITH_FILES = ("data", "world")
"""Sections of a scenario that name files."""
PATHS = ("file", "path")
"""Fields of theirs that are paths."""
OPTIONS = "options"
"""A field whose own fields are those of a user's function: what they mean is not known."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_CHUNK_BYTES = 1 << 20
_LOOK_AGAIN_S = 0.1
_LONGEST_REASON = 120


def set_data_directory(path: Path) -> None:
    """Set the data directory of this process and those it starts.

    Raises:
        BadInputError: if it is not a directory.
    """
    if not path.is_dir():
        raise BadInputError(f"--data-dir: {path} {'is not a directory' if path.exists() else 'does not exist'}")
    os.environ[DATA_VARIABLE] = str(path.resolve())


def data_directory() -> Path | None:
    """Return the directory that the user named; None if none is named."""
    named = os.environ.get(DATA_VARIABLE)
    return Path(named) if named else None


def located(path: Path) -> Path:
    """Return the location of a scenario's path: below the data directory if it exists there, else as given."""
    directory = data_directory()
    if directory is not None and not path.is_absolute() and os.path.exists(directory / path):  # even a name too long
        return directory / path
    return path


def need_regular(path: Path) -> Path:
    """Return a path once it is known to be a regular file: a pipe or a device may never end.

    Raises:
        BadFileError: if it is missing, or not a regular file.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a null byte in its name
        raise BadFileError(f"cannot read '{path}': {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(mode):
        raise BadFileError(f"cannot read '{path}': it is not a file{', but a directory' * stat.S_ISDIR(mode)}")
    return path


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever the reader of a file format raises into one sentence: it depends on which byte is damaged.

    Args:
        path: the file.
        what: what it should be, e.g. ``an image``.

    Raises:
        BadFileError: if it cannot be read.
    """
    try:
        yield
    except InterludeError:
        raise
    except Exception as error:
        reason = shortened(error, _LONGEST_REASON) or type(error).__name__
        raise BadFileError(f"{path}: is damaged or not {what}: {reason}") from error


def host_memory_bytes() -> float:
    """Return the memory of this machine; infinite where it is not known."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError):  # not Unix
        return math.inf


def short_names(paths: Iterable[Path]) -> dict[str, Path]:
    """Return files by the shortest ends of their paths that tell them apart: the same names after all have moved."""
    remaining, names, num_parts = list(dict.fromkeys(paths)), {}, 1
    while remaining:
        ends = Counter(path.parts[-num_parts:] for path in remaining)
        for path in remaining:
            if ends[path.parts[-num_parts:]] == 1:
                names["/".join(path.parts[-num_parts:])] = path
        remaining = [path for path in remaining if ends[path.parts[-num_parts:]] > 1]
        num_parts += 1
    return names


def without_folders(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scenario as plain data, with absolute paths of its files cut to their last part: they may have moved.

    Only those of data and world are cut: their files count by their digests. What a path means among the options of a
    method, or of a user's function, is not known here.
    """
    return {key: _cut(node) if key in WITH_FILES else node for key, node in scenario.items()}


def _cut(node: Any, key: str = "") -> Any:
    if isinstance(node, dict) and key != OPTIONS:
        return {name: _cut(child, name) for name, child in node.items()}
    if isinstance(node, list):
        return [_cut(child) for child in node]
    return Path(node).name if key in PATHS and isinstance(node, str) and Path(node).is_absolute() else node


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hash of a file's content; computed once for each state of the file."""
    state = path.stat()
    return _digest(path, algorithm, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1 << 12)
def _digest(path: Path, algorithm: str, _modified_ns: int, _num_bytes: int) -> str:
    hashed = hashlib.new(algorithm)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hashed.update(chunk)
    return hashed.hexdigest()


@contextmanager
def only_one(directory: Path, busy: str, *, wait_s: float = 0.0, hint: str = "") -> Iterator[IO[bytes]]:
    """Hold the lock of a directory, which is made if necessary; without effect on systems without such locks.

    Args:
        directory: only one process may write into it.
        busy: message if another process holds the lock, e.g. ``another sweep is at work there``.
        wait_s: host seconds to wait for the other process.
        hint: message if the directory cannot be written, e.g. how to name another.

    Yields:
        The locked file. A process that inherits its descriptor holds the lock, too.

    Raises:
        BadInputError: if another holds the lock, or the directory cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / _LOCK).open("ab")
    except OSError as error:
        reason = error.strerror or error
        raise BadInputError(f"{directory}: cannot be written: {reason}{'; ' if hint else ''}{hint}") from error
    with lock:
        until = time.monotonic() + wait_s
        while not _acquire(lock):
            if time.monotonic() > until:
                raise BadInputError(f"{directory}: {busy}; wait for it, or stop it")
            time.sleep(_LOOK_AGAIN_S)
        yield lock


def _acquire(lock: IO[bytes]) -> bool:
    """Try to take the lock of an open file; it lasts until every process that holds the file has closed it.

    Where the system, or a network file system, has no such locks, every process gets it: each run directory has a lock
    of another kind (`interlude.simulator.record.lock`).
    """
    try:
        import fcntl  # noqa: PLC0415
    except ImportError:  # not Unix
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
