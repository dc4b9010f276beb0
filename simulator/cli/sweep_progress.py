"""Shows a sweep: one bar over all runs and a line for each in progress, or plain lines without a terminal."""

import time

from rich.console import Console
from rich.markup import escape
from rich.progress import TaskID

from interlude.simulator.cli.bars import Bars, Pace
from interlude.simulator.cli.progress import status
from interlude.simulator.run.observer import Moment
from interlude.simulator.sweep.runs import Ended, Event, Lost, Moved, Started

_LINE_EVERY_S = 60.0
"""Without a terminal a line about the whole sweep is written every so many host seconds."""


class SweepDisplay(Bars):
    """A context manager to pass to `run_sweep` as its watcher.

    Args:
        console: where it is shown.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._num_runs = 0
        self._num_done = 0
        self._num_failed = 0
        self._whole: TaskID | None = None
        self._bars: dict[str, TaskID] = {}
        self._done: dict[str, float] = {}
        self._num_left = 1
        self._pace = Pace(0.0, time.monotonic())
        self._next_line_host_s = self._pace.host_s + _LINE_EVERY_S

    def begin(self, num_runs: int, num_finished: int) -> None:
        """Show the number of runs, and of those finished before."""
        self._num_runs = num_runs
        self._num_done = num_finished
        if num_finished:
            self._say(f"{num_finished} of {num_runs} runs were finished before and are not run again")
        self._num_left = max(num_runs - num_finished, 1)
        if self._console.is_terminal:
            self._whole = self._progress.add_task("all runs", total=self._num_left, status=self._count())

    def see(self, event: Event) -> None:
        """Show an event of the sweep."""
        name = event.task.name
        match event:
            case Started():
                self._add_bar(name)
            case Moved(moment=moment):
                self._move_bar(name, moment)
            case Lost(how=how, is_saved=is_saved):
                self._remove_bar(name)
                then = "goes on where it was saved" if is_saved else "begins again"
                self._say(f"{name}: its process was lost, {how}; the run {then}")
            case Ended(error=error):
                self._remove_bar(name)
                self._num_done += 1
                self._num_failed += error is not None
                self._done[name] = 1.0
                self._say(
                    f"{self._num_done}/{self._num_runs} {name}: {'complete' if error is None else f'failed: {error}'}"
                )
        if self._whole is None:
            self._say_where_it_is()
        else:
            self._progress.update(self._whole, completed=sum(self._done.values()), status=self._count())

    def _add_bar(self, name: str) -> None:
        if self._console.is_terminal:
            self._bars[name] = self._progress.add_task(escape(name), total=1.0, status="")

    def _move_bar(self, name: str, moment: Moment) -> None:
        self._done[name] = moment.done
        if name in self._bars:
            self._progress.update(self._bars[name], completed=moment.done, status=status(moment))

    def _remove_bar(self, name: str) -> None:
        self._done.pop(name, None)
        if name in self._bars:
            self._progress.remove_task(self._bars.pop(name))

    def _say_where_it_is(self) -> None:
        """Write a line about the whole sweep, unless the last one is too recent."""
        host_s = time.monotonic()
        if host_s >= self._next_line_host_s:
            self._next_line_host_s = host_s + _LINE_EVERY_S
            done = sum(self._done.values()) / self._num_left
            self._say(f"all runs: {done:.0%}, {self._count()} runs finished{self._pace.left(done, host_s)}")

    def _count(self) -> str:
        failed = f", {self._num_failed} failed" if self._num_failed else ""
        return f"{self._num_done} of {self._num_runs}{failed}"

    def _say(self, sentence: str) -> None:
        self._console.print(escape(sentence), soft_wrap=True)
