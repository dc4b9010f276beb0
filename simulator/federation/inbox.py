"""The server's inbox of clients that returned: a first-in, first-out queue with one reader."""

from collections import deque
from typing import Generic, TypeVar

from simpy import Environment, Event

T = TypeVar("T")


class Inbox(Generic[T]):
    """As `simpy.Store` with one reader, at one event per wait instead of two per item."""

    def __init__(self, clock: Environment) -> None:
        self._clock = clock
        self.items: deque[T] = deque()
        """Oldest first."""
        self._arrival: Event | None = None

    def put(self, item: T) -> None:
        """Add an item and wake the reader."""
        self.items.append(item)
        if self._arrival is not None:
            self._arrival.succeed()
            self._arrival = None

    def next_arrival(self) -> Event:
        """Return an event that fires when an item is added."""
        if self._arrival is None:
            self._arrival = Event(self._clock)
        return self._arrival
