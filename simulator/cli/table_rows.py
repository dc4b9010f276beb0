"""A table of text, and the format of numbers of bytes in it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TableRows:
    """A table of text."""

    cells: Sequence[Sequence[str]]
    header: Sequence[str] = ()
    numbers: frozenset[int] = frozenset()
    """Columns that are right-aligned."""
    note: str = ""
    """A sentence below the table."""


def size(num_bytes: float) -> str:
    """Return a number of bytes in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
