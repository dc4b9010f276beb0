"""Finds run directories and groups them by scenario."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from interlude.analysis.choices import DoesNotApplyError
from interlude.simulator.errors import BadInputError
from interlude.simulator.files import without_folders
from interlude.simulator.record import reader
from interlude.simulator.record.reader import RunRecord

_NOT_WORLD = ("name", "seed", "methods", "paper")


class Found(NamedTuple):
    """The runs at or below some paths."""

    records: list[RunRecord]
    """Complete runs, in the order of the paths, then of names and seeds."""
    left_out: list[str]
    """A sentence for each run that failed, is unfinished or damaged."""


def find_runs(paths: Sequence[Path]) -> Found:
    """Return the complete runs at or below paths; unfinished and damaged ones below a path are left out.

    Raises:
        BadInputError: if a path is missing or holds no run, or is itself a run that is damaged or unfinished, or no run
            is complete.
    """
    found: dict[Path, RunRecord] = {}
    left_out: dict[str, None] = {}  # each sentence once, in order
    for path in paths:
        for record in reader.find_runs(path, left_out.setdefault):
            try:
                _need_whole(record)
                found.setdefault(record.path.resolve(), record)
            except BadInputError as error:
                if record.path == path:
                    raise
                left_out.setdefault(str(error))
    if not found:
        raise BadInputError(next(iter(left_out), "no run directory given"))
    return Found(list(found.values()), [f"left out {sentence}" for sentence in left_out])


def _need_whole(record: RunRecord) -> None:
    if not record.is_complete:
        why = f": {record.info['error']}" if record.info.get("error") else ""
        raise BadInputError(f"{record.path}: the run is not complete ({record.info['status']}{why})")
    record.check()


def common_name(names: Sequence[str]) -> str:
    """Return the common prefix of scenario names without its trailing separator; may be empty."""
    differs = (i for i, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) > 1)
    return names[0] if len(set(names)) == 1 else names[0][: next(differs, min(map(len, names)))].rstrip("-_. ")


def common_directory(records: Sequence[RunRecord]) -> Path:
    """Return the directory that holds all the run directories: the scenario's, or for several scenarios theirs."""
    parents = [record.path.resolve().parent for record in records]
    common = parents[0]
    while not all(parent.is_relative_to(common) for parent in parents):
        common = common.parent
    here = Path.cwd()
    return common.relative_to(here) if common.is_relative_to(here) else common


def leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values of nested mappings and lists by their paths, e.g. ``clients.count``."""
    if isinstance(node, Mapping):
        items = [(str(key), child) for key, child in node.items()]
    elif isinstance(node, Sequence) and not isinstance(node, str):
        items = [(str(index), child) for index, child in enumerate(node)]
    else:
        return {prefix: node}
    return {p: v for key, child in items for p, v in leaves(child, f"{prefix}.{key}" if prefix else key).items()}


def world_of(record: RunRecord) -> dict[str, Any]:
    """Return the fields of the run's scenario by path, without name, seed, methods and published results.

    Files count by their digests, wherever they lie.
    """
    scenario = without_folders(record.scenario)
    fields = {key: value for key, value in scenario.items() if key not in _NOT_WORLD}
    return leaves({**fields, "files": record.info.get("files", {})})


def options_of(record: RunRecord) -> dict[str, Any]:
    """Return the method's options by path, without its label."""
    return {path: value for path, value in leaves(record.scenario["methods"][0]).items() if path != "label"}


def differing(mappings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the paths whose values differ between the mappings, with the distinct values."""
    paths = dict.fromkeys(path for mapping in mappings for path in mapping)
    found = {}
    for path in paths:
        values = [mapping.get(path) for mapping in mappings]
        distinct = [value for index, value in enumerate(values) if value not in values[:index]]
        if len(distinct) > 1:
            found[path] = distinct
    return found


def some_of(values: Sequence[Any]) -> str:
    """Return the first few of many values, for a sentence."""
    return ", ".join(map(str, values[:4])) + (", ..." if len(values) > 4 else "")


def by_scenario(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Return the records of each scenario by a name for it: the scenario's, numbered where several have the same."""
    groups: list[list[RunRecord]] = []
    for record in records:
        same = (
            g for g in groups if g[0].scenario["name"] == record.scenario["name"] and world_of(g[0]) == world_of(record)
        )
        group = next(same, None)
        if group is None:
            groups.append([record])
        else:
            group.append(record)
    named: dict[str, list[RunRecord]] = {}
    for group in groups:
        name = str(group[0].scenario["name"])
        number = sum(name == str(other[0].scenario["name"]) for other in groups[: groups.index(group)])
        named[f"{name}-{number + 1}" if number else name] = group
    return named


def need_one_scenario(records: Sequence[RunRecord]) -> None:
    """Check that all runs belong to one scenario, so that they can share a plot, and that no two are the same run.

    Raises:
        DoesNotApplyError: naming the fields that differ.
    """
    scenarios = by_scenario(records)
    if len(scenarios) > 1:
        fields = differing([world_of(group[0]) for group in scenarios.values()])
        what = "; ".join(f"{path}: {some_of(values)}" for path, values in list(fields.items())[:3])
        names = some_of(list(scenarios))
        raise DoesNotApplyError(
            f"the runs are of {len(scenarios)} scenarios ({names}{f'; they differ in {what}' if what else ''}); "
            "name the runs of one"
        )
    seen: dict[tuple[str, int], RunRecord] = {}
    for record in records:
        other = seen.setdefault((record.label, record.seed), record)
        if other is not record:
            raise DoesNotApplyError(f"{other.path} and {record.path} are both '{record.label}' with seed {record.seed}")
