"""What a scenario YAML may say, and the sentences about what it may not."""

import copy
import hashlib
import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    ValidationError,
    model_validator,
)

from interlude.models.encoders import misfit
from interlude.models.network import ModelSpec
from interlude.simulator.data import DATASETS, OWN, find_source, load_dataset
from interlude.simulator.data.partition import check_partition
from interlude.simulator.data.prepare import Preparation
from interlude.simulator.data.spec import DataSpec
from interlude.simulator.errors import BadInputError, nearest, one_line
from interlude.simulator.files import located
from interlude.simulator.methods import METHODS
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.run.limits import LimitsSpec
from interlude.simulator.scenario.messages import sentence
from interlude.simulator.scenario.yaml_reader import apply_override, read_yaml, set_field
from interlude.simulator.training.executors.strategy import ExecutorSpec
from interlude.simulator.training.task import TrainingSpec
from interlude.simulator.world.world import WorldSpec

_LARGEST = 1e100
_LARGEST_INT = 2**63 - 1
_LONGEST_NAME = 200  # file systems take 255 bytes, and a name gets a seed, or what a sweep varies, behind it


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ClientsSpec(_Section):
    """The ``clients`` section."""

    count: PositiveInt = Field(description="clients in the federation")
    multimodal_fraction: float = Field(
        1.0, ge=0, le=1, description="share of clients that hold every modality; the rest hold one each, evenly"
    )
    modalities: dict[str, Annotated[float, Field(ge=0, le=1)]] | None = Field(
        None,
        description="share of clients that hold a modality, each drawn apart, in place of multimodal_fraction; "
        "1 where it is not named",
    )

    @model_validator(mode="after")
    def _one_way(self) -> "ClientsSpec":
        if self.modalities is not None and self.multimodal_fraction != 1.0:
            raise ValueError("takes 'multimodal_fraction' or 'modalities', not both")
        return self


class UntilSpec(_Section):
    """The ``until`` section: what ends a run, whichever comes first."""

    simulated_s: PositiveFloat | None = Field(None, description="simulated seconds")
    versions: PositiveInt | None = Field(None, description="merges; rounds where there is a barrier")

    @model_validator(mode="after")
    def _ends(self) -> "UntilSpec":
        if self.simulated_s is None and self.versions is None:
            raise ValueError("needs 'simulated_s' or 'versions', or both")
        return self


class EvaluateSpec(_Section):
    """The ``evaluate`` section. Evaluating takes no simulated time and changes no event."""

    every_s: PositiveFloat = Field(description="simulated seconds between two evaluations")
    samples: PositiveInt | None = Field(
        None, description="test samples that are looked at, a fixed random subset; unset: all"
    )
    target_accuracy: float | None = Field(
        None, gt=0, le=1, description="fused accuracy whose first time is reported as time to accuracy"
    )


class PaperSpec(_Section):
    """The ``paper`` section: what was published of the same experiment, for the report to show beside what came out."""

    source: str = Field(description="paper, table and column")
    accuracy: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        description="published fused accuracy by the label of a method"
    )


