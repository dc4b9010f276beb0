"""The labels of a scenario's methods in plain data, and the entry that a label or a position names."""

from collections.abc import Mapping, Sequence
from typing import Any


def label_of(entry: Mapping[str, Any]) -> str:
    """Return the label of a method's entry: its ``label``, or its name, without a module's."""
    return str(entry.get("label") or str(entry["name"]).rpartition(":")[2])


def position_of(step: str, entries: Sequence[Any]) -> int | None:
    """Return the position of the entry that a position or a label names, the first of several; None if none has it."""
    if step.isdecimal():
        return int(step) if int(step) < len(entries) else None
    labels = [label_of(entry) if isinstance(entry, Mapping) and "name" in entry else None for entry in entries]
    return labels.index(step) if step in labels else None
