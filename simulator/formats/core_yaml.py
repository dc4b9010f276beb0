"""YAML by version 1.2's core schema: its types alone, keys that are texts, no key given twice, bounded sizes."""

import re
from collections.abc import Callable
from itertools import chain
from typing import Any, ClassVar

import yaml
from yaml.constructor import ConstructorError

_MOST_VALUES = 100_000
"""Most values of a document with its aliases expanded; sweeps of thousands of runs hold a tenth."""
_DEEPEST = 100
_IN_PROGRESS = (0, 0)
_TAGS = "tag:yaml.org,2002:"
_MOST_DIGITS = 1_000


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text):,} digits; at most {_MOST_DIGITS:,} are allowed")
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


_CORE_SCALARS: dict[str, tuple[str, Callable[[str], bool | float | None]]] = {
    "null": ("null|Null|NULL|~|", lambda _: None),
    "bool": ("true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    "int": ("[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", _integer),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
    ),
}
"""Plain scalars that are not text: form and value, by YAML 1.2's core schema (10.3.2), tried in this order.

PyYAML's own are YAML 1.1's, by which ``016`` is 14, ``1:30`` is 90, ``on`` is true and ``1e-3`` is a text.
"""

_TAGS_OF_KEYS = {f"{_TAGS}{kind}" for kind in (*_CORE_SCALARS, "str", "merge")}


def load(text: str) -> Any:
    """Return the content of a YAML document, None if it is empty; no two of its values are the same object.

    Raises:
        yaml.YAMLError: if it is not YAML, holds other types, or is too large.
        RecursionError: if it is nested without bounds.
    """
    loader = _CoreLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _size(node, {})
        return _unshared(loader.construct_document(node))
    finally:
        loader.dispose()


def dump(value: Any) -> str:
    """Return plain data as YAML that versions 1.1 and 1.2 read alike: a text that either takes for more is quoted."""
    return yaml.dump(value, Dumper=_QuotingDumper, sort_keys=False, width=100)


def _unshared(value: Any) -> Any:
    """Return a copy in which an alias is a value of its own, so that a change of one leaves the other."""
    if isinstance(value, dict):
        return {key: _unshared(child) for key, child in value.items()}
    return [_unshared(child) for child in value] if isinstance(value, list) else value


def _size(node: yaml.Node, counted: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return the number of values and of levels of a node with its aliases expanded.

    A few nested aliases can expand to more values than fit in memory, so the values are counted without expansion.
    """
    if isinstance(node, yaml.ScalarNode):
        return 1, 0
    if id(node) in counted:
        if counted[id(node)] == _IN_PROGRESS:
            raise ConstructorError(None, None, "an alias refers to a value that contains it", node.start_mark)
        return counted[id(node)]
    counted[id(node)] = _IN_PROGRESS
    pairs = isinstance(node, yaml.MappingNode)
    sizes = [_size(child, counted) for child in (chain(*node.value) if pairs else node.value)]
    num_values, levels = 1 + sum(values for values, _ in sizes), 1 + max((levels for _, levels in sizes), default=0)
    if num_values > _MOST_VALUES:
        why = f"it holds more than {_MOST_VALUES:,} values with its aliases expanded"
        raise ConstructorError(None, None, why, node.start_mark)
    if levels > _DEEPEST:
        raise ConstructorError(None, None, f"it is nested deeper than {_DEEPEST} levels", node.start_mark)
    counted[id(node)] = num_values, levels
    return num_values, levels


def _scalar(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> bool | float | None:
    text = loader.construct_scalar(node)
    kind = node.tag.removeprefix(_TAGS)
    form, value_of = _CORE_SCALARS[kind]
    try:
        if re.fullmatch(form, text):
            return value_of(text)
        why = f"'{text}' is not of the type {kind}"
    except ValueError as error:
        why = str(error)
    raise ConstructorError(None, None, why, node.start_mark)


def _mapping(loader: yaml.SafeLoader, node: yaml.Node) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise ConstructorError(None, None, "expected a mapping", node.start_mark)
    seen: set[str] = set()
    for key_node, _ in node.value:
        key = _key(key_node)
        if key in seen:
            raise ConstructorError(None, None, f"the key '{key}' is given twice", key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    return {_key(key_node): loader.construct_object(value_node) for key_node, value_node in node.value}


def _key(node: yaml.Node) -> str:
    """Return a key as it is written: ``on``, ``0`` and ``12:30`` are names."""
    if not isinstance(node, yaml.ScalarNode) or node.tag not in _TAGS_OF_KEYS:
        raise ConstructorError(None, None, "a key must be a name", node.start_mark)
    return str(node.value)


_RESOLVERS: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {
    None: [
        (f"{_TAGS}merge", re.compile(r"<<\Z")),
        *((f"{_TAGS}{kind}", re.compile(rf"({form})\Z")) for kind, (form, _) in _CORE_SCALARS.items()),
    ]
}


class _CoreLoader(yaml.SafeLoader):
    """A loader of the core schema."""

    yaml_implicit_resolvers = _RESOLVERS
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        **{tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (f"{_TAGS}str", f"{_TAGS}seq", None)},
        **{f"{_TAGS}{kind}": _scalar for kind in _CORE_SCALARS},
        f"{_TAGS}map": _mapping,
    }


class _QuotingDumper(yaml.SafeDumper):
    """A dumper that quotes what is a plain text by version 1.1 alone, e.g. ``1e3``."""

    yaml_implicit_resolvers = yaml.SafeDumper.yaml_implicit_resolvers | _RESOLVERS
