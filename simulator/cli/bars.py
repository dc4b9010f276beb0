"""Progress bars, if there is a terminal."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Bars:
    """A context manager that shows bars on a terminal, and nothing without one.

    Args:
        console: shows the bars.
        width: width of the column of names.
    """

    def __init__(self, console: Console, width: int = 0) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn(f"{{task.description:<{width}}}" if width else "{task.description}"),
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
