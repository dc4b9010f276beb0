"""Where the server finds who came back: a first-in, first-out queue with one reader."""

from collections import deque
from collections.abc import Generator
from typing import Any, Generic, TypeVar

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

    def get(self, deadline: Event | None = None) -> Generator[Event, Any, T | None]:
        """Wait for the oldest item and take it out; None if a deadline is over first."""
        while not self._items:
            if deadline is not None and deadline.processed:
                return None
            if self._arrival is None:
                self._arrival = self._clock.event()
            yield self._arrival if deadline is None else self._arrival | deadline
        return self._items.popleft()
