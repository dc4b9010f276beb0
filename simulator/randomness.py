"""Named, counter-based random streams: every random number of a run has an address.

A stream is addressed by (seed, purpose, who ...) and read at a counter, so that the r-th arrival of a modality at a
client is the same number for every method, server rule and executor, and adding a client, a method or a metric
moves no other draws (common random numbers). The generator is Philox, keyed by a hash of the address.
"""

import hashlib
import json
from array import array
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np

from interlude.simulator.arrays import Floats
from interlude.simulator.philox import NUM_WORDS, Words, first_uniforms

_BLOCK_DRAWS = (NUM_WORDS, 64, 256)
"""Draws that are read together: a client's first block is short, as most of a large federation act seldom."""
_MOST_BLOCKS = 1 << 17
"""Blocks kept of one purpose; they are read again where there are more clients at work."""
FEWEST_AHEAD = 64
"""Blocks that are read faster together than one after the other."""
_DRAWS_PER_COUNTER = NUM_WORDS  # one word per uniform double
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

    __slots__ = ("key",)

    def __init__(self, seed: int, purpose: str, *who: int | str) -> None:
        self.key = np.frombuffer(_digest(json.dumps([seed, purpose, *who])), np.uint64)

    def generator(self, major: int = 0, minor: int = 0) -> np.random.Generator:
        """Return the generator of one decision of this stream, e.g. the permutation of a (window, epoch)."""
        return np.random.Generator(np.random.Philox(key=self.key, counter=[0, major, minor, 0]))

    def uniforms(self, count: int, start: int = 0) -> Floats:
        """Return draws `start` to `start + count` as numbers in (0, 1); `start` must be a multiple of 4."""
        counter = [start // _DRAWS_PER_COUNTER, 0, 0, 0]
        uniforms = np.random.Generator(np.random.Philox(key=self.key, counter=counter)).random(count)
        return np.clip(uniforms, _TINY, 1.0 - _TINY)


class MovedGenerator:
    """One generator for many decisions, moved from one to the next, as making one takes eight times as long."""

    __slots__ = ("_bits", "_generator", "_state")

    def __init__(self) -> None:
        self._bits = np.random.Philox(key=0)
        self._generator = np.random.Generator(self._bits)
        self._state = self._bits.state

    def at(self, stream: Stream, major: int = 0, minor: int = 0) -> np.random.Generator:
        """Return what `Stream.generator` would, until it is moved on."""
        return self.moved(stream.key, (0, major, minor))

    def moved(self, key: Words, counter: tuple[int, int, int]) -> np.random.Generator:
        """Return the generator of a key [2], from a counter on."""
        state = self._state["state"]
        state["key"] = key
        state["counter"][:3] = counter
        self._bits.state = self._state
        return self._generator


class _Block(NamedTuple):
    """Draws of one client."""

    first: int
    stop: int
    offset: int
    """Where the first of them stands among the draws that were read together."""
    draws: "array[float]"


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

    __slots__ = ("_address", "_blocks", "_distribution", "_generator")

    def __init__(self, seed: int, purpose: str, distribution: Quantiles, *detail: str) -> None:
        self._distribution = distribution
        self._blocks: dict[int, _Block] = {}
        self._address = json.dumps([seed, purpose])[:-1], "".join(f", {json.dumps(more)}" for more in detail)
        """Of the streams, before the client and after it."""
        self._generator = MovedGenerator()

    def at(self, client: int, index: int) -> float:
        """Return the `index`-th draw of a client."""
        block = self._blocks.get(client)
        if block is None or not block[0] <= index < block[1]:
            self._make_room(1)
            block = self._blocks[client] = self._read(client, index)
        first, _, offset, draws = block
        return draws[index - first + offset]

    def read_ahead(self, clients: Iterable[int]) -> None:
        """Read the first block of many clients together, of those that have none yet: in a fifth of the time."""
        new = [client for client in clients if client not in self._blocks]
        if len(new) < FEWEST_AHEAD:
            return
        self._make_room(len(new))
        keys = np.frombuffer(b"".join(self._key_of(client) for client in new), np.uint64).reshape(-1, 2)
        draws = self._drawn(first_uniforms(keys).ravel())
        for turn, client in enumerate(new):
            self._blocks[client] = _Block(0, NUM_WORDS, turn * NUM_WORDS, draws)

    def _make_room(self, num_blocks: int) -> None:
        if len(self._blocks) + num_blocks > _MOST_BLOCKS:
            self._blocks.clear()

    def _key_of(self, client: int) -> bytes:
        before, after = self._address
        return _digest(f"{before}, {client}{after}]")

    def _read(self, client: int, index: int) -> _Block:
        """Return the block that holds a draw, as `Stream.uniforms` reads it."""
        count = next((count for count in _BLOCK_DRAWS if index < count), _BLOCK_DRAWS[-1])
        start = index - index % count
        key = np.frombuffer(self._key_of(client), np.uint64)
        generator = self._generator.moved(key, (start // _DRAWS_PER_COUNTER, 0, 0))
        return _Block(start, start + count, 0, self._drawn(generator.random(count)))

    def _drawn(self, uniforms: Floats) -> "array[float]":
        """Return the draws at uniform numbers in [0, 1 - 2^-53], which it changes."""
        np.maximum(uniforms, _TINY, out=uniforms)
        return array("d", self._distribution.ppf(uniforms).tobytes())


def _digest(address: str) -> bytes:
    """Return the 16 bytes that are the key of the generator at an address."""
    return hashlib.blake2b(address.encode(), digest_size=16).digest()


def torch_seed(stream: Stream, major: int = 0, minor: int = 0) -> int:
    """Return a seed for a `torch.Generator` that belongs to one decision of a stream."""
    return int(stream.generator(major, minor).integers(2**63))
