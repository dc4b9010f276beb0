"""The simulated clock: SimPy's environment, stepped by hand so that observers stay out of the event queue.

The server is a SimPy process. Clients in flight, of which there are many, are sleepers: entries of SimPy's own queue
that are woken without an event object, a list of callbacks and a process each.
"""

import math
from heapq import heappop, heappush

import simpy
from simpy.events import NORMAL

from simulator.errors import InterludeError, TooManyEventsError


class Sleeper:
    """Something that sleeps until a moment of simulated time."""

    __slots__ = ()

    def wake(self) -> None:
        """Do what is due now."""
        raise NotImplementedError


class Clock(simpy.Environment):
    """A SimPy environment that counts its events; ties are processed first in, first out.

    Args:
        max_events: how many it processes at most; None for no limit.
    """

    def __init__(self, max_events: int | None = None) -> None:
        super().__init__()
        self.num_events = 0
        self._max_events = max_events
        self.is_stopped = False
        """Whether somebody asked for the end."""

    def stop(self) -> None:
        """Process no more events after this one."""
        self.is_stopped = True

    def wake_at(self, at_s: float, sleeper: Sleeper) -> None:
        """Wake a sleeper at a moment, in its turn among the events of that moment."""
        heappush(self._queue, (at_s, NORMAL, next(self._eid), sleeper))  # type: ignore[misc]

    def advance(self, until_s: float) -> None:
        """Process every event up to and including `until_s`, or until stopped.

        Raises:
            InterludeError: if nothing is left to happen, which means that a process waits for ever.
            TooManyEventsError: if there are more events than allowed.
        """
        queue, step = self._queue, self.step  # what peek() looks at; this loop runs for every event
        num_events = 0
        allowed = math.inf if self._max_events is None else self._max_events - self.num_events
        try:
            while not self.is_stopped:
                if not queue:
                    raise InterludeError(f"nothing is left to happen after {self.now} simulated seconds")
                at_s, _, _, due = queue[0]
                if at_s > until_s:
                    return
                if num_events >= allowed:
                    raise TooManyEventsError(
                        f"{self._max_events:,} events, the most that limits.events allows, are over after "
                        f"{self.now:g} simulated seconds"
                    )
                if isinstance(due, Sleeper):
                    heappop(queue)
                    self._now = at_s
                    due.wake()
                else:
                    step()
                num_events += 1
        finally:
            self.num_events += num_events
