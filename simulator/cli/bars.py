"""Progress bars, if there is a terminal."""

from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@dataclass(frozen=True)
class Pace:
    """How fast something advances, from where it was first seen."""

    done: float
    """Share that was done, in [0, 1]."""
    host_s: float

    def left(self, done: float, host_s: float) -> str:
        """Return the host time left in words, a comma in front; empty while it is unknown, and at the end."""
        if not self.done < done < 1.0:
            return ""
        left_s = (1.0 - done) / (done - self.done) * (host_s - self.host_s)
        return f", ETA {timedelta(seconds=round(left_s))}"


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
