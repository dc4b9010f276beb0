"""The trials of a tuning: every method's settings as scenarios, from the ``tune`` block of a sweep. Nothing runs here.

    tune:
      seeds: [100, 101]                       # apart from the seeds of the results
      grid:                                   # fields of training, for every method
        training.optimizer.learning_rate: [0.02, 0.05, 0.1]
        training.local_epochs: [1, 5]
      methods:                                # more for one method, by its label: its own options
        mba: {beta: [0.5, 1]}
      per_point: false                        # once, on the scenario without the sweep's values; true: at every point

Every setting is tried on every seed, for every method apart. An accuracy ends no trial: settings are compared at the
same moment, and what ends a run early hides how far it would have come.
"""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from interlude.simulator.errors import BadInputError, nearest
from interlude.simulator.record.reader import TUNING
from interlude.simulator.scenario.loading import parse_scenario
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.scenario.sections import TuneSpec
from interlude.simulator.scenario.yaml_reader import set_field
from interlude.simulator.sweep.grid import METHODS_FIELD, SEED, Base, Sweep, check_distinct
from interlude.simulator.sweep.names import point_name

_TRAINING = "training."
_NO_OPTION = ("name", "label", "training")
_BY_ACCURACY = ("accuracy", "patience_s", "modality")


@dataclass(frozen=True)
class Trials:
    """The settings that are tried for one method."""

    label: str
    scenario: str
    """Name of the scenario that they change."""
    points: frozenset[str]
    """The points of the sweep that the choice is for."""
    grid: Mapping[str, Sequence[Any]]
    """Lists of values by field of the method's entry."""
    seeds: tuple[int, ...]
    settings: tuple[Mapping[str, Any], ...]
    """A value for each field; the last field turns fastest."""
    scenarios: tuple[Scenario, ...]
    """One for each setting and seed, of this method alone; the seeds of a setting are beside each other."""


def plan_trials(sweep: Sweep, source: str | Path) -> list[Trials]:
    """Return what a sweep tries for each of its methods.

    Args:
        sweep: the sweep whose methods are tuned.
        source: the scenario's file, for messages.

    Raises:
        BadInputError: if the scenario does not say what is tried, or it cannot be: a field is unknown, no training, or
            swept, too, a value is wrong, a seed is one of the results', or there is no validation part.
    """
    return [trials for base in sweep.bases for trials in _trials_of(base, sweep, str(source))]


def sweep_of(trials: Sequence[Trials]) -> Sweep:
    """Return all trials as a sweep of their own, which lies in the folder `TUNING`."""
    return Sweep(TUNING, tuple(scenario for tried in trials for scenario in tried.scenarios), has_points=True)


def _trials_of(base: Base, sweep: Sweep, source: str) -> Iterator[Trials]:
    tune = base.tune
    if tune is None:
        raise BadInputError(f"{source}: has no 'tune' block, which says what --tune tries, e.g. tune.grid")
    points = [pair for pair in zip(sweep.scenarios, sweep.documents, strict=True) if pair[0].name in base.points]
    scenarios = [scenario for scenario, _ in points]
    _check_seeds(tune, scenarios, source)
    _check_fields(tune, scenarios, source)
    documents = {scenario.name: document for scenario, document in reversed(points)}
    for document, names in (
        [(documents[name], frozenset([name])) for name in dict.fromkeys(scenario.name for scenario in scenarios)]
        if tune.per_point
        else [(base.document, base.points)]
    ):
        scenario = parse_scenario(document, source)
        _check_scenario(scenario, source)
        labels = [method.run_label for method in scenario.methods]
        for point in (point for point in scenarios if point.name in names):
            if [method.run_label for method in point.methods] != labels:
                raise BadInputError(f"{source}: sweep: other labels of methods at a point need tune.per_point: true")
        for position, label in enumerate(labels):
            yield _trials_of_method(document, scenario, position, label, tune, names, source)


