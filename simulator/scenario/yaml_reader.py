"""Reading YAML strictly and safely: no tags that build objects, no key given twice, and ``key=value`` overrides."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from interlude.simulator.errors import BadInputError, one_line

_LARGEST_BYTES = 1_000_000
_MOST_VALUES = 100_000
_DEEPEST = 100
"""Most values of a scenario with its aliases expanded; sweeps of thousands of runs hold a tenth."""

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
        return _load(text)
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
        parsed = _load(value)
    except _MALFORMED as error:
        raise BadInputError(f"--set '{override}': the value is not valid YAML") from error
    set_field(document, key, parsed, f"--set '{override}'")


def set_field(document: dict[str, Any], key: str, value: Any, source: str) -> None:
    """Set a field of a document in place; dots lead into mappings and lists.

    Args:
        document: changed in place.
        key: the field, e.g. ``methods.0.beta``; missing sections are created.
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
        _child(node, last, key, source)
        node[int(last)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise BadInputError(f"{source}: '{'.'.join(path)}' is a value, not a section")


def _child(node: Any, step: str, where: str, source: str) -> Any:
    if isinstance(node, dict):
        return node[step]
    if not isinstance(node, list):
        raise BadInputError(f"{source}: '{where}' leads into a value, not a section")
    if not step.isdecimal() or int(step) >= len(node):
        raise BadInputError(f"{source}: '{where}' must be one of the list's positions 0 to {len(node) - 1}")
    return node[int(step)]


def _load(text: str) -> Any:
    loader = _StrictLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_size(node, 0, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_size(node: yaml.Node, depth: int, counted: dict[int, int]) -> int:
    """Return the number of values below a node with its aliases expanded.

    A few nested aliases can expand to more values than fit in memory, so the values are counted without expansion.
    """
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) in counted:
        if counted[id(node)] == 0:
            raise yaml.constructor.ConstructorError(
                None, None, "an alias refers to a value that contains it", node.start_mark
            )
        return counted[id(node)]
    if depth == _DEEPEST:
        raise yaml.constructor.ConstructorError(
            None, None, f"it is nested deeper than {_DEEPEST} levels", node.start_mark
        )
    counted[id(node)] = 0  # until its children are counted
    pairs = isinstance(node, yaml.MappingNode)
    children = [child for pair in node.value for child in pair] if pairs else node.value
    num_values = 1 + sum(_check_size(child, depth + 1, counted) for child in children)
    if num_values > _MOST_VALUES:
        raise yaml.constructor.ConstructorError(
            None, None, f"it holds more than {_MOST_VALUES:,} values with its aliases expanded", node.start_mark
        )
    counted[id(node)] = num_values
    return num_values


_MERGE_TAG = "tag:yaml.org,2002:merge"


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice."""


def _mapping_without_duplicates(loader: _StrictLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        is_merge = key_node.tag == _MERGE_TAG
        key = key_node.value if is_merge else loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a name", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' is given twice", key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)
