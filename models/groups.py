"""Names of parameters and of their groups; the only place that builds and parses them.

A parameter is ``<part>.<modality>.<rest>``, its group ``<part>.<modality>``, e.g. ``encoder.gray``. The head of a
concatenation has one group of no modality, the bias that all modalities share; so has a head of a user's own for what
is not called like a modality.
"""

from functools import lru_cache

ENCODER = "encoder"
HEAD = "head"
SHARED_BIAS = f"{HEAD}.bias"
"""The only parameter of its group, which has the same name."""
SHARED_HEAD = f"{HEAD}._shared"
"""The group of what all modalities share of a user's own head; a modality's name begins with a letter."""


@lru_cache(maxsize=4096)
def group_of(name: str) -> str:
    """Return the group of a parameter, e.g. ``encoder.gray`` of ``encoder.gray.layers.1.weight``."""
    return ".".join(name.split(".")[:2])


def group_name(part: str, modality: str) -> str:
    """Return the name of the group of a part of the network, e.g. ``encoder``, that belongs to a modality."""
    return f"{part}.{modality}"


def part_of(group: str) -> str:
    """Return the part of the network that a group belongs to, e.g. ``head`` of ``head.gray``."""
    return group.partition(".")[0]


def modality_of(group: str) -> str | None:
    """Return the modality of a group, e.g. ``gray`` of ``encoder.gray``; None where all modalities share it."""
    return None if group in (SHARED_BIAS, SHARED_HEAD) else group.partition(".")[2]


def encoder_group(modality: str) -> str:
    """Return the group of a modality's encoder."""
    return group_name(ENCODER, modality)
