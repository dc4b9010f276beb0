"""Reads a scenario YAML: variants and overrides applied, every field checked. No file of a data set is opened."""

import copy
import math
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from interlude.simulator.data import DATASETS
from interlude.simulator.data.prepare import Preparation
from interlude.simulator.data.spec import DataSpec
from interlude.simulator.errors import BadInputError, UserCodeError, one_line
from interlude.simulator.methods import METHODS
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.scenario.messages import sentence
from interlude.simulator.scenario.registry import data_source, known_data_sets, method_class
from interlude.simulator.scenario.scalars import check_types
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.scenario.sections import NAME_FORM, Name
from interlude.simulator.scenario.yaml_reader import apply_override, read_yaml, set_field
from interlude.simulator.user_errors import blaming

_LARGEST = 1e100
_LARGEST_INT = 2**63 - 1


def load_scenarios(path: str | Path, overrides: Sequence[str] = (), seed: int | None = None) -> list[Scenario]:
    """Read a scenario YAML that may hold ``variants``: named sets of changes, each a scenario of its own.

    ``variants`` maps names to fields with dots and their values, as ``--set`` takes them. The variant's scenario is
    named ``<scenario>-<variant>``. A file without variants is one scenario.

    Args:
        path: the file.
        overrides: ``key=value`` pairs applied on top of every variant.
        seed: replaces the scenario's.

    Raises:
        BadInputError: one sentence that names the file, the field, what was given and what is allowed.
    """
    documents = load_documents(path, overrides)
    if documents.sweep is not None:
        raise BadInputError(f"{path}: sweep: describes many runs; 'interlude sweep {path}' runs them")
    changes = {} if seed is None else {"seed": seed}
    parsed = [parse_scenario(document | changes, source=str(path)) for document in documents.variants]
    return [
        scenario.with_origin(replace(scenario.origin, scenario=documents.name, place=place))
        for place, scenario in enumerate(parsed)
    ]


@dataclass(frozen=True)
class Documents:
    """The content of a scenario YAML, as plain data."""

    name: str
    """The scenario's name, without a variant's."""
    variants: list[dict[str, Any]]
    """One mapping per variant; the whole file where it has none."""
    sweep: Any
    """The content of ``sweep``, None without one."""


def load_documents(path: str | Path, overrides: Sequence[str] = ()) -> Documents:
    """Read a scenario YAML without validating its fields.

    Args:
        path: the file.
        overrides: ``key=value`` pairs applied on top of every variant; ``name`` renames the scenario below them.

    Raises:
        BadInputError: one sentence that names the file, the field, what was given and what is allowed.
    """
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
    return Documents(str(given.get("name")), documents, sweep)


def _variants(given: Mapping[str, Any], variants: Any, overrides: Sequence[str], path: str) -> list[dict[str, Any]]:
    """Return the document of each variant; its own ``name`` goes before ``<scenario>-<variant>``."""
    if not isinstance(variants, dict) or not all(isinstance(changes, dict) for changes in variants.values()):
        raise BadInputError(f"{path}: variants: must map each variant's name to fields and their values")
    if not variants:
        raise BadInputError(f"{path}: variants: is empty; it maps each variant's name to fields and their values")
    base = _validated(_Named, {"name": given["name"]} if "name" in given else {}, (), path).name
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


