"""The simulated clock: SimPy's environment, stepped by hand so that observers stay out of the event queue."""

import simpy

from simulator.errors import InterludeError


class Clock(simpy.Environment):
    """A SimPy environment that counts its events; ties are processed first in, first out."""

    def __init__(self) -> None:
        super().__init__()
        self.num_events = 0
        self.is_stopped = False
        """Whether somebody asked for the end."""

    def stop(self) -> None:
        """Process no more events after this one."""
        self.is_stopped = True

    def advance(self, until_s: float) -> None:
        """Process every event up to and including `until_s`, or until stopped.

        Raises:
            InterludeError: if nothing is left to happen, which means that a process waits for ever.
        """
        queue, step = self._queue, self.step  # what peek() looks at; this loop runs for every event
        num_events = 0
        try:
            while not self.is_stopped:
                if not queue:
                    raise InterludeError(f"nothing is left to happen after {self.now} simulated seconds")
                if queue[0][0] > until_s:
                    return
                step()
                num_events += 1
        finally:
            self.num_events += num_events
