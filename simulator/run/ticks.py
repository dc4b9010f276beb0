"""Ticks of host time, at which a run in progress reports how far it is."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_EVERY_S = 1.0


class Ticks:
    """Whether a tick is due."""

    def __init__(self) -> None:
        self._is_due = True  # a run reports at once

    def give(self) -> None:
        """Make a tick due."""
        self._is_due = True

    def take(self) -> bool:
        """Return whether a tick is due, and wait for the next one."""
        is_due, self._is_due = self._is_due, False
        return is_due


@contextmanager
def ticking(pause: Callable[[], None]) -> Iterator[Ticks]:
    """Call `pause` at once and every second of host time, from another thread, with a tick due."""
    ticks, is_over = Ticks(), threading.Event()

    def tick() -> None:
        while not is_over.wait(_EVERY_S):
            ticks.give()
            pause()

    thread = threading.Thread(target=tick, daemon=True)
    pause()
    thread.start()
    try:
        yield ticks
    finally:
        is_over.set()
        thread.join()
