"""A link of the server that transfers share: max-min fair, re-allocated whenever one starts, ends or is held."""

from interlude.simulator.federation.clock import Clock, Sleeper
from interlude.simulator.world.sharing import FairLink, Share

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

    __slots__ = ("bytes_left", "is_over", "is_through", "join_s", "limit", "link", "owner", "share", "until_s")

    def __init__(
        self, link: "SharedLink", latency_s: float, num_bytes: float, limit: float, until_s: float, owner: Sleeper
    ) -> None:
        self.link = link
        self.join_s = link.clock.now + latency_s
        self.bytes_left = num_bytes
        """As of the time before it reached the link, and after it is over."""
        self.limit = limit
        self.share: Share | None = None
        """Its part of the link, while it has one."""
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
        return self.bytes_left if self.share is None else self.link.bytes_left_at(end_s, self.share)

    def end(self, bytes_left: float) -> None:
        """Wake the owner."""
        owner = self.owner
        del self.owner  # the clock may keep this transfer until its interruption would have been due
        self.bytes_left, self.share = bytes_left, None
        self.is_over, self.is_through = True, bytes_left <= _NO_BYTES
        owner.wake()


class SharedLink(Sleeper):
    """One direction of the server's link.

    Args:
        clock: the simulated clock.
        capacity: bytes per second of all transfers together.
    """

    def __init__(self, clock: Clock, capacity: float) -> None:
        self.clock = clock
        self._fair: FairLink[Transfer] = FairLink(capacity)
        self._wakes_s = float("inf")
        """The next moment of the clock at which it is woken, no later than the next end of a transfer."""

    def join(self, transfer: Transfer) -> None:
        """Add a transfer and re-allocate shares."""
        transfer.share = self._fair.add(self.clock.now, transfer.bytes_left, transfer.limit, transfer)
        self._wake_by_next_end()

    def leave(self, transfer: Transfer) -> None:
        """Interrupt a transfer."""
        bytes_left = transfer.bytes_left
        if transfer.share is not None:
            bytes_left = self._fair.remove(self.clock.now, transfer.share)
            self._wake_by_next_end()
        transfer.end(bytes_left)

    def wake(self) -> None:
        """End the finished transfers."""
        if self.clock.now != self._wakes_s:
            return  # a moment before this one was entered since
        self._wakes_s = float("inf")
        through = self._fair.finished(self.clock.now)
        self._wake_by_next_end()
        for transfer in through:
            transfer.end(0.0)

    def bytes_left_at(self, end_s: float, share: Share) -> float:
        """Return the bytes that a transfer has left at a moment, if shares do not change before it."""
        return self._fair.bytes_left(end_s, share)

    def _wake_by_next_end(self) -> None:
        """Enter the next end, unless the link is woken before: then it looks again."""
        end_s = self._fair.next_end_s()
        if end_s < self._wakes_s:
            self._wakes_s = end_s
            self.clock.wake_at(end_s, self)
