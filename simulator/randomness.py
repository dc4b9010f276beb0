"""Named, counter-based random streams: every random number of a run has an address.

A stream is addressed by (seed, purpose, who ...) and read at a counter, so that the r-th arrival of a modality at a
client is the same number for every method, server rule and executor, and adding a client, a method or a metric
moves nobody else's draws (common random numbers). The generator is Philox, keyed by a hash of the address.
"""

import hashlib
import json
from array import array
from typing import Protocol

import numpy as np

from interlude.simulator.arrays import Floats

_BLOCK_DRAWS = 64
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
        purpose: what the numbers decide, e.g. ``"arrival"``.
        who: whom they concern, e.g. a client and a modality.
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
    """Reads one stream per client through a distribution: `at(client, r)` is the client's r-th draw, whenever asked.

    One block of draws is kept per client, so that reading in order costs a fraction of a microsecond per draw and
    clients that never act cost nothing.

    Args:
        seed: the run's seed.
        purpose: what the numbers decide.
        distribution: what the uniform numbers are turned into.
        detail: more of the streams' address, e.g. a modality.
    """

    __slots__ = ("_blocks", "_detail", "_distribution", "_purpose", "_seed")

    def __init__(self, seed: int, purpose: str, distribution: Quantiles, *detail: str) -> None:
        self._seed = seed
        self._purpose = purpose
        self._distribution = distribution
        self._detail = detail
        self._blocks: dict[int, tuple[int, array[float]]] = {}

    def at(self, client: int, index: int) -> float:
        """Return the `index`-th draw of a client."""
        block = index // _BLOCK_DRAWS
        kept = self._blocks.get(client)
        if kept is None or kept[0] != block:
            stream = Stream(self._seed, self._purpose, client, *self._detail)
            uniforms = stream.uniforms(_BLOCK_DRAWS, start=block * _BLOCK_DRAWS)
            kept = self._blocks[client] = (block, array("d", self._distribution.ppf(uniforms).tobytes()))
        return kept[1][index % _BLOCK_DRAWS]


def torch_seed(stream: Stream, major: int = 0, minor: int = 0) -> int:
    """Return a seed for a `torch.Generator` that belongs to one decision of a stream."""
    return int(stream.generator(major, minor).integers(2**63))
