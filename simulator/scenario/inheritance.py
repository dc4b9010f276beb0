"""``extends: base.yaml``: a scenario that says only what it changes of another one.

A section is laid over the base's, field by field, to any depth; a list replaces, and so does a section of another
``kind``, ``distribution``, ``dataset``, ``rule`` or ``name``, whose fields would mean nothing. A key with dots, as in
``variants``, sets one field or replaces one section whole. The base's name stays with the base.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interlude.simulator.errors import BadInputError, shown
from interlude.simulator.own_code.foreign import importable_from
from interlude.simulator.scenario.paths import beside
from interlude.simulator.scenario.shipped import shipped_or_own
from interlude.simulator.scenario.yaml_reader import read_yaml, set_field

EXTENDS = "extends"

_TAGS = ("dataset", "kind", "distribution", "rule", "name")
_UNTAGGED = ("executor", "variants", "sweep", "tune")
"""Sections in which these keys do not choose among models with fields of their own."""
_REMOVABLE = ("variants", "sweep", "tune")
"""Blocks of a base that null takes away."""
_OF_EVERY_DATA_SET = "partition"


def read_scenario(path: Path, empty: str) -> dict[str, Any]:
    """Return the content of a scenario file, laid over what it extends.

    Args:
        path: the file.
        empty: what to say of a file without content, after its name.

    Raises:
        BadInputError: one sentence with the file, if one cannot be read, is no mapping, or a base extends itself.
    """
    layers, files = [_mapping(path, empty)], [path]
    while EXTENDS in layers[-1]:
        base = _base(layers[-1].pop(EXTENDS), files)
        try:
            layers.append(_mapping(base, empty))
        except BadInputError as error:
            raise BadInputError(f"{files[-1]}: {EXTENDS}: {error}") from error
        files.append(base)
    for file in files:
        importable_from(file.parent)
    merged = layers.pop()
    while layers:
        merged = beside(merged, files.pop().parent)
        merged.pop("name", None)
        merged = _extended(merged, layers.pop(), str(files[-1]))
    return merged


def _mapping(path: Path, empty: str) -> dict[str, Any]:
    given = read_yaml(path)
    if given is None:
        raise BadInputError(f"{path}: {empty}")
    if not isinstance(given, dict):
        raise BadInputError(f"{path}: must be a mapping of sections, not a {type(given).__name__}")
    return given


def _base(given: Any, files: Sequence[Path]) -> Path:
    """Return the file that the last of some files extends."""
    if not isinstance(given, str) or not given or "\0" in given:
        raise BadInputError(
            f"{files[-1]}: {EXTENDS}: must be the path of a scenario, relative to this file; given {shown(given)}"
        )
    base = files[-1].parent / given
    if not os.path.exists(base):  # whatever its name
        named = shipped_or_own(Path(given))
        base = named if named.is_absolute() else base
    if any(_is_same(base, file) for file in files):
        circle = " -> ".join(str(file) for file in (*files, base))
        raise BadInputError(f"{files[-1]}: {EXTENDS}: leads in a circle: {circle}")
    return base


def _is_same(one: Path, other: Path) -> bool:
    return os.path.exists(one) and os.path.exists(other) and one.samefile(other)


def _extended(base: Mapping[str, Any], own: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return a base with the sections and the fields with dots of a file laid over."""
    merged = dict(base)
    for key, value in own.items():
        if value is None and key in _REMOVABLE:
            merged.pop(key, None)
        elif not (isinstance(key, str) and "." in key):
            merged[key] = _over(merged.get(key), value, () if key in _UNTAGGED else _TAGS)
    for key, value in own.items():
        if isinstance(key, str) and "." in key:
            set_field(merged, key, value, source)
    return merged


def _over(base: Any, own: Any, tags: Sequence[str]) -> Any:
    """Return a value laid over another one."""
    if not (isinstance(base, Mapping) and isinstance(own, Mapping)):
        return own
    if any(tag in base and tag in own and base[tag] != own[tag] for tag in tags):
        is_kept = "dataset" in own and _OF_EVERY_DATA_SET in base
        return ({_OF_EVERY_DATA_SET: base[_OF_EVERY_DATA_SET]} if is_kept else {}) | dict(own)
    return dict(base) | {key: _over(base.get(key), value, tags) for key, value in own.items()}
