"""Reads a scenario YAML: variants and overrides applied, every field checked. No file of a data set is opened."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from interlude.simulator.data import DATASETS, known_names
from interlude.simulator.data.prepare import Preparation
from interlude.simulator.data.spec import DataSpec
from interlude.simulator.errors import BadInputError, UserCodeError, one_line
from interlude.simulator.methods import METHODS
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.own_code.errors import blaming
from interlude.simulator.scenario.documents import load_documents
from interlude.simulator.scenario.registry import data_source, method_class
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.scenario.sections import NAME_FORM
from interlude.simulator.scenario.validation import check_numbers, validated
from interlude.simulator.scenario.yaml_reader import apply_override
from interlude.simulator.training.spec import TrainingSpec


def load_scenarios(path: str | Path, overrides: Sequence[str] = (), seed: int | None = None) -> list[Scenario]:
    """Read a scenario YAML that may hold ``variants``: named sets of changes, each a scenario of its own.

    ``variants`` maps names to fields with dots and their values, as ``--set`` takes them. The variant's scenario is
    named ``<scenario>-<variant>``. A file without variants is one scenario.

    Args:
        path: the file, or the name of a shipped scenario, e.g. ``quickstart``.
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


def load_scenario(path: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario YAML.

    Args:
        path: the file, or the name of a shipped scenario, e.g. ``quickstart``.
        overrides: ``key=value`` pairs applied on top; dots lead into sections and lists, e.g. ``methods.0.beta=2``
            or ``methods.mba.beta=2``.

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
    check_numbers(given, (), source)
    filled: dict[str, Any] = dict(given)
    if isinstance(given.get("data"), dict):
        filled["data"] = _parse_data(given["data"], source)
    if isinstance(given.get("methods"), list):
        filled["methods"] = [_parse_method(entry, f"methods.{i}", source) for i, entry in enumerate(given["methods"])]
    scenario = validated(Scenario, filled, (), source)
    _check_labels(scenario, source)
    methods = tuple(_with_training(scenario, i, source) for i in range(len(scenario.methods)))
    return scenario.model_copy(update={"methods": methods})


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


def _parse_data(given: Mapping[str, Any], source: str) -> DataSpec:
    if given.get("dataset") is None:
        raise BadInputError(f"{source}: data.dataset is missing; data sets are {known_names()}")
    try:
        options = data_source(given["dataset"]).options
    except BadInputError as error:
        raise BadInputError(f"{source}: data.dataset: {error}") from error
    return validated(options, given, ("data",), source)


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
        return validated(method.Options, _with_default_server(given, method), (where,), source)


def _with_training(scenario: Scenario, position: int, source: str) -> MethodOptions:
    """Return a method whose own training is checked where it is laid over the scenario's, and typed as that is."""
    method = scenario.methods[position]
    if method.training is None:
        return method
    where = ("methods", str(position), "training")
    whole = validated(TrainingSpec, scenario.training.overlaid(method.training), where, source)
    return method.model_copy(update={"training": _typed(method.training, whole.model_dump(mode="json"))})


def _typed(part: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a whole at the keys of its part, to any depth."""
    return {key: _typed(part[key], whole[key]) if isinstance(whole[key], dict) else whole[key] for key in part}


def _with_default_server(given: Mapping[str, Any], method: type[Method]) -> Mapping[str, Any]:
    """Let a method's entry change options of its default server rule, whether it names the rule or not."""
    server = given.get("server")
    default = method.Options.model_fields["server"].default
    if isinstance(server, dict) and isinstance(default, BaseModel):
        options = default.model_dump()
        if server.get("rule", options.get("rule")) == options.get("rule"):
            return {**given, "server": {**options, **server}}
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
