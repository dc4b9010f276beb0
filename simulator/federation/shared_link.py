"""A link of the server that transfers share: max-min fair, re-allocated whenever one starts, ends or is held."""

from interlude.simulator.federation.clock import Clock, Sleeper
from interlude.simulator.world.sharing import max_min_rates

_NO_BYTES = 1e-6  # rounding error of a finished transfer


class Transfer(Sleeper):
    """Bytes on their way through a shared link, until they have arrived or are interrupted.

    Args:
        link: the shared link.
        latency_s: time until the first byte reaches the link.
        num_bytes: number of bytes, may be fractional.
        limit: bytes per second of the client's own link.
        until_s: when the transfer is interrupted, in simulated seconds; infinite if never.
        owner: woken once when the transfer is finished or interrupted; `bytes_left` tells which.
    """

    __slots__ = ("bytes_left", "is_over", "is_through", "join_s", "limit", "link", "owner", "rate", "until_s")

    def __init__(
        self, link: "SharedLink", latency_s: float, num_bytes: float, limit: float, until_s: float, owner: Sleeper
    ) -> None:
        self.link = link
        self.join_s = link.clock.now + latency_s
        self.bytes_left = num_bytes
        self.limit = limit
        self.rate = 0.0
        self.until_s = until_s
        self.owner = owner
        self.is_over = False
        self.is_through = False
        if self.join_s < until_s:
            link.clock.wake_at(self.join_s, self)
        if until_s < float("inf"):
            link.clock.wake_at(until_s, self)

    @property
    def latency_left_s(self) -> float:
        """Time until the first byte reaches the link; 0 once it did."""
        return max(0.0, self.join_s - self.link.clock.now)

    def wake(self) -> None:
        """Reach the link, or be interrupted."""
        if self.is_over:
            return
        if self.link.clock.now >= self.until_s:
            self.link.leave(self)
        else:
            self.link.join(self)

    def bytes_left_at(self, end_s: float) -> float:
        """Return the bytes left at a moment, if shares do not change before it."""
        self.link.accrue()
        return max(0.0, self.bytes_left - self.rate * (end_s - self.link.clock.now))

    def end(self, *, is_through: bool) -> None:
        """Wake the owner."""
        owner = self.owner
        del self.owner  # the clock may keep this transfer until its interruption would have been due
        self.is_over, self.is_through = True, is_through
        owner.wake()


class SharedLink(Sleeper):
    """One direction of the server's link.

    Args:
        clock: the simulated clock.
        capacity: bytes per second of all transfers together.
    """

    def __init__(self, clock: Clock, capacity: float) -> None:
        self.clock = clock
        self._capacity = capacity
        self._transfers: list[Transfer] = []
        self._settled_s = 0.0
        self._due_s = float("inf")

    def join(self, transfer: Transfer) -> None:
        """Add a transfer and re-allocate shares."""
        self.accrue()
        self._transfers.append(transfer)
        self._allocate()

    def leave(self, transfer: Transfer) -> None:
        """Interrupt a transfer."""
        self.accrue()
        if transfer in self._transfers:
            self._transfers.remove(transfer)
            self._allocate()
        transfer.end(is_through=transfer.bytes_left <= _NO_BYTES)

    def wake(self) -> None:
        """End the finished transfers."""
        if self.clock.now != self._due_s:
            return  # shares have changed since
        self._due_s = float("inf")
        self.accrue()
        through = [transfer for transfer in self._transfers if self._end_s(transfer) <= self.clock.now]
        self._transfers = [transfer for transfer in self._transfers if transfer not in through]
        self._allocate()
        for transfer in through:
            transfer.bytes_left = 0.0
            transfer.end(is_through=True)

    def accrue(self) -> None:
        """Count the bytes that every transfer has moved since shares last changed."""
        passed_s = self.clock.now - self._settled_s
        self._settled_s = self.clock.now
        if passed_s > 0.0:
            for transfer in self._transfers:
                transfer.bytes_left = max(0.0, transfer.bytes_left - transfer.rate * passed_s)

    def _allocate(self) -> None:
        rates = max_min_rates(self._capacity, [transfer.limit for transfer in self._transfers])
        for transfer, rate in zip(self._transfers, rates, strict=True):
            transfer.rate = rate
        due_s = min(map(self._end_s, self._transfers), default=float("inf"))
        if due_s != self._due_s:
            self._due_s = due_s
            if due_s < float("inf"):
                self.clock.wake_at(due_s, self)

    def _end_s(self, transfer: Transfer) -> float:
        """Return when a transfer finishes at its rate; now if only a rounding error is left."""
        now_s = self.clock.now
        return now_s if transfer.bytes_left <= _NO_BYTES else now_s + transfer.bytes_left / transfer.rate
