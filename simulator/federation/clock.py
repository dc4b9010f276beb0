"""The simulated clock: SimPy's environment, stepped by hand so that observers stay out of the event queue.

The server is a SimPy process. Clients in flight, of which there are many, are sleepers: entries of SimPy's own queue
that are woken without an event object, a list of callbacks and a process each.
"""

import math
from heapq import heappop, heappush

import simpy
from simpy.events import NORMAL, Condition

from interlude.simulator.errors import InterludeError


class Sleeper:
    """An entry of the event queue that is woken at a moment of simulated time."""

    __slots__ = ()

    def wake(self) -> None:
        """Do what is due now."""
        raise NotImplementedError


def delay_s(now_s: float, at_s: float) -> float:
    """Return the delay from now to a later moment; rounding does not end it before the moment."""
    delay = at_s - now_s
    while now_s + delay < at_s:
        delay = math.nextafter(delay, math.inf)
    return delay


class Clock(simpy.Environment):
    """A SimPy environment that counts its events; ties are processed first in, first out.

    Args:
        most_at_once: events at one instant from which on time stands still, an error.
    """

    def __init__(self, most_at_once: float = math.inf) -> None:
        super().__init__()
        self._most_at_once = most_at_once
        self.num_events = 0
        self.is_stopped = False
        """Whether `stop` was called."""
        self.may_end_idle = False
        """Whether an empty event queue is a regular end: no client will be on again."""
        self._is_halted = False

    def stop(self) -> None:
        """Process no more events after this one."""
        self.is_stopped = self._is_halted = True

    def pause(self) -> None:
        """Return from `advance` after this event; signal handlers and other threads may ask for it."""
        self._is_halted = True

    def resume(self) -> None:
        """Cancel a `pause`."""
        self._is_halted = self.is_stopped

    @property
    def has_failed(self) -> bool:
        """Whether a process has failed whose error is not raised yet: SimPy raises it at a later event."""
        return any(not (isinstance(due, Sleeper) or due.ok or due.defused) for *_, due in self._queue)

    @property
    def is_at_rest(self) -> bool:
        """Whether the event queue is empty and may be."""
        return self.may_end_idle and not self._queue

    @property
    def is_next_a_condition(self) -> bool:
        """Whether the next event is of a process that waits for one of several events."""
        return bool(self._queue) and isinstance(self._queue[0][3], Condition)

    def wake_at(self, at_s: float, sleeper: Sleeper) -> None:
        """Wake a sleeper at a moment, first in, first out among the events of that moment."""
        heappush(self._queue, (at_s, NORMAL, next(self._eid), sleeper))  # type: ignore[misc] # SimPy types its queue for events only

    def advance(self, until_s: float, last_event: float = math.inf) -> bool:
        """Process every event up to and including `until_s`, or until stopped or at rest.

        Args:
            until_s: a moment.
            last_event: process no more than this event, counted from the beginning.

        Returns:
            Whether it reached the moment; false where it was paused or processed its last event first.

        Raises:
            InterludeError: if the event queue is empty while a process waits, which then waits for ever; or if events
                follow each other without end and without time passing.
        """
        queue, step = self._queue, self.step  # what peek() looks at; this loop runs for every event
        num_events = 0
        most_events = last_event - self.num_events
        now_s, most_by_now = self.now, self._most_at_once
        try:
            while num_events < most_events and not self._is_halted:
                if not queue:
                    if self.may_end_idle:
                        return True
                    raise InterludeError(
                        f"event queue empty at t = {self.now:g} s: a process waits for an event that cannot fire"
                    )
                at_s, _, _, due = queue[0]
                if at_s > until_s:
                    return True
                if at_s != now_s:
                    now_s, most_by_now = at_s, num_events + self._most_at_once
                elif num_events >= most_by_now:
                    raise InterludeError(
                        f"time stands still at t = {at_s:g} s: more than {self._most_at_once:,} events at one instant; "
                        "something in 'world' must take time"
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
        return self.is_stopped
