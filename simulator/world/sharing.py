"""How one link is shared by transfers that each have a limit of their own: max-min fairness, in O(log n) per change.

No rate can be raised without lowering another that is not larger (Bertsekas, Gallager, Data Networks, 1992, section
6.5.2): a transfer's rate is the smaller of its limit and the *level*, the same for all, at which the capacity is
used up unless all are at their limits. Nothing is counted per transfer when shares change:

- Transfers of equal limits move at equal rates. They are one class, which counts the bytes that each of them has moved
  since the class began; a transfer ends when that count has grown by its bytes.
- A class whose limit is below the level moves at its limit, so its next end is a moment that no change moves.
- The others move at the level, so their next ends come in the order of one common count, the level's virtual time.
- A change of the level moves classes between these two kinds, those whose limits it passes.
"""

from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_NO_BYTES = 1e-6  # rounding error of a finished transfer
_UNITS = 2.0**60
"""Of a byte per second: rates are summed as whole numbers, so that sums do not depend on what came and went before."""


@dataclass(slots=True, eq=False)
class _Class:
    """The transfers of one limit."""

    limit: float
    """Bytes per second."""
    units: int
    """The limit in `_UNITS`."""
    size: int = 0
    is_at_limit: bool = False
    moved: float = 0.0
    """Bytes that a transfer has moved since the class began, as of `since`."""
    since: float = 0.0
    """A moment where the class is at its limit, else a value of the level's count."""
    ends: list[tuple[float, int, "Share"]] = field(default_factory=list)
    """Heap: the value of the class's count at which a transfer ends; stale where it left before."""
    place: tuple[float, int, "_Class"] | None = None
    """The valid entry among the limits of its kind."""
    due: tuple[float, int, "_Class"] | None = None
    """The valid entry among the next ends of its kind."""


@dataclass(slots=True, eq=False)
class Share:
    """One transfer's part of a link."""

    owner: Any
    number: int
    """In the order in which transfers came."""
    of: _Class
    ends_at: float
    """The value of its class's count at which it ends."""
    is_over: bool = False


_Heap = list[tuple[float, int, _Class]]


