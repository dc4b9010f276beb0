"""Coalitions of modalities, and how their worth is shared out (Shapley, 1953)."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial

from torch import Tensor

Coalition = tuple[str, ...]


def coalitions(modalities: Sequence[str]) -> list[Coalition]:
    """Return the coalitions of at least one modality, small ones first; 2^M - 1 of them."""
    return [some for size in range(1, len(modalities) + 1) for some in combinations(modalities, size)]


def shapley_values(modalities: Sequence[str], worth: Mapping[Coalition, Tensor]) -> dict[str, Tensor]:
    """Return each modality's mean marginal contribution over all orders in which they may join; they sum to the whole.

    Args:
        modalities: M modalities.
        worth: of each of their coalitions, any shape; that of none is 0.
    """
    total = factorial(len(modalities))
    values: dict[str, Tensor] = {}
    for modality in modalities:
        value: Tensor | float = 0.0
        for joined in worth:
            if modality in joined:
                before = tuple(m for m in joined if m != modality)
                orders = factorial(len(before)) * factorial(len(modalities) - len(joined))
                gain = worth[joined] - worth[before] if before else worth[joined]
                value = value + orders / total * gain
        assert isinstance(value, Tensor)
        values[modality] = value
    return values
