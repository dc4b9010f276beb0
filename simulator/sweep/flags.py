"""The flags of a sweep on the command line, and checks of the values that a user lists."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from interlude.simulator.errors import BadInputError

_MOST_DIGITS = 18


@dataclass(frozen=True)
class Flags:
    """The command line's sweep; None leaves a field to the scenario's ``sweep`` block."""

    clients: Sequence[int] | None = None
    seeds: Sequence[int] | None = None
    methods: Sequence[str] | None = None


def parse_flags(clients: str | None = None, seeds: str | None = None, methods: str | None = None) -> Flags:
    """Return the flags of a command line, each values separated by commas.

    Raises:
        BadInputError: naming the flag.
    """
    return Flags(
        None if clients is None else _numbers(clients, "--clients", 1),
        None if seeds is None else _numbers(seeds, "--seeds", 0),
        None if methods is None else _names(methods, "--methods"),
    )


def _numbers(text: str, flag: str, least: int) -> list[int]:
    parts = _split(text)
    if not all(part.isascii() and part.isdecimal() and len(part) <= _MOST_DIGITS for part in parts) or any(
        int(part) < least for part in parts
    ):
        raise BadInputError(
            f"{flag}: must be whole numbers of at least {least}, of at most {_MOST_DIGITS} digits, separated by "
            f"commas, e.g. {flag} 16,32; given '{text}'"
        )
    return distinct([int(part) for part in parts], flag)


def _names(text: str, flag: str) -> list[str]:
    parts = _split(text)
    if not all(parts):
        raise BadInputError(f"{flag}: must be names separated by commas, e.g. {flag} mba,fedavg; given '{text}'")
    return distinct(parts, flag)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def distinct(values: list[Any], source: str) -> list[Any]:
    """Return values, of which none may be given twice.

    Raises:
        BadInputError: naming the source and the value.
    """
    seen = set()
    for value in values:
        key = json.dumps(value, sort_keys=True, default=str)
        if key in seen:
            raise BadInputError(f"{source}: {cut(value)} is given twice")
        seen.add(key)
    return values


def cut(given: Any) -> str:
    """Return what was given for a sentence, at most 60 characters of it."""
    text = repr(given)
    return text if len(text) <= 60 else f"{text[:57]}..."
