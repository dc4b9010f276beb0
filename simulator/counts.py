"""Whole numbers out of a scenario's factors and shares, as their decimals say and not as floats round the product.

``math.ceil(100 * 1.1)`` is 111, as the product is 110.00000000000001.
"""

import math
from fractions import Fraction


def ceil_product(count: int, factor: float) -> int:
    """Return a count times a factor, rounded up: 110 of 100 and 1.1."""
    return math.ceil(count * _as_written(factor))


def round_product(count: int, factor: float) -> int:
    """Return a count times a factor, rounded to the nearest whole number, halves to the even one."""
    return round(count * _as_written(factor))


def num_final(count: int) -> int:
    """Return how many of a run's evaluations its final values are means of: the last tenth, rounded up."""
    return ceil_product(count, 0.1)


def _as_written(factor: float) -> Fraction:
    """Return a factor as the shortest decimal that is this float: what a scenario says."""
    return Fraction(repr(float(factor)))
