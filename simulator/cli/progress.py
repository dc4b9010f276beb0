"""Shows a run: a bar with simulated clock, accuracy and time left, or plain lines without a terminal."""

import time

from rich.console import Console
from rich.progress import TaskID

from interlude.simulator.cli.bars import Bars, Pace
from interlude.simulator.run.observer import Moment

_LINE_EVERY = 0.25
_LINE_EVERY_S = 60.0
"""Without a terminal a line is written at every quarter of a run, and after so many host seconds."""


class ProgressDisplay(Bars):
    """A context manager to pass to `run_scenario` as its watcher.

    Args:
        console: where it is shown.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console, width=16)
        self.shown: set[str] = set()
        """Labels of the runs that were executed, without reused ones."""
        self._bars: dict[str, TaskID] = {}
        self._paces: dict[str, Pace] = {}
        self._next_line: dict[str, float] = {}
        self._next_line_host_s = 0.0

    def __call__(self, moment: Moment) -> None:
        """Show a moment of a run."""
        label = moment.label
        self.shown.add(label)
        if self._console.is_terminal:
            if label not in self._bars:
                self._bars[label] = self._progress.add_task(label, total=1.0, status="")
            self._progress.update(self._bars[label], completed=moment.done, status=status(moment))
            return
        host_s = time.monotonic()
        pace = self._paces.setdefault(label, Pace(moment.done, host_s))
        if moment.done >= self._next_line.get(label, 0.0) or host_s >= self._next_line_host_s:
            self._next_line[label] = (moment.done // _LINE_EVERY + 1.0) * _LINE_EVERY
            self._next_line_host_s = host_s + _LINE_EVERY_S
            left = pace.left(moment.done, host_s)
            self._console.print(f"{label}: {moment.done:.0%}, {status(moment)}{left}", soft_wrap=True)


def status(moment: Moment) -> str:
    """Return a moment of a run in words; an accuracy with the simulated time at which it was the model's."""
    said = f"t = {moment.time_s:,.0f} s, version {moment.version:,}, {moment.local_rounds:,} local rounds"
    evaluated = moment.evaluated
    if evaluated is None:
        return said
    at = "" if evaluated.time_s == moment.time_s else f" at {evaluated.time_s:,.0f} s"
    return f"{said}, accuracy {moment.accuracy:.3f}{at}"
