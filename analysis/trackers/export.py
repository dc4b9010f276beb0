"""Finished runs, and runs in progress, into a tracker."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from interlude.analysis.choices import Choices
from interlude.analysis.figures import KINDS, draw_applicable, render
from interlude.analysis.runs import by_world, title_of
from interlude.analysis.trackers.entries import stamp_of
from interlude.analysis.trackers.feed import Feed, feed_of, feed_of_figures
from interlude.analysis.trackers.interface import Tracker
from interlude.simulator.errors import BadInputError, InterludeError, nearest, one_line, shown
from interlude.simulator.record.reader import RunRecord

FIGURES = ("accuracy-vs-time", "time-to-accuracy", "efficiency", "staleness")
"""The kinds of figures that are exported unless others are named."""


def export(records: Sequence[RunRecord], tracker: Tracker, kinds: Sequence[str] = FIGURES) -> tuple[int, int]:
    """Write runs and figures to a tracker: what it does not hold yet.

    Args:
        records: complete or diverged runs.
        tracker: where to.
        kinds: of figures; those that do not apply are left out.

    Returns:
        Numbers of evaluations and of figures that were new.

    Raises:
        BadInputError: for an unknown kind of figure.
        InterludeError: if the tracker cannot write; what it has written is remembered.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise BadInputError(
                f"--kind: unknown kind {shown(kind)}; kinds are {', '.join(KINDS)}{nearest(kind, KINDS)}"
            )
    try:
        num_points = sum(_export_run(record, tracker) for record in records)
        return num_points, _export_figures(records, tracker, kinds) if kinds else 0
    except InterludeError:
        raise
    except Exception as error:  # of a package that is not ours
        raise InterludeError(f"{tracker.directory}: {type(error).__name__}: {one_line(error)}") from error


def _export_run(record: RunRecord, tracker: Tracker) -> int:
    record.check("metrics.csv")
    feed = feed_of(tracker, record)
    try:
        num_points = feed.add_points(record.path / "metrics.csv")
        feed.conclude(record)
        return num_points
    finally:
        feed.close()


def _export_figures(records: Sequence[RunRecord], tracker: Tracker, kinds: Sequence[str]) -> int:
    """Write the figures of every world, and those across worlds; returns how many were new."""
    worlds = by_world(records)
    across = [kind for kind in kinds if KINDS[kind].spans_scenarios and len(worlds) > 1]
    within = [kind for kind in kinds if kind not in across]
    groups = [*((name, group, within) for name, group in worlds.items()), (title_of(records), records, across)]
    choices, num_figures = Choices(), 0
    for name, group, wanted in groups:
        feed, stamp = feed_of_figures(tracker, name), stamp_of(group)
        lacking = feed.figures_lacking(wanted, stamp)
        if not lacking:
            continue
        try:
            plots, _ = draw_applicable(group, choices, lacking)
            drawn = {plot.kind: render(plot, "png", choices, dpi=110) for plot in plots}
            feed.add_figures({kind: drawn.get(kind) for kind in lacking}, stamp)
        finally:
            feed.close()
        num_figures += len(drawn)
    return num_figures


class LiveTracking:
    """Writes runs to a tracker while they are in progress, from their records; it never ends a run.

    Args:
        tracker: where to.
        paths: run directories by label.
        say: receives a sentence if the tracker fails, once; no more is written then.
    """

    def __init__(self, tracker: Tracker, paths: Mapping[str, Path], say: Callable[[str], object]) -> None:
        self._tracker = tracker
        self._paths = paths
        self._say = say
        self._feeds: dict[str, Feed] = {}
        self._has_failed = False

    def update(self, label: str) -> None:
        """Write what is new of a run; runs before it are closed."""
        if not self._has_failed:
            self._try(lambda: self._update(label))

    def finish(self, records: Sequence[RunRecord]) -> None:
        """Write the rest, and what the runs came to; records without a result are left out."""
        self.close()
        finished = [record for record in records if record.has_result]
        if finished and not self._has_failed:
            self._try(lambda: export(finished, self._tracker))

    def close(self) -> None:
        """Write what is left of an interrupted run, and close the tracker."""
        for label, feed in self._feeds.items():
            if not self._has_failed:
                self._try(partial(_close, feed, self._paths[label]))
        self._feeds.clear()

    def _update(self, label: str) -> None:
        if label not in self._feeds:
            for other, feed in self._feeds.items():
                _close(feed, self._paths[other])
            self._feeds = {label: feed_of(self._tracker, RunRecord(self._paths[label]))}
        self._feeds[label].add_points(self._paths[label] / "metrics.csv")

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except Exception as error:  # a tracker is no reason to lose a run
            self._has_failed = True
            why = str(error) if isinstance(error, InterludeError) else f"{type(error).__name__}: {one_line(error)}"
            self._say(f"tracking ends, the run does not: {why}; write the rest later with interlude export")


def _close(feed: Feed, path: Path) -> None:
    feed.add_points(path / "metrics.csv")
    feed.close()
