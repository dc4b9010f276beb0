"""Requests to end a run, by a signal, and the policy of saving and resuming it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

CHECKPOINT_EVERY_S = 60.0
"""Host seconds between two checkpoints by default."""


class Interrupted(BaseException):
    """The end of the run was requested, by Ctrl-C or SIGTERM.

    Args:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class Interruption:
    """A request that a run ends between two events of its clock; a second request ends it at once."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._pause: Callable[[], None] | None = None

    @contextmanager
    def by_signals(self) -> Iterator["Interruption"]:
        """Turn SIGINT and SIGTERM into interruption requests (main thread only: no other receives signals)."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def pausing(self, pause: Callable[[], None]) -> Iterator[None]:
        """Call `pause` upon a request, instead of ending at once."""
        self._pause = pause
        try:
            yield
        finally:
            self._pause = None

    def ask(self, number: int = signal.SIGINT) -> None:
        """Request the end.

        Raises:
            Interrupted: if no run is in progress that could pause first, or upon the second request.
        """
        if self._number is not None or self._pause is None:
            self._number = number
            raise Interrupted(number)
        self._number = number
        self._pause()

    def obey(self) -> None:
        """Raise Interrupted if the end was requested."""
        if self._number is not None:
            raise Interrupted(self._number)

    @property
    def is_asked(self) -> bool:
        """Whether the end was requested."""
        return self._number is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.ask(number)


@dataclass(frozen=True)
class ResumePolicy:
    """How runs are resumed: whether at all, how often they are saved, and what interrupts them."""

    resume: bool = False
    """Resume an unfinished run."""
    force: bool = False
    """Resume it even if the code or packages have changed since."""
    checkpoint_every_s: float = CHECKPOINT_EVERY_S
    """Host seconds between checkpoints; 0 for none."""
    interruption: Interruption = field(default_factory=Interruption)
    say: Callable[[str], None] = lambda _: None
    """Receives sentences for the user."""
