"""The first numbers of many Philox4x64-10 generators at once, as NumPy's generator yields them for each.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. NumPy fills an array from one key at a time, and
changing the key takes it longer than ten rounds for one counter.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from interlude.simulator.arrays import Floats

Words = npt.NDArray[np.uint64]

NUM_WORDS: Final = 4
"""Words that one counter yields."""
_NUM_ROUNDS = 10
_MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157
_WEYL = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
_UNUSED_BITS, _PER_UNIT = np.uint64(11), 2.0**-53


def first_uniforms(keys: Words) -> Floats:
    """Return the first four numbers in [0, 1) of generators whose counters are 0.

    Args:
        keys: [n, 2], the key of each generator.

    Returns:
        [n, 4], each row as ``numpy.random.Generator(Philox(key=key)).random(4)``.
    """
    return (_first_words(keys) >> _UNUSED_BITS).astype(np.float64) * _PER_UNIT


def _first_words(keys: Words) -> Words:
    """Return [n, 4] words at counter 1: NumPy counts before it yields."""
    zeros = np.zeros(len(keys), np.uint64)
    words = zeros + np.uint64(1), zeros, zeros, zeros
    key = keys[:, 0], keys[:, 1]
    for _ in range(_NUM_ROUNDS):
        high_0, low_0 = _product(_MULTIPLIERS[0], words[0])
        high_1, low_1 = _product(_MULTIPLIERS[1], words[2])
        words = high_1 ^ words[1] ^ key[0], low_1, high_0 ^ words[3] ^ key[1], low_0
        key = key[0] + _WEYL[0], key[1] + _WEYL[1]
    return np.stack(words, axis=1)


def _product(factor: int, words: Words) -> tuple[Words, Words]:
    """Return the upper and the lower 64 bits of a number times each word."""
    high, low = np.uint64(factor >> 32), np.uint64(factor & 0xFFFFFFFF)
    word_high, word_low = words >> _HALF, words & _LOW
    carried = low * word_high + (low * word_low >> _HALF)
    middle = high * word_low + (carried & _LOW)
    return high * word_high + (carried >> _HALF) + (middle >> _HALF), np.uint64(factor) * words
