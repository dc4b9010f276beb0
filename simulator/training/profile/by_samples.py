"""A count of FLOPs or bytes as a function of the number of samples, made at a few of them."""

from bisect import insort
from collections.abc import Callable
from fractions import Fraction
from math import gcd

_ENOUGH = 5
"""Sizes to count at: three determine a polynomial of second degree, two confirm it."""


class BySamples:
    """Returns the count of any number of samples, mostly without making it.

    A batch costs work per batch, per sample and per pair: a polynomial of at most second degree. So counts are
    interpolated, exactly, once five of them lie on one, between sizes that were counted, and never again where a count
    lies elsewhere: a cost with a threshold is found out. The sizes have no step in common, so that a padded one is.

    Args:
        count: makes the count of a number of samples.
    """

    def __init__(self, count: Callable[[int], int]) -> None:
        self._count = count
        self._counts: dict[int, int] = {}
        self._sizes: list[int] = []
        self._is_polynomial = True

    def __call__(self, num_samples: int) -> int:
        """Return the count of `num_samples`."""
        if num_samples not in self._counts:
            value = self._interpolated(num_samples) if self._is_known_around(num_samples) else None
            if value is not None and value.denominator == 1:
                self._counts[num_samples] = int(value)
            else:
                self._add(num_samples)
        return self._counts[num_samples]

    def _is_known_around(self, num_samples: int) -> bool:
        sizes = self._sizes
        if not self._is_polynomial or len(sizes) < _ENOUGH or not sizes[0] < num_samples < sizes[-1]:
            return False
        return gcd(*(size - sizes[0] for size in sizes)) == 1

    def _add(self, num_samples: int) -> None:
        """Count, and see whether all counts still lie on one polynomial."""
        self._counts[num_samples] = self._count(num_samples)
        insort(self._sizes, num_samples)
        if self._is_polynomial and len(self._sizes) >= _ENOUGH:
            self._is_polynomial = all(self._interpolated(size) == self._counts[size] for size in self._sizes)

    def _interpolated(self, num_samples: int) -> Fraction:
        """Return the value of the polynomial through the smallest, the middle and the largest size (Lagrange)."""
        nodes = (self._sizes[0], self._sizes[len(self._sizes) // 2], self._sizes[-1])
        total = Fraction(0)
        for node in nodes:
            term = Fraction(self._counts[node])
            for other in nodes:
                if other != node:
                    term *= Fraction(num_samples - other, node - other)
            total += term
        return total
