"""How a run survives: when a checkpoint is written, and what a signal brings about.

A run is saved at a quiet moment, between two events of its clock: when some host seconds are over, or when somebody
asks it to end (Ctrl-C, SIGTERM). Nothing of this changes what a run computes.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from interlude.simulator.federation.clock import Clock
from interlude.simulator.record.checkpoint import Checkpoints
from interlude.simulator.record.snapshot import CannotHoldError
from interlude.simulator.record.writer import writing

CHECKPOINT_EVERY_S = 60.0
_LEAST_PAUSE = 20.0
"""Host seconds between two checkpoints per second that the last one took: saving costs at most 5 %."""


class Interrupted(BaseException):
    """Somebody asked for the end.

    Args:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class Interruption:
    """A wish that a run ends at its next quiet moment; a second wish ends it at once."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._pause: Callable[[], None] | None = None

    @contextmanager
    def by_signals(self) -> Iterator["Interruption"]:
        """Let Ctrl-C and SIGTERM mean it; in a process's main thread only, as no other is told of signals."""
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
        """Call `pause` when the wish comes, instead of ending at once."""
        self._pause = pause
        try:
            yield
        finally:
            self._pause = None

    def ask(self, number: int = signal.SIGINT) -> None:
        """Ask for the end.

        Raises:
            Interrupted: where nobody can bring things to a quiet moment, or the second time.
        """
        if self._number is not None or self._pause is None:
            self._number = number
            raise Interrupted(number)
        self._number = number
        self._pause()

    def obey(self) -> None:
        """End, if somebody asked for it: raises Interrupted."""
        if self._number is not None:
            raise Interrupted(self._number)

    @property
    def is_asked(self) -> bool:
        """Whether somebody asked for the end."""
        return self._number is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.ask(number)


@dataclass(frozen=True)
class ResumePolicy:
    """What is done so that runs survive."""

    resume: bool = False
    """Go on with an unfinished run."""
    force: bool = False
    """Go on even if the code or packages have changed since."""
    checkpoint_every_s: float = CHECKPOINT_EVERY_S
    """Host seconds between checkpoints; 0 for none."""
    interruption: Interruption = field(default_factory=Interruption)
    say: Callable[[str], None] = lambda _: None
    """Told in sentences what a user should know."""


class Checkpointer:
    """Saves one run.

    Args:
        checkpoints: where to.
        survival: when.
    """

    def __init__(self, checkpoints: Checkpoints, survival: ResumePolicy) -> None:
        self._checkpoints = checkpoints
        self._every_s = survival.checkpoint_every_s
        self._interruption = survival.interruption
        self._timer: threading.Timer | None = None
        self._is_due = False
        self.why_not: str | None = None
        """Why this run cannot be saved."""

    @contextmanager
    def watching(self, clock: Clock) -> Iterator[None]:
        """Pause a clock whenever its run is to be saved or to end."""
        self._clock = clock
        with self._interruption.pausing(clock.pause):
            try:
                yield
            finally:
                self._every_s = 0.0
                if self._timer is not None:
                    self._timer.cancel()

    def begin(self) -> None:
        """Count host seconds from now on."""
        self._interruption.obey()
        self._wait(self._every_s)

    def act(self, num_events: int, state: Callable[[], Any]) -> None:
        """Save the run if that is due, and end it if somebody asked for that.

        Raises:
            Interrupted: if so.
            RecordError: if a checkpoint cannot be written.
        """
        if self._is_due or (self._interruption.is_asked and self._every_s > 0.0):
            began_s = time.perf_counter()
            self._save(num_events, state)
            self._is_due = False
            self._wait(max(self._every_s, _LEAST_PAUSE * (time.perf_counter() - began_s)))
        self._interruption.obey()

    def _save(self, num_events: int, state: Callable[[], Any]) -> None:
        try:
            with writing(self._checkpoints.directory):
                self._checkpoints.save(num_events, state())
        except CannotHoldError as error:
            self.why_not = str(error)

    def _wait(self, host_s: float) -> None:
        if self._every_s > 0.0 and self.why_not is None:
            self._timer = threading.Timer(host_s, self._wish)
            self._timer.daemon = True
            self._timer.start()

    def _wish(self) -> None:
        self._is_due = True
        self._clock.pause()