def load_scenario(path: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario YAML.

    Args:
        path: the file.
        overrides: ``key=value`` pairs applied on top; dots lead into sections and lists, e.g. ``methods.0.beta=2``.

    Raises:
        BadInputError: one sentence that names the file, the field, what was given and what is allowed.
    """
    scenarios = load_scenarios(path, overrides)
    if len(scenarios) > 1:
        names = ", ".join(scenario.name for scenario in scenarios)
        raise BadInputError(f"{path}: holds {len(scenarios)} variants ({names}); read it with load_scenarios")
    return scenarios[0]


def parse_scenario(given: Mapping[str, Any], source: str = "scenario") -> Scenario:
    """Return the scenario that a mapping describes.

    Args:
        given: the content of a scenario YAML.
        source: its name in messages.

    Raises:
        BadInputError: one sentence about the first error.
    """
    _check_numbers(given, (), source)
    filled: dict[str, Any] = dict(given)
    if isinstance(given.get("data"), dict):
        filled["data"] = _parse_data(given["data"], source)
    if isinstance(given.get("methods"), list):
        filled["methods"] = [_parse_method(entry, f"methods.{i}", source) for i, entry in enumerate(given["methods"])]
    scenario = _validated(Scenario, filled, (), source)
    _check_labels(scenario, source)
    return scenario


def preparation_of(name: str, overrides: Sequence[str] = ()) -> Preparation:
    """Return how a data set's raw files become arrays.

    Args:
        name: the data set.
        overrides: ``key=value`` pairs of its options.

    Raises:
        BadInputError: if there is no such data set, it needs no preparation, or an option is wrong.
    """
    given: dict[str, Any] = {"dataset": name}
    for override in overrides:
        apply_override(override, given)
    spec = _parse_data(given, "--set")
    prepare = data_source(name).preparation
    if prepare is None:
        wanted = ", ".join(other for other, source in DATASETS.items() if source.preparation is not None)
        raise BadInputError(f"data set '{name}' needs no preparation; those that do are {wanted or 'none'}")
    return prepare(spec)


def _check_numbers(node: Any, where: tuple[str, ...], source: str) -> None:
    """Refuse numbers whose arithmetic would overflow; the fields themselves refuse NaN and infinity."""
    if isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            _check_numbers(child, (*where, one_line(key)[:60]), source)
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


def _read_mapping(path: str | Path) -> dict[str, Any]:
    given = read_yaml(Path(path))
    if given is None:
        raise BadInputError(f"{path}: is empty; a scenario needs {', '.join(Scenario.model_fields)}")
    if not isinstance(given, dict):
        raise BadInputError(f"{path}: must be a mapping of sections, not a {type(given).__name__}")
    return given


def _parse_data(given: Mapping[str, Any], source: str) -> DataSpec:
    if given.get("dataset") is None:
        raise BadInputError(f"{source}: data.dataset is missing; data sets are {known_data_sets()}")
    try:
        options = data_source(given["dataset"]).options
    except BadInputError as error:
        raise BadInputError(f"{source}: data.dataset: {error}") from error
    return _validated(options, given, ("data",), source)


def _parse_method(given: Any, where: str, source: str) -> MethodOptions:
    if isinstance(given, MethodOptions):
        return given
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise BadInputError(f"{source}: {where}: must be a mapping with a 'name'; methods are {', '.join(METHODS)}")
    try:
        method = method_class(given["name"])
    except UserCodeError:
        raise
    except BadInputError as error:
        raise BadInputError(f"{source}: {where}.name: {error}") from error
    with blaming(f"{where}, the options of '{given['name']}'", is_own=False):
        return _validated(method.Options, _with_default_server(given, method), (where,), source)


def _with_default_server(given: Mapping[str, Any], method: type[Method]) -> Mapping[str, Any]:
    """Let a method's entry change options of its default server rule without naming the rule."""
    server = given.get("server")
    default = method.Options.model_fields["server"].default
    if isinstance(server, dict) and "rule" not in server and isinstance(default, BaseModel):
        return {**given, "server": {**default.model_dump(), **server}}
    return given


def _check_labels(scenario: Scenario, source: str) -> None:
    seen: set[str] = set()
    for method in scenario.methods:
        if not re.fullmatch(NAME_FORM, method.run_label):  # of a class of one's own
            raise BadInputError(
                f"{source}: methods: '{one_line(method.run_label)[:60]}' cannot name a run directory; give it a 'label'"
            )
        if method.run_label in seen:
            raise BadInputError(
                f"{source}: methods: '{method.run_label}' appears twice; give one of them a 'label' of its own"
            )
        seen.add(method.run_label)


class _Named(BaseModel):
    name: Name


_Model = TypeVar("_Model", bound=BaseModel)


def _validated(model: type[_Model], given: Any, where: tuple[str, ...], source: str) -> _Model:
    try:
        validated = model.model_validate(given)
    except ValidationError as error:
        raise BadInputError(f"{source}: {sentence(error, model, given, where)}") from error
    try:
        check_types(given, validated.model_dump(mode="json"), where)
    except ValueError as error:
        raise BadInputError(f"{source}: {error}") from error
    return validated
