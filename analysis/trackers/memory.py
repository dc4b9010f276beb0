"""What a tracker holds already: a small file for each entry, in a folder ``.interlude`` beside the tracker's own."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from interlude.analysis.files import write_files
from interlude.analysis.trackers.points import Cursor
from interlude.simulator.errors import BadInputError

FOLDER = ".interlude"


@dataclass(frozen=True)
class Written:
    """What was written of one entry."""

    name: str = ""
    """``group/name``."""
    num_bytes: int = 0
    """Of metrics.csv."""
    num_points: int = 0
    status: str = ""
    """How the run ended, once its results are written."""
    figures: Mapping[str, str] = field(default_factory=dict)
    """By the figures' names, a digest of the runs that they were drawn from."""

    @property
    def cursor(self) -> Cursor:
        """How far metrics.csv was read."""
        return Cursor(self.num_bytes, self.num_points)


def written(directory: Path, key: str) -> Written:
    """Return what was written of an entry; nothing if it is new.

    Raises:
        BadInputError: if the file that says so is not what was written.
    """
    path = _file(directory, key)
    if not path.exists():
        return Written()
    try:
        return Written(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BadInputError(f"{path}: cannot be read; delete {directory} to write everything again") from error


def remember(directory: Path, key: str, now: Written) -> None:
    """Write down what was written of an entry; raises BadInputError if that is impossible."""
    write_files({_file(directory, key): json.dumps(asdict(now)).encode()})


def names_taken(directory: Path) -> dict[str, str]:
    """Return the keys of all entries by their names, ``group/name``."""
    keys = (path.stem for path in sorted((directory / FOLDER).glob("*.json")))
    return {written(directory, key).name: key for key in keys}


def _file(directory: Path, key: str) -> Path:
    return directory / FOLDER / f"{key}.json"
