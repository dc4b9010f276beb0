"""Reads a scenario YAML as plain data, and checks all that needs neither data sets nor methods nor PyTorch."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from interlude.simulator import data, methods
from interlude.simulator.errors import BadInputError
from interlude.simulator.scenario.inheritance import read_scenario
from interlude.simulator.scenario.paths import beside
from interlude.simulator.scenario.sections import Name, TuneSpec
from interlude.simulator.scenario.shipped import shipped_or_own
from interlude.simulator.scenario.validation import check_numbers, validated
from interlude.simulator.scenario.yaml_reader import apply_override, set_field


@dataclass(frozen=True)
class Documents:
    """The content of a scenario YAML, as plain data."""

    name: str
    """The scenario's name, without a variant's."""
    variants: list[dict[str, Any]]
    """One mapping per variant; the whole file where it has none."""
    sweep: Any
    """The content of ``sweep``, None without one."""
    tunes: list[TuneSpec | None]
    """The ``tune`` block of each variant, None without one."""


def load_documents(path: str | Path, overrides: Sequence[str] = ()) -> Documents:
    """Read a scenario YAML; of a sweep's, whose points fill in fields, no field is validated.

    Args:
        path: the file, or the name of a shipped scenario.
        overrides: ``key=value`` pairs applied on top of every variant; ``name`` renames the scenario below them.

    Raises:
        BadInputError: one sentence that names the file, the field, what was given and what is allowed.
    """
    path = shipped_or_own(Path(path))
    folder = path.parent
    given = _read_mapping(path)
    sweep = given.pop("sweep") or {} if "sweep" in given else None
    variants = given.pop("variants", None)
    renames = [override for override in overrides if override.partition("=")[0] == "name"]
    for override in renames:
        apply_override(override, given)
    changes = [override for override in overrides if override not in renames]
    if variants is None:
        documents = [_changed(given, {}, changes, str(path))]
    else:
        documents = _variants(given, variants, changes, str(path))
    documents = [beside(document, folder) for document in documents]
    tunes = [_tune_of(document, str(path)) for document in documents]
    if sweep is None:
        for document in documents:
            _check(document, str(path))
    return Documents(str(given.get("name")), documents, sweep, tunes)


def _tune_of(document: dict[str, Any], source: str) -> TuneSpec | None:
    """Remove and return what a document says of tuning."""
    if "tune" not in document:
        return None
    given = document.pop("tune")
    check_numbers(given, ("tune",), source)
    return validated(TuneSpec, given, ("tune",), source)


def _check(document: Mapping[str, Any], source: str) -> None:
    """Refuse an unknown name or a wrong value of any section but those of data and methods."""
    from interlude.simulator.scenario.outline import Outline

    check_numbers(document, (), source)
    given_data, given_methods = document.get("data"), document.get("methods")
    if isinstance(given_data, dict) and isinstance(given_data.get("dataset"), str):
        data.check_name(given_data["dataset"], f"{source}: data.dataset")
    for i, entry in enumerate(given_methods if isinstance(given_methods, list) else ()):
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            methods.check_name(entry["name"], f"{source}: methods.{i}.name")
    validated(Outline, document, (), source)


def _variants(given: Mapping[str, Any], variants: Any, overrides: Sequence[str], path: str) -> list[dict[str, Any]]:
    """Return the document of each variant; its own ``name`` goes before ``<scenario>-<variant>``."""
    if not isinstance(variants, dict) or not all(isinstance(changes, dict) for changes in variants.values()):
        raise BadInputError(f"{path}: variants: must map each variant's name to fields and their values")
    if not variants:
        raise BadInputError(f"{path}: variants: is empty; it maps each variant's name to fields and their values")
    base = validated(_Named, {"name": given["name"]} if "name" in given else {}, (), path).name
    documents = [
        _changed({**given, "name": f"{base}-{variant}"}, changes, overrides, f"{path}: variants.{variant}")
        for variant, changes in variants.items()
    ]
    named: dict[Any, str] = {}
    for variant, document in zip(variants, documents, strict=True):
        other = named.setdefault(str(document["name"]), variant)
        if other != variant:
            raise BadInputError(f"{path}: variants: '{other}' and '{variant}' have the same name, {document['name']}")
    return documents


def _changed(
    given: Mapping[str, Any], changes: Mapping[str, Any], overrides: Sequence[str], source: str
) -> dict[str, Any]:
    document = copy.deepcopy(dict(given))
    for key, value in changes.items():
        set_field(document, key, copy.deepcopy(value), source)
    for override in overrides:
        apply_override(override, document)
    return document


def _read_mapping(path: str | Path) -> dict[str, Any]:
    from interlude.simulator.scenario.outline import Outline

    return read_scenario(Path(path), f"is empty; a scenario needs {', '.join(Outline.model_fields)}")


class _Named(BaseModel):
    name: Name
