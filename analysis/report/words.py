"""Sections of a scenario in words: ``uplink 2 Mbit/s``, ``lognormal, median 2 s, sigma 0.5``."""

from collections.abc import Mapping, Sequence
from typing import Any

from interlude.analysis.fields import is_number, shown

_LEADING = ("distribution", "kind", "name", "dataset", "encoder", "function")
"""Keys whose text says what the mapping is, so it comes first and needs no key."""
_SILENT = ("per_client", "value")
"""Keys that add nothing to what they hold."""
_MEASURED = ("value", "low", "high", "mean", "std", "median", "scale", "minimum", "values")
"""Keys of a distribution that are in the unit of what it is the distribution of."""
_UNITS = {
    "s": "s",
    "ms": "ms",
    "mbps": "Mbit/s",
    "gflops": "GFLOP/s",
    "gb": "GB",
    "bytes": "B",
    "w": "W",
    "j": "J",
}
"""Unit by the last part of a key."""
_MOST_ITEMS = 8  # of a list


def in_words(section: Mapping[str, Any], *, has_zeros: bool = True) -> str:
    """Return a section in words, units behind their numbers; what is unset is left out.

    Args:
        section: plain data of a scenario.
        has_zeros: False leaves out zeros and what is off, where they mean that something does not happen.
    """
    return _mapping(section, "", has_zeros)


def _mapping(section: Mapping[str, Any], unit: str, has_zeros: bool) -> str:
    leading = [key for key in _LEADING if isinstance(section.get(key), str)]
    first = [section[key].replace("_", " ") for key in leading if section[key] != "constant"]
    silent = ["on_miss"] if not section.get("miss_probability") else []
    rest = [_item(str(key), value, unit, has_zeros) for key, value in section.items() if key not in (*leading, *silent)]
    return ", ".join([*first, *filter(None, rest)])


def _item(key: str, value: Any, unit: str, has_zeros: bool) -> str:
    """Return a key with its value; empty where it says nothing."""
    if value is None or (not has_zeros and not value):
        return ""
    stem, _, last = key.rpartition("_")
    is_measured = bool(stem) and last in _UNITS
    if is_measured:
        key, unit = stem, _UNITS[last]
    elif key not in (*_MEASURED, *_SILENT):
        unit = ""
    name = "" if key in _SILENT else key.replace("_", " ")
    if isinstance(value, Mapping):
        inner = _mapping(value, unit, has_zeros)
        text = f"({inner})" if name and ", " in inner else inner
        return f"{name} {text}".strip() if inner else ""
    return f"{name} {_text(value, unit)}".strip()


def _text(value: Any, unit: str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Sequence) and not isinstance(value, str):
        items = [in_words(item) if isinstance(item, Mapping) else _text(item, "") for item in value[:_MOST_ITEMS]]
        more = f", ... {len(value)} in all" if len(value) > _MOST_ITEMS else ""
        return f"({', '.join(items)}{more}) {unit}".strip()
    return f"{shown(value)} {unit}".strip() if is_number(value) else shown(value)