class Scenario(_Section):
    """A whole scenario."""

    name: str = Field(max_length=_LONGEST_NAME, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: NonNegativeInt = 0
    data: SerializeAsAny[DataSpec]
    model: ModelSpec
    clients: ClientsSpec
    world: WorldSpec
    training: TrainingSpec
    methods: Annotated[tuple[SerializeAsAny[MethodOptions], ...], Field(min_length=1)]
    until: UntilSpec
    evaluate: EvaluateSpec
    executor: ExecutorSpec = ExecutorSpec()
    limits: LimitsSpec = LimitsSpec()
    paper: PaperSpec | None = Field(None, description="published numbers to compare with; they change no run")

    def for_run(self, method: MethodOptions, seed: int) -> "Scenario":
        """Return the scenario of one run: one method, one seed."""
        return self.model_copy(update={"methods": (method,), "seed": seed})

    def resolved(self) -> dict[str, Any]:
        """Return everything the scenario says, defaults included, as plain data."""
        return self.model_dump(mode="json")

    def files(self) -> dict[Path, Path]:
        """Return the files that the scenario's world reads: as they are given, and where they lie."""
        return {Path(path): located(Path(path)) for path in _files_in(self.resolved()["world"])}

    def digest(self) -> str:
        """Return a hash of everything the scenario says."""
        return hashlib.sha256(json.dumps(self.resolved(), sort_keys=True).encode()).hexdigest()


def load_scenarios(path: str | Path, overrides: Sequence[str] = ()) -> list[Scenario]:
    """Read a scenario YAML that may hold ``variants``: named sets of changes, each a scenario of its own.

    Under ``variants`` stand a name and, below it, fields with dots and their values, as ``--set`` takes them. The
    variant is called ``<scenario>-<variant>``. A file without variants is one scenario.

    Args:
        path: the file.
        overrides: ``key=value`` pairs applied on top of every variant.

    Raises:
        BadInputError: one sentence that names the file, the field, what was given and what is allowed.
    """
    documents = load_documents(path, overrides)
    if documents.sweep is not None:
        raise BadInputError(f"{path}: sweep: describes many runs; 'interlude sweep {path}' runs them")
    return [parse_scenario(document, source=str(path)) for document in documents.variants]


@dataclass(frozen=True)
class Documents:
    """What stands in a scenario YAML, as plain data."""

    name: str
    """The scenario's name, without a variant's."""
    variants: list[dict[str, Any]]
    """One mapping per variant; the whole file where it has none."""
    sweep: Any
    """What stands under ``sweep``, None where nothing does."""


def load_documents(path: str | Path, overrides: Sequence[str] = ()) -> Documents:
    """Read a scenario YAML, without looking at what its fields say.

    Args:
        path: the file.
        overrides: ``key=value`` pairs applied on top of every variant.

    Raises:
        BadInputError: one sentence that names the file, the field, what was given and what is allowed.
    """
    given = _read_mapping(path)
    sweep = given.pop("sweep") or {} if "sweep" in given else None
    variants = given.pop("variants", None)
    if variants is None:
        variants = {"": {}}
    if not isinstance(variants, dict) or not all(isinstance(changes, dict) for changes in variants.values()):
        raise BadInputError(f"{path}: variants: must map each variant's name to fields and their values")
    documents = []
    for variant, changes in variants.items():
        document = copy.deepcopy(given)
        if variant:
            document["name"] = f"{given.get('name')}-{variant}"
        for key, value in changes.items():
            set_field(document, str(key), value, f"{path}: variants.{variant}")
        for override in overrides:
            apply_override(override, document)
        documents.append(document)
    name = documents[0].get("name") if len(documents) == 1 and "" in variants else given.get("name")
    return Documents(str(name), documents, sweep)


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
        given: what a scenario YAML holds.
        source: what messages call it.

    Raises:
        BadInputError: one sentence about the first thing that is wrong.
    """
    _check_numbers(given, (), source)
    filled: dict[str, Any] = dict(given)
    if isinstance(given.get("data"), dict):
        filled["data"] = _parse_data(given["data"], source)
    if isinstance(given.get("methods"), list):
        filled["methods"] = [_parse_method(entry, f"methods.{i}", source) for i, entry in enumerate(given["methods"])]
    scenario = _validated(Scenario, filled, (), source)
    _check_data(scenario, source)
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
    known = find_source(name)
    prepare = None if known is None else known.preparation
    if prepare is None:
        wanted = ", ".join(other for other, source in DATASETS.items() if source.preparation is not None)
        raise BadInputError(f"data set '{name}' needs no preparation; those that do are {wanted or 'none'}")
    return prepare(spec)


def method_class(name: str) -> type[Method]:
    """Return a method by its name in the table or as ``package.module:Class``.

    Raises:
        BadInputError: if there is none.
    """
    if name in METHODS:
        return METHODS[name]
    module_name, colon, class_name = name.partition(":")
    if not colon:
        raise BadInputError(
            f"unknown method '{name}'; methods are {', '.join(METHODS)}, or your own as 'package.module:Class'"
            + nearest(name, METHODS)
        )
    try:
        found = getattr(import_module(module_name), class_name)
    except Exception as error:  # whatever the user's module raises when it is imported
        raise BadInputError(f"method '{name}' cannot be imported: {one_line(error)}") from error
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise BadInputError(
            f"'{name}' is not a method: it must be a subclass of interlude.simulator.methods.base.Method"
        )
    return found


def _check_numbers(node: Any, where: tuple[str, ...], source: str) -> None:
    """Refuse numbers that arithmetic would not survive; NaN and infinity are left to the fields, which refuse them."""
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
            f"{source}: {'.'.join(where) or 'scenario'}: is no number that can be computed with; given {shown}, "
            f"allowed are integers up to {_LARGEST_INT:.2g} and other numbers from {1 / _LARGEST:g} to {_LARGEST:g}"
        )


def _files_in(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["file"]] if "file" in node else []
        return own + [path for child in node.values() for path in _files_in(child)]
    return [path for child in node for path in _files_in(child)] if isinstance(node, list) else []


def _read_mapping(path: str | Path) -> dict[str, Any]:
    given = read_yaml(Path(path))
    if given is None:
        raise BadInputError(f"{path}: is empty; a scenario needs {', '.join(Scenario.model_fields)}")
    if not isinstance(given, dict):
        raise BadInputError(f"{path}: must be a mapping of sections, not a {type(given).__name__}")
    return given


def _parse_data(given: Mapping[str, Any], source: str) -> DataSpec:
    name = given.get("dataset")
    found = find_source(name) if isinstance(name, str) else None
    if found is None:
        said = "data.dataset is missing" if name is None else f"data.dataset: unknown data set '{name}'"
        raise BadInputError(
            f"{source}: {said}; data sets are {', '.join(DATASETS)}, or your own as {' or '.join(map(repr, OWN))}"
            + nearest(str(name), [*DATASETS, "folder"])
        )
    return _validated(found.options, given, ("data",), source)


def _parse_method(given: Any, where: str, source: str) -> MethodOptions:
    if isinstance(given, MethodOptions):
        return given
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise BadInputError(f"{source}: {where}: must be a mapping with a 'name'; methods are {', '.join(METHODS)}")
    try:
        method = method_class(given["name"])
    except BadInputError as error:
        raise BadInputError(f"{source}: {where}.name: {error}") from error
    return _validated(method.Options, _with_default_server(given, method), (where,), source)


def _with_default_server(given: Mapping[str, Any], method: type[Method]) -> Mapping[str, Any]:
    """Let a method's entry change options of its default server rule without naming the rule."""
    server = given.get("server")
    default = method.Options.model_fields["server"].default
    if isinstance(server, dict) and "rule" not in server and isinstance(default, BaseModel):
        return {**given, "server": {**default.model_dump(), **server}}
    return given


def _check_data(scenario: Scenario, source: str) -> None:
    dataset = load_dataset(scenario.data)
    try:
        check_partition(scenario.data.partition, dataset, scenario.clients.count)
    except BadInputError as error:
        raise BadInputError(f"{source}: {error}") from error
    _check_fractions(scenario.clients.modalities, dataset.modalities, source)
    _same_names(dataset.modalities, scenario.world.arrival, "world.arrival", "an arrival model", source)
    if isinstance(scenario.model.encoder, dict):
        _same_names(dataset.modalities, scenario.model.encoder, "model.encoder", "an encoder", source)
    for modality, given in dataset.inputs.items():
        why_not = misfit(scenario.model.encoder_of(modality), given)
        if why_not is not None:
            raise BadInputError(f"{source}: model.encoder: modality '{modality}': {why_not}")
    for i, method in enumerate(scenario.methods):
        try:
            method.check_modalities(dataset.modalities)
        except ValueError as error:
            raise BadInputError(f"{source}: methods.{i}.{error}") from error


def _check_fractions(fractions: Mapping[str, float] | None, modalities: Sequence[str], source: str) -> None:
    for name in fractions or {}:
        if name not in modalities:
            raise BadInputError(
                f"{source}: clients.modalities: unknown modality '{name}'; the data set's modalities are "
                f"{', '.join(modalities)}{nearest(str(name), modalities)}"
            )
    if fractions is not None and all(fractions.get(modality, 1.0) == 0.0 for modality in modalities):
        raise BadInputError(f"{source}: clients.modalities: no client would hold any modality; raise one share above 0")


def _same_names(modalities: Sequence[str], given: Mapping[str, Any], field: str, what: str, source: str) -> None:
    names = ", ".join(modalities)
    for name in given:
        if name not in modalities:
            raise BadInputError(
                f"{source}: {field}: unknown modality '{name}'; the data set's modalities are {names}"
                + nearest(str(name), modalities)
            )
    for modality in modalities:
        if modality not in given:
            raise BadInputError(f"{source}: {field}: modality '{modality}' has no entry; each of {names} needs {what}")


def _check_labels(scenario: Scenario, source: str) -> None:
    seen: set[str] = set()
    for method in scenario.methods:
        if method.run_label in seen:
            raise BadInputError(
                f"{source}: methods: '{method.run_label}' appears twice; give one of them a 'label' of its own"
            )
        seen.add(method.run_label)


_Model = TypeVar("_Model", bound=BaseModel)


def _validated(model: type[_Model], given: Any, where: tuple[str, ...], source: str) -> _Model:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise BadInputError(f"{source}: {sentence(error, model, given, where)}") from error
