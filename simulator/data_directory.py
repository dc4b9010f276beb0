"""Where the user's files lie on this machine: data sets, partitions and traces of devices."""

import os
from pathlib import Path

from simulator.errors import BadInputError

DATA_VARIABLE = "INTERLUDE_DATA"
"""The environment variable that names the data directory; worker processes inherit it."""


def set_data_directory(path: Path) -> None:
    """Let this process and those it starts look for data in a directory.

    Raises:
        BadInputError: if it is not one.
    """
    if not path.is_dir():
        raise BadInputError(f"--data-dir: {path} {'is not a directory' if path.exists() else 'does not exist'}")
    os.environ[DATA_VARIABLE] = str(path.resolve())


def data_directory() -> Path | None:
    """Return the directory that the user named; None where nobody named one."""
    named = os.environ.get(DATA_VARIABLE)
    return Path(named) if named else None


def located(path: Path) -> Path:
    """Return where a path of a scenario leads: below the data directory if it is there, else as it is given."""
    directory = data_directory()
    if directory is not None and not path.is_absolute() and (directory / path).exists():
        return directory / path
    return path
