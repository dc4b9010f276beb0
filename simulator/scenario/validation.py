"""Checks plain data against a model: types, ranges and the sizes of numbers, told in one sentence."""

import math
import reprlib
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from interlude.simulator.errors import BadInputError, one_line
from interlude.simulator.scenario.messages import sentence
from interlude.simulator.scenario.scalars import check_types

_LARGEST = 1e100
_LARGEST_INT = 2**63 - 1

_Model = TypeVar("_Model", bound=BaseModel)


def validated(model: type[_Model], given: Any, where: tuple[str, ...], source: str) -> _Model:
    """Return the model that plain data describe.

    Args:
        model: the model's class.
        given: the data.
        where: path of the data in the whole document.
        source: the document's name in messages.

    Raises:
        BadInputError: one sentence about the first error.
    """
    try:
        found = model.model_validate(given)
    except ValidationError as error:
        raise BadInputError(f"{source}: {sentence(error, model, given, where)}") from error
    try:
        check_types(given, found.model_dump(mode="json"), where)
    except ValueError as error:
        raise BadInputError(f"{source}: {error}") from error
    return found


def check_numbers(node: Any, where: tuple[str, ...], source: str) -> None:
    """Refuse numbers whose arithmetic would overflow; the fields themselves refuse NaN and infinity.

    Raises:
        BadInputError: naming the field, what was given and what is allowed.
    """
    if isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            check_numbers(child, (*where, one_line(key)[:60]), source)
        return
    is_too_large = isinstance(node, int) and abs(node) > _LARGEST_INT
    if isinstance(node, float) and math.isfinite(node) and node != 0.0:
        is_too_large = not 1.0 / _LARGEST <= abs(node) <= _LARGEST
    if is_too_large:
        shown = f"{node:g}" if isinstance(node, float) else reprlib.repr(node)
        raise BadInputError(
            f"{source}: {'.'.join(where) or 'scenario'}: is too large or too small a number; given {shown}, "
            f"allowed are integers up to {_LARGEST_INT:.2g} and other numbers from {1 / _LARGEST:g} to {_LARGEST:g}"
        )
