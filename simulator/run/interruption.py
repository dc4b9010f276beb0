"""Requests to end a run, by signals, and the policy of saving and resuming it.

A signal handler may be called in the middle of anything: an event of the clock, a merge, the writing of a file. So it
only notes the request while a run is in progress, and the run looks for requests between two events. Before and after,
where nothing can be spoiled, the first request raises `Interrupted` on the spot.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

CHECKPOINT_EVERY_S = 60.0
"""Host seconds between two checkpoints by default."""

_REQUESTS_OBEYED = 2
"""A run in progress ends by itself after one request (it is saved) or two (it is not)."""


class Interrupted(BaseException):
    """The end of the run was requested, by Ctrl-C or SIGTERM.

    Args:
        number: the signal; the only argument, so that SimPy can copy the error.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        """Return what happened."""
        return f"interrupted by {signal.Signals(self.number).name}"

    @property
    def exit_code(self) -> int:
        """The exit code of a process that ends by this signal."""
        return 128 + self.number


class Interruption:
    """Requests that a run ends between two events of its clock: the first saves it, the second skips that."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._num_requests = 0
        self._num_deferring = 0
        self._pause: Callable[[], None] | None = None
        self._leave: Callable[[Interrupted], None] | None = None

    @contextmanager
    def by_signals(self, leave: Callable[[Interrupted], None] | None = None) -> Iterator["Interruption"]:
        """Turn SIGINT and SIGTERM into interruption requests (main thread only: no other receives signals).

        After a request they are ignored from the end of the block on, since the process is about to end.

        Args:
            leave: called upon one more request where a process takes long to end; it ends the process on the spot.
                Every file of a run is consistent at any moment, so this spoils no more than a kill.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        self._leave = leave
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_IGN if self.is_asked else handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note requests; `obey` raises them."""
        self._num_deferring += 1
        try:
            yield
        finally:
            self._num_deferring -= 1

    @contextmanager
    def pausing(self, pause: Callable[[], None]) -> Iterator[None]:
        """Note requests, and call `pause` upon each of them, or at once if there was one before."""
        with self.deferred():
            self._pause = pause
            try:
                if self.is_asked:
                    pause()
                yield
            finally:
                self._pause = None

    def ask(self, number: int = signal.SIGINT) -> None:
        """Request the end.

        Raises:
            Interrupted: upon the first request, unless requests are deferred.
        """
        is_first = self._number is None
        self._num_requests += 1
        if self._number is None:
            self._number = number
        if self._pause is not None:
            self._pause()
        if is_first and not self._num_deferring:
            raise Interrupted(self._number)
        if self._leave is not None and self._num_requests > (_REQUESTS_OBEYED if self._num_deferring else 1):
            self._leave(Interrupted(self._number))

    def obey(self) -> None:
        """Raise Interrupted if the end was requested."""
        if self._number is not None:
            raise Interrupted(self._number)

    @property
    def is_asked(self) -> bool:
        """Whether the end was requested."""
        return self._number is not None

    @property
    def is_urgent(self) -> bool:
        """Whether it was requested more than once, so that the run is not saved any more."""
        return self._num_requests > 1

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
    on_saved: Callable[[Path], None] = lambda _: None
    """Receives the directory of a run that was saved."""