class FairLink(Generic[T]):
    """Transfers that share a capacity max-min fair.

    Moments are simulated seconds; they must not decrease from call to call.

    Args:
        capacity: bytes per second of all transfers together.
    """

    def __init__(self, capacity: float) -> None:
        self._capacity = capacity
        self._units_left = _units(capacity)
        """What classes at their limits leave of the capacity to the others."""
        self._classes: dict[float, _Class] = {}
        self._num_entries = 0
        self._num_at_level = 0
        """Transfers in classes that are not at their limits."""
        self._level = inf
        self._count, self._counted_s = 0.0, 0.0
        """Bytes that a transfer at the level has moved since one was first there, and the moment of this count."""
        self._lowest: _Heap = []
        """Classes that are not at their limits, by limit."""
        self._highest: _Heap = []
        """Classes at their limits, by negative limit."""
        self._due_at_level: _Heap = []
        """By the value of the level's count at which a transfer ends."""
        self._due_at_limit: _Heap = []
        """By the moment at which a transfer ends."""

    def add(self, now_s: float, num_bytes: float, limit: float, owner: T) -> Share:
        """Add a transfer.

        Args:
            now_s: the moment.
            num_bytes: number of bytes, may be fractional.
            limit: its largest rate in bytes per second; positive, infinite where it has none.
            owner: what `finished` returns.
        """
        self._advance(now_s)
        limit = min(limit, self._capacity)
        this = self._classes.get(limit)
        if this is None:
            this = self._classes[limit] = _Class(limit, _units(limit))
            self._put_at_level(this, now_s)
        self._resize(this, 1)
        share = Share(owner, self._next_number(), this, self._moved(this, now_s) + num_bytes)
        heappush(this.ends, (share.ends_at, share.number, share))
        if this.ends[0][2] is share:
            self._enter_due(this)
        self._allocate(now_s)
        return share

    def remove(self, now_s: float, share: Share) -> float:
        """Remove a transfer, and return the bytes that it has left."""
        self._advance(now_s)
        num_bytes = self.bytes_left(now_s, share)
        self._end(share)
        self._allocate(now_s)
        return num_bytes

    def bytes_left(self, now_s: float, share: Share) -> float:
        """Return the bytes that a transfer has left at a moment, if shares do not change before it."""
        return max(0.0, share.ends_at - self._moved(share.of, now_s))

    def finished(self, now_s: float) -> list[T]:
        """Remove the transfers that are through, and return their owners in the order in which they came."""
        self._advance(now_s)
        through: list[Share] = []
        for heap in (self._due_at_limit, self._due_at_level):
            while (due := _first(heap, "due")) is not None and self._is_through(due, now_s):
                through.append(due.ends[0][2])
                self._end(due.ends[0][2])
        if through:
            self._allocate(now_s)
        return [share.owner for share in sorted(through, key=lambda share: share.number)]

    def next_end_s(self) -> float:
        """Return when the next transfer is through, if shares do not change before; infinite if there is none."""
        end_s = inf
        if _first(self._due_at_limit, "due") is not None:
            end_s = self._due_at_limit[0][0]
        if _first(self._due_at_level, "due") is not None:
            left = max(0.0, self._due_at_level[0][0] - self._count)
            end_s = min(end_s, self._counted_s + left / self._level)
        return end_s

    def _is_through(self, this: _Class, now_s: float) -> bool:
        """Return whether the next transfer of a class has nothing left but a rounding error."""
        left = self.bytes_left(now_s, this.ends[0][2])
        return left <= _NO_BYTES or now_s + left / min(this.limit, self._level) <= now_s

    def _end(self, share: Share) -> None:
        """Take a transfer out of its class."""
        share.is_over = True
        this, was_next = share.of, share.of.ends[0][2] is share
        self._resize(this, -1)
        if not this.size:
            this.place = this.due = None
            del self._classes[this.limit]
        elif was_next:
            while this.ends[0][2].is_over:
                heappop(this.ends)
            self._enter_due(this)

    def _resize(self, this: _Class, change: int) -> None:
        this.size += change
        if this.is_at_limit:
            self._units_left -= change * this.units
        else:
            self._num_at_level += change

    def _allocate(self, now_s: float) -> None:
        """Find the level, and the classes on either side of it; it only rises in the course of this."""
        while (top := _first(self._highest, "place")) is not None:
            if top.units * self._num_at_level <= self._units_left:
                break
            self._put_at_level(top, now_s)
        while (bottom := _first(self._lowest, "place")) is not None:
            if bottom.units * self._num_at_level > self._units_left:
                break
            self._put_at_limit(bottom, now_s)
        if self._num_at_level:
            self._level = self._units_left / self._num_at_level / _UNITS
        else:
            self._level, self._count = inf, 0.0
            self._due_at_level.clear()

    def _put_at_level(self, this: _Class, now_s: float) -> None:
        """Let a class at its limit, or a new one, move at the level."""
        if this.is_at_limit:
            self._units_left += this.size * this.units
            this.moved = self._moved(this, now_s)
        this.is_at_limit, this.since = False, self._count_at(now_s)
        self._num_at_level += this.size
        this.place = (this.limit, self._next_number(), this)
        heappush(self._lowest, this.place)
        if this.ends:
            self._enter_due(this)

    def _put_at_limit(self, this: _Class, now_s: float) -> None:
        """Let a class that moved at the level move at its limit."""
        this.moved = self._moved(this, now_s)
        this.is_at_limit, this.since = True, now_s
        self._num_at_level -= this.size
        self._units_left -= this.size * this.units
        this.place = (-this.limit, self._next_number(), this)
        heappush(self._highest, this.place)
        self._enter_due(this)

    def _enter_due(self, this: _Class) -> None:
        """Enter the next end of a class."""
        left = this.ends[0][0] - this.moved
        if this.is_at_limit:
            this.due = (this.since + left / this.limit, self._next_number(), this)
            heappush(self._due_at_limit, this.due)
        else:
            this.due = (this.since + left, self._next_number(), this)
            heappush(self._due_at_level, this.due)

    def _moved(self, this: _Class, now_s: float) -> float:
        """Return the value of a class's count at a moment."""
        if this.is_at_limit:
            return this.moved + this.limit * (now_s - this.since)
        return this.moved + (self._count_at(now_s) - this.since)

    def _advance(self, now_s: float) -> None:
        """Bring the level's count up to a moment at which shares change."""
        self._count, self._counted_s = self._count_at(now_s), now_s

    def _count_at(self, now_s: float) -> float:
        """Return the value of the level's count at a moment."""
        passed_s = now_s - self._counted_s
        return self._count + self._level * passed_s if self._num_at_level and passed_s > 0.0 else self._count

    def _next_number(self) -> int:
        self._num_entries += 1
        return self._num_entries


def _first(heap: _Heap, name: str) -> _Class | None:
    """Return the class of a heap's first entry that is still the class's own; None if there is none."""
    while heap:
        if getattr(heap[0][2], name) is heap[0]:
            this: _Class = heap[0][2]
            return this
        heappop(heap)
    return None


def _units(rate: float) -> int:
    return int(rate * _UNITS)
