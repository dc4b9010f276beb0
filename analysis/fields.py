"""The fields of runs by path: what describes a run's world, its setting and its method, and what differs."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from interlude.simulator.files import without_folders
from interlude.simulator.record.reader import RunRecord

_NOT_WORLD = ("name", "seed", "methods", "paper")
_OVERLAID = ("model", "training")
"""Sections that change what is learned; the world, the data and the clients' random numbers stay the same."""
_DIGITS = 12  # of a digest, in a sentence

Fields = dict[str, Any]
"""Values by path, e.g. ``clients.count``."""


def leaves(node: Any, prefix: str = "") -> Fields:
    """Return the values of nested mappings and lists by their paths, e.g. ``clients.count``."""
    if isinstance(node, Mapping):
        items = [(str(key), child) for key, child in node.items()]
    elif isinstance(node, Sequence) and not isinstance(node, str):
        items = [(str(index), child) for index, child in enumerate(node)]
    else:
        return {prefix: node}
    return {p: v for key, child in items for p, v in leaves(child, f"{prefix}.{key}" if prefix else key).items()}


def world_of(record: RunRecord) -> Fields:
    """Return the fields of the run's scenario, without name, seed, methods, published results and where files lie."""
    scenario = without_folders(record.scenario)
    return leaves({key: value for key, value in scenario.items() if key not in _NOT_WORLD})


def options_of(record: RunRecord) -> Fields:
    """Return the method's options, without its label."""
    return {path: value for path, value in leaves(record.scenario["methods"][0]).items() if path != "label"}


def is_overlaid(path: str) -> bool:
    """Whether runs that differ in a field of `world_of` are in the same world, so that one plot can show them."""
    return path.partition(".")[0] in _OVERLAID


def setting_of(record: RunRecord) -> Fields:
    """Return what a run depends on beside its scenario: digests of its files and of its code, device, timing only.

    The code of a method of a user's own is counted with the method's, so it is compared among its own runs only.
    """
    method = str(record.scenario["methods"][0]["name"])
    code = "the code" if ":" not in method else f"the code of {method}"
    info = record.info
    known = {code: info.get("code"), "device": info.get("device"), "timing_only": info.get("timing_only")}
    files = {f"the file {given}": digest for given, digest in (info.get("files") or {}).items()}
    return files | {name: value for name, value in known.items() if value is not None}


def differing(mappings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the paths whose values differ between the mappings, with the distinct values."""
    paths = dict.fromkeys(path for mapping in mappings for path in mapping)
    found = {path: _distinct([mapping.get(path) for mapping in mappings]) for path in paths}
    return {path: values for path, values in found.items() if len(values) > 1}


def differences(records: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """Return in what the worlds and the settings of runs differ, with the distinct values.

    Of the setting, what only some runs have is no difference: the scenarios name the files that they read.
    """
    found = differing([world_of(record) for record in records])
    settings = [setting_of(record) for record in records]
    for name in dict.fromkeys(name for setting in settings for name in setting):
        values = _distinct([setting[name] for setting in settings if name in setting])
        if len(values) > 1:
            is_digest = name.startswith("the ")
            found[name] = [value[:_DIGITS] for value in values] if is_digest else values
    return found


def _distinct(values: Sequence[Any]) -> list[Any]:
    return [value for index, value in enumerate(values) if value not in values[:index]]


def some_of(values: Sequence[Any]) -> str:
    """Return the first few of many values, for a sentence."""
    return ", ".join(map(str, values[:4])) + (", ..." if len(values) > 4 else "")


def said(fields: Mapping[str, Sequence[Any]]) -> str:
    """Return the first few of the fields that differ, with their values, for a sentence."""
    return "; ".join(f"{path}: {some_of(list(map(shown, values)))}" for path, values in list(fields.items())[:3])


def short_name(path: str, paths: Sequence[str]) -> str:
    """Return the last parts of a path, as many as tell it from the other paths."""
    parts = path.split(".")
    ends = (".".join(parts[-length:]) for length in range(1, len(parts) + 1))
    return next((end for end in ends if sum(f".{other}".endswith(f".{end}") for other in paths) <= 1), path)


def is_number(value: Any) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """Return a value of a field as text."""
    if isinstance(value, Mapping):
        return " ".join(f"{key} {shown(child)}" for key, child in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(shown, value))
    if value is None or isinstance(value, bool):
        return {None: "unset", True: "true", False: "false"}[value]
    return f"{value:g}" if is_number(value) and float(f"{value:g}") == value else str(value)
