"""A watcher of runs that shows them, and writes them to a tracker."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from interlude.analysis.trackers.export import LiveTracking
from interlude.analysis.trackers.interface import Tracker
from interlude.simulator.cli.console import inform, say
from interlude.simulator.record.reader import RunRecord
from interlude.simulator.run.observer import Moment, Watcher
from interlude.simulator.run.spec import RunSpec


@contextmanager
def tracking(tracker: Tracker | None, specs: Sequence[RunSpec], display: Watcher) -> Iterator[Watcher]:
    """Return a watcher that shows runs and, if there is a tracker, writes them to it; afterwards all that is left.

    Args:
        tracker: where to; None: nowhere.
        specs: the runs.
        display: shows them.
    """
    if tracker is None:
        yield display
        return
    live = LiveTracking(tracker, {spec.options.run_label: spec.path for spec in specs}, inform)

    def watch(moment: Moment) -> None:
        display(moment)
        live.update(moment.label)

    try:
        yield watch
    except BaseException:
        live.close()
        raise
    live.finish([RunRecord(spec.path) for spec in specs])
    say(f"Open it with: {tracker.how_to_open}")
