"""Named tensors per modality: prepared and reported by objectives, broadcast by servers, recorded as metrics."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

FUSED = "fused"
"""The modality of a value of all modalities together; also its entry in the modality column of metrics."""


class Named(NamedTuple):
    """The key of a value, e.g. ``Named("distance", "gray")``, or ``Named("loss")`` of all modalities together."""

    name: str
    modality: str = FUSED


Values = Mapping[Named, Tensor]
"""Tensors by name and modality, in one flat mapping."""


def named(name: str, by_modality: Mapping[str, Tensor]) -> dict[Named, Tensor]:
    """Return the values of several modalities under one name."""
    return {Named(name, modality): value for modality, value in by_modality.items()}


def by_modality(values: Values, name: str) -> dict[str, Tensor]:
    """Return the values under one name by modality; empty where there are none."""
    return {key.modality: value for key, value in values.items() if key.name == name}


def num_bytes(values: Values) -> int:
    """Return the payload of values: sum of numel x itemsize."""
    return sum(value.numel() * value.itemsize for value in values.values())
