"""Writes a run, or a scenario's figures, to a tracker: only what it does not hold yet."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from interlude.analysis.trackers.entries import entry_of, figures_of, renamed, results_of
from interlude.analysis.trackers.interface import Channel, Entry, Tracker
from interlude.analysis.trackers.memory import names_taken, remember, written
from interlude.analysis.trackers.points import points_after
from interlude.simulator.record.reader import RunRecord


class Feed:
    """The way of one entry into a tracker; it is opened there when there is something new.

    Args:
        tracker: where to.
        entry: of the run, or of the figures.
    """

    def __init__(self, tracker: Tracker, entry: Entry) -> None:
        self._tracker = tracker
        self._entry = renamed(entry, names_taken(tracker.directory))
        self._written = replace(written(tracker.directory, entry.key), name=f"{self._entry.group}/{self._entry.name}")
        self._channel: Channel | None = None

    def add_points(self, metrics: Path) -> int:
        """Write the new evaluations of a metrics.csv; returns how many there were."""
        points, cursor = points_after(metrics, self._written.cursor)
        if points:
            self._open().add(points)
            self._remember(num_bytes=cursor.num_bytes, num_points=cursor.num_points)
        return len(points)

    def conclude(self, record: RunRecord) -> None:
        """Write what a run came to, once it has a result."""
        status = str(record.info["status"])
        if record.has_result and self._written.status != status:
            self._open().conclude(results_of(record), status)
            self._remember(status=status)

    def figures_lacking(self, names: Sequence[str], stamp: str) -> list[str]:
        """Return the figures that were not drawn from what the stamp stands for."""
        return [name for name in names if self._written.figures.get(name) != stamp]

    def add_figures(self, figures: Mapping[str, bytes | None], stamp: str) -> None:
        """Write figures, PNG by name or None for one that does not apply, and remember from what they are drawn."""
        for name, png in figures.items():
            if png is not None:
                self._open().add_figure(name, png)
        self._remember(figures={**self._written.figures, **dict.fromkeys(figures, stamp)})

    def close(self) -> None:
        """End writing."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _open(self) -> Channel:
        if self._channel is None:
            self._channel = self._tracker.open(self._entry)
        return self._channel

    def _remember(self, **changes: object) -> None:
        self._written = replace(self._written, **changes)  # type: ignore[arg-type]
        remember(self._tracker.directory, self._entry.key, self._written)


def feed_of(tracker: Tracker, record: RunRecord) -> Feed:
    """Return the way of a run into a tracker."""
    return Feed(tracker, entry_of(record))


def feed_of_figures(tracker: Tracker, group: str) -> Feed:
    """Return the way of a scenario's figures into a tracker."""
    return Feed(tracker, figures_of(group))
