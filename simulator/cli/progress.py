"""Shows a run: a bar with simulated clock, accuracy and time left, or plain lines without a terminal."""

from rich.console import Console
from rich.progress import TaskID

from interlude.simulator.cli.bars import Bars
from interlude.simulator.run.observer import Moment

_LINE_EVERY = 0.25


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
        self._next_line: dict[str, float] = {}

    def __call__(self, moment: Moment) -> None:
        """Show a moment of a run."""
        self.shown.add(moment.label)
        status = f"t = {moment.time_s:,.0f} s, version {moment.version}"
        if moment.accuracy is not None:
            status += f", accuracy {moment.accuracy:.3f}"
        if self._console.is_terminal:
            if moment.label not in self._bars:
                self._bars[moment.label] = self._progress.add_task(moment.label, total=1.0, status=status)
            self._progress.update(self._bars[moment.label], completed=moment.done, status=status)
        elif moment.done >= self._next_line.get(moment.label, 0.0):
            self._next_line[moment.label] = moment.done + _LINE_EVERY
            self._console.print(f"{moment.label}: {moment.done:.0%}, {status}", soft_wrap=True)
