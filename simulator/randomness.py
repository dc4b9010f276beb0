"""Named, counter-based random streams: every random number of a run has an address.

A stream is addressed by (seed, purpose, who ...) and read at a counter, so that the r-th arrival of a modality at a
client is the same number for every method, server rule and executor, and adding a client, a method or a metric
moves no other draws (common random numbers). The generator is Philox, keyed by a hash of the address.
"""

import hashlib
import json
from array import array
from typing import Protocol

import numpy as np
import numpy.typing as npt

from interlude.simulator.arrays import Floats

_BLOCK_DRAWS = (4, 64, 256)
"""Draws that are read together: a client's first block is short, as most of a large federation act seldom."""
_MOST_BLOCKS = 1 << 17
"""Blocks kept of one purpose; they are read again where there are more clients at work."""
_DRAWS_PER_COUNTER = 4  # Philox4x64 yields four 64-bit words per counter value, one word per uniform double
_TINY = 2.0**-53  # keeps quantile functions away from their infinite ends


class Quantiles(Protocol):
    """Anything with a quantile function, such as the distributions of `interlude.simulator.world`."""

    def ppf(self, probability: Floats) -> Floats:
        """Return the quantile of each probability in (0, 1)."""
        ...


class Stream:
    """The endless sequence of uniform numbers at one address.

    Args:
        seed: the run's seed.
        purpose: the use of the numbers, e.g. ``"arrival"``.
        who: the rest of the address, e.g. a client and a modality.
    """

    __slots__ = ("_key",)

    def __init__(self, seed: int, purpose: str, *who: int | str) -> None:
        self._key = _key(json.dumps([seed, purpose, *who]))

    def generator(self, major: int = 0, minor: int = 0) -> np.random.Generator:
        """Return the generator of one decision of this stream, e.g. the permutation of a (window, epoch)."""
        return np.random.Generator(np.random.Philox(key=self._key, counter=[0, major, minor, 0]))

    def uniforms(self, count: int, start: int = 0) -> Floats:
        """Return draws `start` to `start + count` as numbers in (0, 1); `start` must be a multiple of 4."""
        counter = [start // _DRAWS_PER_COUNTER, 0, 0, 0]
        uniforms = np.random.Generator(np.random.Philox(key=self._key, counter=counter)).random(count)
        return np.clip(uniforms, _TINY, 1.0 - _TINY)


class ClientDraws:
    """Reads one stream per client through a distribution: `at(client, r)` is the client's r-th draw, in any order.

    A block of draws is kept of clients that act, so that reading in order costs a fraction of a microsecond per draw
    and clients that never act cost nothing.

    Args:
        seed: the run's seed.
        purpose: the use of the numbers.
        distribution: maps the uniform numbers to draws.
        detail: more of the streams' address, e.g. a modality.
    """

    __slots__ = ("_address", "_bits", "_blocks", "_distribution", "_generator", "_state")

    def __init__(self, seed: int, purpose: str, distribution: Quantiles, *detail: str) -> None:
        self._distribution = distribution
        self._blocks: dict[int, tuple[int, int, array[float]]] = {}
        """By client: the first draw of its block, the one after the last, and the draws."""
        self._address = json.dumps([seed, purpose])[:-1], "".join(f", {json.dumps(more)}" for more in detail)
        """Of the streams, before the client and after it."""
        self._bits = np.random.Philox(key=0)  # moved from client to client, as making one takes far longer
        self._state = self._bits.state
        self._generator = np.random.Generator(self._bits)

    def at(self, client: int, index: int) -> float:
        """Return the `index`-th draw of a client."""
        block = self._blocks.get(client)
        if block is None or not block[0] <= index < block[1]:
            if len(self._blocks) >= _MOST_BLOCKS:
                self._blocks.clear()
            block = self._blocks[client] = self._read(client, index)
        return block[2][index - block[0]]

    def _read(self, client: int, index: int) -> tuple[int, int, "array[float]"]:
        """Return the block that holds a draw, as `Stream.uniforms` reads it."""
        count = next((count for count in _BLOCK_DRAWS if index < count), _BLOCK_DRAWS[-1])
        start = index - index % count
        before, after = self._address
        state = self._state["state"]
        state["key"] = _key(f"{before}, {client}{after}]")
        state["counter"][0] = start // _DRAWS_PER_COUNTER
        self._bits.state = self._state
        uniforms = self._generator.random(count)  # below 1 by 2^-53 at least
        np.maximum(uniforms, _TINY, out=uniforms)
        return start, start + count, array("d", self._distribution.ppf(uniforms).tobytes())


def _key(address: str) -> npt.NDArray[np.uint64]:
    """Return the key of the generator at an address."""
    return np.frombuffer(hashlib.blake2b(address.encode(), digest_size=16).digest(), dtype=np.uint64)


def torch_seed(stream: Stream, major: int = 0, minor: int = 0) -> int:
    """Return a seed for a `torch.Generator` that belongs to one decision of a stream."""
    return int(stream.generator(major, minor).integers(2**63))
