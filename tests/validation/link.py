"""Links shaped in user space: a token bucket paces the bytes of a transfer, after the link's latency."""

import asyncio
from dataclasses import dataclass

from wall import WallTime

from interlude.simulator.world.network import Direction, Links

_CHUNK_S = 0.005
"""Of sending; a timer of the event loop is a millisecond late."""
_LEAST_CHUNK_BYTES = 256


class TokenBucket:
    """One token is one byte; it fills at the link's rate up to a capacity, and starts empty.

    Args:
        bytes_per_s: the rate.
        capacity_bytes: most tokens that an idle link saves up.
        now_s: the time.
    """

    def __init__(self, bytes_per_s: float, capacity_bytes: float, now_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._capacity_bytes = capacity_bytes
        self._tokens = 0.0
        self._at_s = now_s

    def take(self, num_bytes: int, now_s: float) -> float:
        """Take tokens, as a debt where there are too few; returns the moment at which none is owed."""
        earned = (now_s - self._at_s) * self._bytes_per_s
        self._tokens = min(self._capacity_bytes, self._tokens + earned) - num_bytes
        self._at_s = now_s
        return now_s + max(0.0, -self._tokens / self._bytes_per_s)


@dataclass(frozen=True)
class Shape:
    """A link during one local round, in one direction."""

    latency_s: float
    bytes_per_s: float


def shape_of(links: Links, client: int, direction: Direction, window: int) -> Shape:
    """Return the shape that a scenario gives a client's link in one local round."""
    return Shape(links.transfer_s(client, direction, 0, window), links.bytes_per_s(client, direction, window))


async def send_shaped(writer: asyncio.StreamWriter, body: bytes, shape: Shape, time: WallTime) -> None:
    """Send bytes over a shaped link: each chunk leaves once the bucket has paid for it."""
    begins_s = time.now_s() + shape.latency_s
    size = max(_LEAST_CHUNK_BYTES, int(shape.bytes_per_s * _CHUNK_S))
    bucket = TokenBucket(shape.bytes_per_s, 2 * size, begins_s)
    await time.sleep_until(begins_s)
    for start in range(0, len(body), size):
        chunk = body[start : start + size]
        await time.sleep_until(bucket.take(len(chunk), max(begins_s, time.now_s())))
        writer.write(chunk)
    await writer.drain()
