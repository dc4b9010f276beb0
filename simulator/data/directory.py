"""The data directory of this machine.

It holds each data set in the layout of its publishers, e.g. ``mnist/train-images-idx3-ubyte.gz``. Raw files that take
long to read are prepared once and kept in ``prepared`` below it, or below ``INTERLUDE_CACHE``.
"""

import os
from pathlib import Path

from interlude.simulator.errors import BadInputError, shown
from interlude.simulator.files import DATA_VARIABLE, data_directory, located

CACHE_VARIABLE = "INTERLUDE_CACHE"


def need_data_directory(dataset: str, otherwise: str | None = None) -> Path:
    """Return the directory of all data sets.

    Args:
        dataset: which is read from it.
        otherwise: what else can be done where none is named, for the sentence.

    Raises:
        BadInputError: if none is named, or it does not exist.
    """
    found = data_directory()
    if found is None:
        raise BadInputError(
            f"data.dataset: '{dataset}' is read from files; say where with --data-dir DIR or {DATA_VARIABLE}"
            f"{'' if otherwise is None else f', {otherwise}'}"
        )
    if not found.is_dir():
        raise BadInputError(f"{DATA_VARIABLE}: {found} is not a directory")
    return found


def need_located(path: Path, field: str) -> Path:
    """Return the location of a scenario's path: below the data directory, or else in the working directory.

    What lies beside the scenario is an absolute path by now.

    Args:
        path: absolute or relative.
        field: the scenario's field that gives it.

    Raises:
        BadInputError: if it is relative, does not exist, and no data directory is named.
    """
    found = located(path)
    try:
        found.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # a name that is too long, or holds a null byte
        raise BadInputError(f"{field}: {shown(path)}: {getattr(error, 'strerror', None) or error}") from error
    if found.is_absolute() or found.exists():
        return found
    directory = data_directory()
    if directory is None:
        raise BadInputError(
            f"{field}: {shown(path)} is neither beside the scenario nor where the command runs; say where the data "
            f"directory is with --data-dir DIR or {DATA_VARIABLE}, or give an absolute path"
        )
    return directory / path


def cache_directory(dataset: str) -> Path:
    """Return where a data set's prepared files are."""
    named = os.environ.get(CACHE_VARIABLE)
    return (Path(named) if named else need_data_directory(dataset) / "prepared") / dataset
