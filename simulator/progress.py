"""Shows a run: a bar with simulated clock, accuracy and time left, or plain lines where there is no terminal."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from simulator.experiment import Moment

_LINE_EVERY = 0.25


class ProgressDisplay:
    """A context manager to pass to `run_scenario` as its watcher.

    Args:
        console: where it is shown.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.shown: set[str] = set()
        """Labels of the runs that played; a finished run that was reused did not."""
        self._bars: dict[str, TaskID] = {}
        self._next_line: dict[str, float] = {}
        self._progress = Progress(
            TextColumn("{task.description:<16}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console,
        )

    def __enter__(self) -> Self:
        """Start showing."""
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""
        if self._console.is_terminal:
            self._progress.stop()

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
