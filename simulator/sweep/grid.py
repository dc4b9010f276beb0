"""The grid of a sweep: a scenario YAML, its ``sweep`` block and flags become a list of scenarios. Nothing runs here.

    sweep:
      clients.count: [16, 32, 64, 100]     # every value with every value of the others
      methods.mba.beta: [0.0, 1.0]         # an entry of the methods by its label, or by its position
      seed: [0, 1, 2]
      methods: [fedavg, {name: mba}]       # which methods run; labels of the scenario's, or entries
      zip:                                 # lists that are walked through side by side, together one axis
        world.compute.throughput_gflops.median: [0.05, 0.03]
        world.compute.throughput_gflops.sigma: [0.1, 1.0]

A *point* is one choice of everything but seed and methods. It is a scenario of its own, named after its values:
``client_scaling-clients-16``. Its runs are in ``runs/<sweep>/<point>/<label>-s<seed>``: one directory to draw the whole
sweep from, the runs of a point beside each other, and names that do not change when values are added. If only seeds and
methods are swept there is one point, the scenario itself, and its runs are those of ``interlude run``.
"""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from interlude.simulator.errors import BadInputError, nearest
from interlude.simulator.methods import METHODS
from interlude.simulator.scenario.documents import load_documents
from interlude.simulator.scenario.labels import label_of, position_of
from interlude.simulator.scenario.loading import parse_scenario
from interlude.simulator.scenario.paths import beside
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.scenario.sections import TuneSpec
from interlude.simulator.scenario.yaml_reader import set_field
from interlude.simulator.sweep.flags import Flags, cut, distinct
from interlude.simulator.sweep.names import point_name
from interlude.simulator.sweep.origins import by_label, placed

COUNT, SEED, METHODS_FIELD, ZIP = "clients.count", "seed", "methods", "zip"

_FIXED = ("name", "sweep", "variants", "tune")


@dataclass(frozen=True)
class Base:
    """What points of a sweep are made from: a variant of the scenario, without any value of an axis."""

    document: Mapping[str, Any]
    """It as plain data, with the methods that the sweep runs."""
    tune: TuneSpec | None
    points: frozenset[str]
    """Names of the points."""


@dataclass(frozen=True)
class Sweep:
    """Scenarios to run, each with all its methods: one per point and seed."""

    name: str
    scenarios: tuple[Scenario, ...]
    has_points: bool
    """Whether scenarios differ in more than their seeds, so that they get a common directory."""
    documents: tuple[Mapping[str, Any], ...] = ()
    """Each scenario as the plain data that it was read from."""
    bases: tuple[Base, ...] = ()

    @property
    def num_runs(self) -> int:
        """Runs in all: one per scenario and method."""
        return sum(len(scenario.methods) for scenario in self.scenarios)

    def directory(self, runs: Path) -> Path:
        """Return the directory that holds all the sweep's runs."""
        return runs / self.name

    def parent_of_points(self, runs: Path) -> Path:
        """Return the directory in which each point has its own."""
        return self.directory(runs) if self.has_points else runs


@dataclass(frozen=True)
class _Axis:
    """Fields that change together, and their values."""

    fields: tuple[str, ...]
    choices: tuple[tuple[Any, ...], ...]
    """One value per field for each step along the axis."""


