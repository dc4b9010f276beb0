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

from interlude.simulator.arrays import Floats

_FIRST_DRAWS, _BLOCK_DRAWS = 64, 256
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
        address = json.dumps([seed, purpose, *who]).encode()
        self._key = np.frombuffer(hashlib.blake2b(address, digest_size=16).digest(), dtype=np.uint64)

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

    One block of draws is kept per client, so that reading in order costs a fraction of a microsecond per draw and
    clients that never act cost nothing.

    Args:
        seed: the run's seed.
        purpose: the use of the numbers.
        distribution: maps the uniform numbers to draws.
        detail: more of the streams' address, e.g. a modality.
    """

    __slots__ = ("_blocks", "_detail", "_distribution", "_purpose", "_seed")

    def __init__(self, seed: int, purpose: str, distribution: Quantiles, *detail: str) -> None:
        self._seed = seed
        self._purpose = purpose
        self._distribution = distribution
        self._detail = detail
        self._blocks: dict[int, tuple[int, int, array[float]]] = {}
        """By client: the first draw of its block, the one after the last, and the draws."""

    def at(self, client: int, index: int) -> float:
        """Return the `index`-th draw of a client."""
        block = self._blocks.get(client)
        if block is None or not block[0] <= index < block[1]:
            block = self._blocks[client] = self._read(client, index)
        return block[2][index - block[0]]

    def _read(self, client: int, index: int) -> tuple[int, int, "array[float]"]:
        """Return the block that holds a draw; a client's first is short, as most of a large federation act seldom."""
        count = _FIRST_DRAWS if index < _FIRST_DRAWS else _BLOCK_DRAWS
        start = index - index % count
        uniforms = Stream(self._seed, self._purpose, client, *self._detail).uniforms(count, start=start)
        return start, start + count, array("d", self._distribution.ppf(uniforms).tobytes())


def torch_seed(stream: Stream, major: int = 0, minor: int = 0) -> int:
    """Return a seed for a `torch.Generator` that belongs to one decision of a stream."""
    return int(stream.generator(major, minor).integers(2**63))
