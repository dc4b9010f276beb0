"""A value keeps its type: a boolean is no number, and a quoted number is a text.

Pydantic takes ``True`` for 1, ``"3"`` for 3 and ``"yes"`` for true. A file's reader has already told them apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from interlude.simulator.errors import one_line


def check_types(given: Any, taken: Any, where: Sequence[str]) -> None:
    """Check that each value was taken for what it is, in sections of any depth.

    Args:
        given: the data that was validated.
        taken: the validated model, dumped as plain data; what it holds in another shape is not compared.
        where: path of `given` in the whole document.

    Raises:
        ValueError: naming the field, what was given and what is allowed.
    """
    if isinstance(given, Mapping) and isinstance(taken, Mapping):
        for key in given.keys() & taken.keys():
            check_types(given[key], taken[key], (*where, str(key)))
    elif isinstance(given, list) and isinstance(taken, list) and len(given) == len(taken):
        for i, pair in enumerate(zip(given, taken, strict=True)):
            check_types(*pair, (*where, str(i)))
    elif isinstance(taken, bool):
        if not isinstance(given, bool):
            raise ValueError(f"{'.'.join(where)}: must be true or false; given {_shown(given)}")
    elif isinstance(taken, int | float) and (isinstance(given, bool) or _is_quoted_number(given)):
        raise ValueError(f"{'.'.join(where)}: must be a number; given {_shown(given)}")


def _is_quoted_number(given: Any) -> bool:
    """Return whether a text is one that Python reads as a number; other texts have a validator of their own."""
    if not isinstance(given, str):
        return False
    try:
        float(given)
    except ValueError:
        return False
    return True


def _shown(given: Any) -> str:
    shown = str(given).lower() if isinstance(given, bool) else one_line(given)[:40]
    return f"the text '{shown}'" if isinstance(given, str) else shown
