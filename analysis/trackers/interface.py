"""What a tracker is told: runs, their points, their results and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from interlude.analysis.trackers.points import Point

Value = str | int | float | bool | None
FIGURES = "figures"
"""The name of the entry that holds the figures of a scenario."""


@dataclass(frozen=True)
class Entry:
    """A run as trackers know it, or the figures of a scenario."""

    key: str
    """Equal for equal runs only: of the same scenario, method, seed, device, files, code and packages."""
    name: str
    """As of the run directory, ``mba-s0``; numbered where a tracker holds another run of the same name."""
    group: str
    """The scenario's name."""
    tags: Mapping[str, str]
    """Method and seed."""
    config: Mapping[str, Value]
    """Fields of the scenario by path; the method's options are ``method.beta``."""


class Channel(Protocol):
    """Writes one entry."""

    def add(self, points: Sequence[Point]) -> None:
        """Write points; they are on the disk, or sent, when it returns."""
        ...

    def conclude(self, results: Mapping[str, float], status: str) -> None:
        """Write what a run came to, by columns of `interlude.analysis.summary.summarise_runs`, and how it ended."""
        ...

    def add_figure(self, name: str, png: bytes) -> None:
        """Write a figure, in place of an earlier one of the same name where the tracker can."""
        ...

    def close(self) -> None:
        """End writing; the same entry may be opened again."""
        ...


class Tracker(Protocol):
    """A program that shows runs, and where its files are."""

    directory: Path
    how_to_open: str
    """The command that shows what was written."""

    def open(self, entry: Entry) -> Channel:
        """Return the writer of an entry, new or to be continued."""
        ...
