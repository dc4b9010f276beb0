"""Reading YAML files strictly and safely, and ``key=value`` overrides."""

from pathlib import Path
from typing import Any

import yaml

from interlude.simulator.errors import BadInputError, one_line
from interlude.simulator.formats.core_yaml import load
from interlude.simulator.scenario.labels import position_of

_LARGEST_BYTES = 1_000_000

# Raised by the loader besides its own errors: odd scalars under explicit tags, and unbounded nesting.
_MALFORMED = (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file, or None if it is empty.

    Raises:
        BadInputError: if it cannot be read or parsed.
    """
    try:
        with path.open("rb") as handle:
            given = handle.read(_LARGEST_BYTES + 1)
        if len(given) > _LARGEST_BYTES:
            raise BadInputError(f"{path}: is larger than {_LARGEST_BYTES:,} bytes; a scenario is a page of text")
        text = given.decode("utf-8")
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    try:
        return load(text)
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadInputError(f"{path}{where}: not valid YAML: {error.problem or error.context}") from error
    except _MALFORMED as error:
        raise BadInputError(f"{path}: not valid YAML: {one_line(error) or type(error).__name__}") from error


def apply_override(override: str, document: dict[str, Any]) -> None:
    """Apply ``key=value`` to a document in place; dots lead into mappings and lists, the value is YAML.

    Raises:
        BadInputError: if the pair is malformed or the key leads nowhere.
    """
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise BadInputError(f"--set '{override}': must look like key=value, e.g. clients.count=32")
    try:
        parsed = load(value)
    except _MALFORMED as error:
        raise BadInputError(f"--set '{override}': the value is not valid YAML") from error
    set_field(document, key, parsed, f"--set '{override}'")


def set_field(document: dict[str, Any], key: str, value: Any, source: str) -> None:
    """Set a field of a document in place; dots lead into mappings and lists.

    Args:
        document: changed in place.
        key: the field, e.g. ``methods.0.beta`` or ``methods.mba.beta``; missing sections are created.
        value: its new value.
        source: name of the change in messages.

    Raises:
        BadInputError: if the key leads nowhere.
    """
    *path, last = key.split(".")
    node: Any = document
    for i, step in enumerate(path):
        if isinstance(node, dict):
            node.setdefault(step, {})
        node = _child(node, step, ".".join(path[: i + 1]), source)
    if isinstance(node, list):
        node[_position(node, last, key, source)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise BadInputError(f"{source}: '{'.'.join(path)}' is a value, not a section")


def _child(node: Any, step: str, where: str, source: str) -> Any:
    if isinstance(node, dict):
        return node[step]
    if not isinstance(node, list):
        raise BadInputError(f"{source}: '{where}' leads into a value, not a section")
    return node[_position(node, step, where, source)]


def _position(entries: list[Any], step: str, where: str, source: str) -> int:
    position = position_of(step, entries)
    if position is None:
        raise BadInputError(
            f"{source}: '{where}' must be one of the list's positions 0 to {len(entries) - 1}, or a method's label"
        )
    return position
