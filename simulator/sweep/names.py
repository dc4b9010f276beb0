"""The names of points: the scenario's, and the values of the fields that vary."""

import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from typing import Any

from interlude.simulator.scenario.sections import LONGEST_NAME

_SHORT = {"clients.count": "clients"}
_LONGEST_VALUE = 40
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def point_name(
    base: str, named: Sequence[tuple[str, Any]], steps: Sequence[tuple[str, Any]], taken: dict[str, str]
) -> str:
    """Return the name of a point, ``<base>-clients-16_beta-0.5``.

    Args:
        base: the scenario's name.
        named: fields and values that the name shows.
        steps: all fields and values that make the point; two with different ones have different names.
        taken: names given so far, and for what; it is added to.
    """
    fields = [field for field, _ in named]
    name = "_".join(f"{_short(field, fields)}-{_slug(value)}" for field, value in named)
    name = f"{base}-{name}" if name else base
    said = json.dumps(list(steps), sort_keys=True, default=str)
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"
    candidates = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(candidate for candidate in candidates if taken.setdefault(candidate, said) == said)


def _short(field: str, fields: Sequence[str]) -> str:
    """Return the last parts of a field, as many as distinguish it from the others."""
    if field in _SHORT:
        return _SHORT[field]
    parts = field.split(".")
    ends = (".".join(parts[-length:]) for length in range(1, len(parts) + 1))
    short = next((end for end in ends if sum(f".{f}".endswith(f".{end}") for f in fields) == 1), field)
    return _NOT_IN_NAMES.sub("-", short)


def _slug(value: Any) -> str:
    """Return a value as part of a file name."""
    if value is None:
        return "unset"
    if isinstance(value, dict):
        return "-".join(_slug(child) for child in value.values())[:_LONGEST_VALUE]
    if isinstance(value, list):
        return "-".join(_slug(child) for child in value)[:_LONGEST_VALUE]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return _NOT_IN_NAMES.sub("-", text)[:_LONGEST_VALUE]