def load_sweep(
    path: str | Path, overrides: Sequence[str] = (), flags: Flags | None = None, *, may_be_one: bool = False
) -> Sweep:
    """Read a scenario YAML and return the sweep of its ``sweep`` block and flags.

    Args:
        path: the file.
        overrides: ``key=value`` pairs applied before the sweep's own values.
        flags: they replace the block's entries of the same fields.
        may_be_one: whether it may be a single scenario, of which nothing is swept.

    Raises:
        BadInputError: one sentence that names the file or flag, the field, what was given and what is allowed.
    """
    flags = flags or Flags()
    documents = load_documents(path, overrides)
    source = f"{path}: sweep"
    methods, axes = _axes(documents.sweep, flags, source)
    is_one = documents.sweep is None and not axes and methods is None and len(documents.variants) == 1
    if is_one and not may_be_one:
        raise BadInputError(f"{path}: has no 'sweep' block, and no --clients, --seeds or --methods is given")
    if documents.sweep is not None and not axes and methods is None:
        raise BadInputError(f"{source}: is empty; it maps fields to lists of values, e.g. clients.count: [16, 32]")
    _check_not_set(overrides, axes)
    scenarios: list[Scenario] = []
    changed: list[Mapping[str, Any]] = []
    bases = []
    for document, tune in zip(documents.variants, documents.tunes, strict=True):
        parse_scenario(document, str(path))  # errors of the scenario itself are not reported as the sweep's
        source_of_methods = _source_of_methods(flags, source)
        points = list(_points_of(document, methods, axes, str(path), source_of_methods))
        scenarios += [scenario for scenario, _ in points]
        changed += [values for _, values in points]
        names = frozenset(scenario.name for scenario, _ in points)
        bases.append(Base(_with_methods(document, methods, source_of_methods), tune, names))
    check_distinct(scenarios, source)
    has_points = len(documents.variants) > 1 or any(set(axis.fields) - {SEED} for axis in axes)
    placed_scenarios = tuple(placed(scenarios, documents.name))
    return Sweep(documents.name, placed_scenarios, has_points, tuple(changed), tuple(bases))


def _axes(block: Any, flags: Flags, source: str) -> tuple[Sequence[Any] | None, list[_Axis]]:
    """Return the requested methods, None if there are none, and the axes."""
    if not isinstance(block, dict | None):
        raise BadInputError(f"{source}: must map fields to lists of values; given {cut(block)}")
    fields = dict(block or {})
    zipped = fields.pop(ZIP, {})
    if not isinstance(zipped, dict):
        raise BadInputError(f"{source}.{ZIP}: must map fields to lists of values; given {cut(zipped)}")
    zipped = dict(zipped)
    methods: Sequence[Any] | None = fields.pop(METHODS_FIELD, None)
    if flags.methods is not None:
        methods = _values(list(flags.methods), "--methods")
    elif methods is not None:
        methods = _values(methods, f"{source}.{METHODS_FIELD}")
    for field, given in ((COUNT, flags.clients), (SEED, flags.seeds)):
        if given is not None:
            (zipped if field in zipped else fields)[field] = list(given)
    for field in zipped:
        if field in fields:
            raise BadInputError(f"{source}.{field}: is given twice, by itself and under '{ZIP}'")
    for field in (*fields, *zipped):
        if field in _FIXED or (field in zipped and field == METHODS_FIELD):
            allowed = "methods stand beside 'zip'" if field == METHODS_FIELD else "a sweep names its points itself"
            raise BadInputError(f"{source}.{field}: cannot be swept here; {allowed}")
    axes = [_Axis((field,), tuple((v,) for v in _values(vs, f"{source}.{field}"))) for field, vs in fields.items()]
    if zipped:
        axes.insert(0, _zipped({f: _list(values, f"{source}.{ZIP}.{f}") for f, values in zipped.items()}, source))
    return methods, axes


def _zipped(lists: Mapping[str, list[Any]], source: str) -> _Axis:
    if len({len(values) for values in lists.values()}) > 1:
        said = ", ".join(f"{len(values)} of {field}" for field, values in lists.items())
        raise BadInputError(f"{source}.{ZIP}: lists must be equally long; given {said}")
    choices = list(zip(*lists.values(), strict=True))
    distinct([list(choice) for choice in choices], f"{source}.{ZIP}")
    return _Axis(tuple(lists), tuple(choices))


def _values(given: Any, source: str) -> list[Any]:
    return distinct(_list(given, source), source)


def _list(given: Any, source: str) -> list[Any]:
    if not isinstance(given, list):
        raise BadInputError(f"{source}: must be a list of values, e.g. [1, 2]; given {cut(given)}")
    if not given:
        raise BadInputError(f"{source}: is an empty list; it needs at least one value")
    return given


def _check_not_set(overrides: Sequence[str], axes: Sequence[_Axis]) -> None:
    for override in overrides:
        key = override.partition("=")[0]
        for field in (field for axis in axes for field in axis.fields):
            if field == key or field.startswith(f"{key}.") or key.startswith(f"{field}."):
                raise BadInputError(f"--set '{override}': the sweep varies {field}, so it cannot be set, too")


def _source_of_methods(flags: Flags, source: str) -> str:
    return f"{source}.{METHODS_FIELD}" if flags.methods is None else "--methods"


