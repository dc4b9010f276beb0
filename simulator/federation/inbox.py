"""The server's inbox of clients that returned: a first-in, first-out queue with one reader."""

from collections import deque
from typing import Generic, TypeVar

from simpy import Environment, Event

T = TypeVar("T")


class Inbox(Generic[T]):
    """As `simpy.Store` with one reader, at one event per wait instead of two per item."""

    def __init__(self, clock: Environment) -> None:
        self._clock = clock
        self._items: deque[T] = deque()
        self._arrival: Event | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Add an item and wake the reader."""
        self._items.append(item)
        if self._arrival is not None:
            self._arrival.succeed()
            self._arrival = None

    def take(self) -> T:
        """Remove and return the oldest item; the inbox must not be empty."""
        return self._items.popleft()

    def next_arrival(self) -> Event:
        """Return an event that fires when an item is added."""
        if self._arrival is None:
            self._arrival = self._clock.event()
        return self._arrival
