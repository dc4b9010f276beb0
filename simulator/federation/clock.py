"""The simulated clock: SimPy's environment, stepped by hand so that observers stay out of the event queue."""

from collections.abc import Callable

import simpy

from simulator.errors import InterludeError


class Clock(simpy.Environment):
    """A SimPy environment that counts its events; ties are processed first in, first out."""

    def __init__(self) -> None:
        super().__init__()
        self.num_events = 0

    def advance(self, until_s: float, stop: Callable[[], bool]) -> None:
        """Process every event up to and including `until_s`, or until `stop()` holds after an event.

        Raises:
            InterludeError: if nothing is left to happen, which means that a process waits for ever.
        """
        while not stop():
            next_s = self.peek()
            if next_s > until_s:
                if next_s == float("inf"):
                    raise InterludeError(f"nothing is left to happen after {self.now} simulated seconds")
                return
            self.step()
            self.num_events += 1