def _points_of(
    document: Mapping[str, Any], methods: Sequence[Any] | None, axes: Sequence[_Axis], path: str, source_of_methods: str
) -> Iterator[tuple[Scenario, Mapping[str, Any]]]:
    """Yield the scenarios of one variant and their plain data, in the order of the axes; the last one turns fastest."""
    fields = [_resolved(field, document, f"{path}: sweep.{field}") for axis in axes for field in axis.fields]
    labels = [label_of(entry) for entry in document[METHODS_FIELD]]
    taken: dict[str, str] = {}
    for choice in itertools.product(*(axis.choices for axis in axes)):
        changed = copy.deepcopy(dict(document))
        values = list(itertools.chain(*choice))
        for field, value in zip(fields, values, strict=True):
            set_field(changed, field, copy.deepcopy(value), f"{path}: sweep.{field}")
        changed = _with_methods(beside(changed, Path(path).parent), methods, source_of_methods)
        changed["name"] = _point_name(str(document["name"]), axes, choice, taken)
        scenario = parse_scenario(changed, f"{path}: sweep" if axes else path)
        swept = {by_label(f, labels): value for f, value in zip(fields, values, strict=True) if f != SEED}
        methods_in_order = tuple(dict.fromkeys([*labels, *scenario.origin.methods]))
        yield scenario.with_origin(replace(scenario.origin, methods=methods_in_order, swept=swept)), changed


def _with_methods(document: Mapping[str, Any], methods: Sequence[Any] | None, source: str) -> dict[str, Any]:
    """Return a document with the methods that are requested; None: all of its own."""
    entries = document[METHODS_FIELD]
    return {**document, METHODS_FIELD: entries if methods is None else list(_selected(entries, methods, source))}


def _resolved(field: str, document: Mapping[str, Any], source: str) -> str:
    """Return a field with a method's position in place of its label: ``methods.mba.beta`` -> ``methods.3.beta``."""
    head, *rest = field.split(".")
    if head != METHODS_FIELD or not rest or rest[0].isdecimal():
        return field
    position = position_of(rest[0], document[METHODS_FIELD])
    if position is None:
        labels = [label_of(entry) for entry in document[METHODS_FIELD]]
        known = f"{', '.join(labels)}{nearest(rest[0], labels)}"
        raise BadInputError(f"{source}: no method has the label '{rest[0]}'; labels are {known}")
    return ".".join([head, str(position), *rest[1:]])


def _selected(entries: Sequence[Any], wanted: Sequence[Any], source: str) -> Iterator[Any]:
    """Yield the scenario's entries of the methods wanted, by label, then by name; others with their own defaults."""
    for name in wanted:
        if not isinstance(name, str):
            yield name
            continue
        found = [entry for entry in entries if label_of(entry) == name]
        found = found or [entry for entry in entries if entry["name"] == name]
        if not found and name not in METHODS and ":" not in name:
            known = list(dict.fromkeys([*map(label_of, entries), *METHODS]))
            raise BadInputError(
                f"{source}: unknown method '{name}'; known are {', '.join(known)}{nearest(name, known)}"
            )
        yield from found or [{"name": name}]


def _point_name(base: str, axes: Sequence[_Axis], choice: Sequence[Sequence[Any]], taken: dict[str, str]) -> str:
    """Return the name of a point; zipped lists are named after the first of them."""
    pairs = [list(zip(axis.fields, values, strict=True)) for axis, values in zip(axes, choice, strict=True)]
    kept = [[pair for pair in pairs_of_axis if pair[0] != SEED] for pairs_of_axis in pairs]
    return point_name(base, [axis[0] for axis in kept if axis], list(itertools.chain(*kept)), taken)


def check_distinct(scenarios: Sequence[Scenario], source: str) -> None:
    """Raise BadInputError if two scenarios differ in nothing but their names."""
    seen: dict[str, Scenario] = {}
    for scenario in scenarios:
        other = seen.setdefault(scenario.model_copy(update={"name": "any"}).digest(), scenario)
        if other is not scenario:
            both = f"{other.name} and {scenario.name}" if other.name != scenario.name else f"two of {scenario.name}"
            raise BadInputError(f"{source}: {both} are the same scenario; a value is given twice or changes nothing")
