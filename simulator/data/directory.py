"""Where data sets lie on this machine.

A data directory holds each data set in the layout its publishers use, e.g. ``mnist/train-images-idx3-ubyte.gz``. What
takes long to read is prepared once and kept in ``prepared`` below it, or below ``INTERLUDE_CACHE``.
"""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from simulator.errors import BadInputError

DATA_VARIABLE = "INTERLUDE_DATA"
"""The environment variable that names the data directory; worker processes inherit it."""
CACHE_VARIABLE = "INTERLUDE_CACHE"

_CHUNK_BYTES = 1 << 20


def set_data_directory(path: Path) -> None:
    """Let this process and those it starts look for data in a directory.

    Raises:
        BadInputError: if it is not one.
    """
    if not path.is_dir():
        raise BadInputError(f"--data-dir: {path} {'is not a directory' if path.exists() else 'does not exist'}")
    os.environ[DATA_VARIABLE] = str(path.resolve())


def data_directory() -> Path | None:
    """Return the directory of all data sets; None where nobody named one."""
    named = os.environ.get(DATA_VARIABLE)
    return Path(named) if named else None


def need_data_directory(dataset: str) -> Path:
    """Return the directory of all data sets.

    Raises:
        BadInputError: if nobody named one, or it does not exist.
    """
    found = data_directory()
    if found is None:
        raise BadInputError(
            f"data.dataset: '{dataset}' is read from files; say where with --data-dir DIR or {DATA_VARIABLE}"
        )
    if not found.is_dir():
        raise BadInputError(f"{DATA_VARIABLE}: {found} is not a directory")
    return found


def located(path: Path, field: str) -> Path:
    """Return where a path of a scenario leads: relative ones lead below the data directory.

    Args:
        path: absolute or relative.
        field: where it stands in the scenario.

    Raises:
        BadInputError: if it is relative and nobody named a data directory.
    """
    if path.is_absolute():
        return path
    found = data_directory()
    if found is None:
        raise BadInputError(
            f"{field}: '{path}' is looked for in the data directory; say where with --data-dir DIR or {DATA_VARIABLE}, "
            "or give an absolute path"
        )
    return found / path


def cache_directory(dataset: str) -> Path:
    """Return where a data set's prepared files are."""
    named = os.environ.get(CACHE_VARIABLE)
    return (Path(named) if named else need_data_directory(dataset) / "prepared") / dataset


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