def _trials_of_method(
    document: Mapping[str, Any],
    base: Scenario,
    position: int,
    label: str,
    tune: TuneSpec,
    points: frozenset[str],
    source: str,
) -> Trials:
    grid = tune.grid_of(label)
    settings = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    scenarios: list[Scenario] = []
    taken: dict[str, str] = {}
    for place, setting in enumerate(settings):
        changed = with_setting(document, position, setting, f"{source}: tune")
        steps = list(setting.items())
        changed["name"] = point_name(base.name, steps, steps, taken)
        changed["until"] = {key: value for key, value in changed["until"].items() if key not in _BY_ACCURACY}
        scenario = parse_scenario(changed, f"{source}: tune")
        swept = {
            field if field.startswith(_TRAINING) else f"{METHODS_FIELD}.{label}.{field}": value
            for field, value in setting.items()
        }
        origin = replace(base.origin, place=place, swept=swept)
        scenarios += [
            scenario.with_origin(origin).for_run(scenario.methods[position], seed).with_origin(origin)
            for seed in tune.seeds
        ]
    check_distinct(scenarios, f"{source}: tune: {label}")
    return Trials(label, base.name, points, grid, tune.seeds, tuple(settings), tuple(scenarios))


def with_setting(document: Mapping[str, Any], position: int, setting: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return a scenario's plain data with a setting of one of its methods, given by its position.

    Raises:
        BadInputError: if a field leads into a value.
    """
    changed = copy.deepcopy(dict(document))
    for field, value in setting.items():
        set_field(changed, f"{METHODS_FIELD}.{position}.{field}", copy.deepcopy(value), source)
    return changed


def _check_seeds(tune: TuneSpec, scenarios: Sequence[Scenario], source: str) -> None:
    of_results = {scenario.seed for scenario in scenarios}
    for seed in tune.seeds:
        if seed in of_results:
            raise BadInputError(f"{source}: tune.seeds: {seed} is a {SEED} of the results, too; tune on other ones")
    if len(set(tune.seeds)) < len(tune.seeds):
        raise BadInputError(f"{source}: tune.seeds: a seed is given twice; given {list(tune.seeds)}")


def _check_fields(tune: TuneSpec, scenarios: Sequence[Scenario], source: str) -> None:
    """Check that fields are those of training, or of methods that there are, and that no sweep varies them."""
    for field in tune.grid:
        if not field.startswith(_TRAINING):
            raise BadInputError(
                f"{source}: tune.grid.{field}: is no field of training; the grid holds fields as "
                "training.local_epochs, and tune.methods a method's own options"
            )
    labels = list(scenarios[0].origin.methods)
    for label, fields in tune.methods.items():
        if label not in labels:
            known = f"{', '.join(labels)}{nearest(label, labels)}"
            raise BadInputError(f"{source}: tune.methods: no method has the label '{label}'; labels are {known}")
        for field in fields:
            if field in _NO_OPTION:
                raise BadInputError(
                    f"{source}: tune.methods.{label}.{field}: cannot be tuned; options of the method can, and fields "
                    "of its training, e.g. training.local_epochs"
                )
    for swept in dict.fromkeys(field for scenario in scenarios for field in scenario.origin.swept):
        for label in labels:
            for field in tune.grid_of(label):
                if _overlap(swept, f"{METHODS_FIELD}.{label}.{field}") or _overlap(swept, field):
                    raise BadInputError(f"{source}: tune: the sweep varies {swept}, so {field} cannot be tuned, too")


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _check_scenario(scenario: Scenario, source: str) -> None:
    if not scenario.evaluate.validation:
        raise BadInputError(
            f"{source}: evaluate.validation: must be above 0, e.g. 0.1, for --tune: settings are chosen by the "
            f"accuracy on that share of the training samples; given {scenario.evaluate.validation:g}"
        )
    if scenario.until.simulated_s is None and scenario.until.versions is None:
        raise BadInputError(
            f"{source}: until: needs 'simulated_s' or 'versions' for --tune: no accuracy ends a run that settings are "
            "compared by"
        )
