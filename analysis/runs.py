"""Finds run directories and groups them: by scenario, and by world, whose runs one plot can show and pair."""

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from interlude.analysis.choices import DoesNotApplyError
from interlude.analysis.fields import (
    Fields,
    differences,
    is_overlaid,
    said,
    setting_of,
    short_name,
    shown,
    some_of,
    world_of,
)
from interlude.simulator.errors import BadInputError
from interlude.simulator.record import reader
from interlude.simulator.record.reader import RunRecord, in_order, methods_in_order

Groups = Mapping[str, Sequence[RunRecord]]
"""The runs of each scenario by a name for it."""


class Found(NamedTuple):
    """The runs at or below some paths."""

    records: list[RunRecord]
    """Complete or diverged runs: scenarios in the order of the paths, each in its own order of points and methods."""
    left_out: list[str]
    """A sentence for each run that failed, is unfinished or damaged."""


def find_runs(paths: Sequence[Path]) -> Found:
    """Return the runs at or below paths that are complete or diverged; unfinished and damaged ones are left out.

    Raises:
        BadInputError: if a path is missing or holds no run, or is itself a run that is damaged or unfinished, or no run
            has a result.
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
    return Found(_ordered(found), [f"left out {sentence}" for sentence in left_out])


def _ordered(records: Mapping[Path, RunRecord]) -> list[RunRecord]:
    """Return records, given by their real paths, in the order of their scenarios.

    Runs that lie beside them, selected or not, have a say in the order, so that a selection changes no place.
    """
    folders: dict[Path, list[RunRecord]] = {}
    for path, record in records.items():
        folders.setdefault(path.parent, []).append(record)
    scenarios: dict[tuple[Path, str], list[RunRecord]] = {}
    for folder, inside in folders.items():
        methods = methods_in_order([*inside, *_beside(folder, records)])
        for record in inside:
            record.info = {**record.info, "origin": {**record.origin, "methods": methods}}
        scenarios.setdefault((folder.parent, inside[0].origin["scenario"]), []).extend(inside)
    return [record for group in scenarios.values() for record in in_order(group)]


def _beside(folder: Path, known: Mapping[Path, RunRecord]) -> Iterator[RunRecord]:
    for info in folder.glob("*/run.json"):
        with suppress(BadInputError):  # a damaged run has no say in the order
            if info.parent not in known:
                yield RunRecord(info.parent)


def _need_whole(record: RunRecord) -> None:
    if not record.has_result:
        why = f": {record.info['error']}" if record.info.get("error") else ""
        raise BadInputError(f"{record.path}: the run is not complete ({record.info['status']}{why})")
    record.check()


def common_name(names: Sequence[str]) -> str:
    """Return the words that scenario names begin with, without a separator at their end; may be empty."""
    words = zip(*(re.split("([-_ ])", name) for name in names), strict=False)
    shared = takewhile(lambda found: len(set(found)) == 1, words)
    return "".join(word for word, *_ in shared).rstrip("-_. ")


def common_directory(records: Sequence[RunRecord]) -> Path:
    """Return the directory that holds all the run directories: the scenario's, or for several scenarios theirs."""
    parents = [record.path.resolve().parent for record in records]
    common = parents[0]
    while not all(parent.is_relative_to(common) for parent in parents):
        common = common.parent
    here = Path.cwd()
    return common.relative_to(here) if common.is_relative_to(here) else common


def by_scenario(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Return the records of each scenario by a name for it: the scenario's, numbered where several have the same.

    Runs whose files, code, device or training on a timing-only clock differ are not runs of one scenario.
    """
    groups = _grouped(records, lambda record: (record.scenario["name"], _key(world_of(record))))
    return _numbered([(str(group[0].scenario["name"]), group) for group in groups])


def by_world(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Return the runs that one plot can show and pair, by a name for them.

    Like `by_scenario`, but scenarios that differ only in options of methods, in training or in the model, as points of
    a sweep do, share a world and are together; `interlude.analysis.lines.named_lines` tells their lines apart.
    """
    groups = _grouped(
        records, lambda record: _key({p: value for p, value in world_of(record).items() if not is_overlaid(p)})
    )
    return _numbered([(title_of(group), group) for group in groups])


def _key(fields: Fields) -> str:
    return repr(sorted(fields.items()))


def _grouped(records: Sequence[RunRecord], key: Callable[[RunRecord], Hashable]) -> list[list[RunRecord]]:
    """Return the records of equal keys whose settings agree, where both say them."""
    groups: list[tuple[Hashable, Fields, list[RunRecord]]] = []
    for record in records:
        own, setting = key(record), setting_of(record)
        for other, common, group in groups:
            if other == own and all(common.get(name, value) == value for name, value in setting.items()):
                common.update(setting)
                group.append(record)
                break
        else:
            groups.append((own, setting, [record]))
    return [group for _, _, group in groups]


def title_of(group: Sequence[RunRecord]) -> str:
    """Return a name for runs that one plot shows: the scenario's or, of several, the sweep's and what they share."""
    if len({record.scenario["name"] for record in group}) == 1:
        return str(group[0].scenario["name"])
    families = {str(record.origin["scenario"]) for record in group}
    if len(families) > 1:
        return common_name([record.scenario["name"] for record in group]) or "scenarios"
    swept = group[0].origin["swept"]
    paths = [path for path in swept if len({shown(record.origin["swept"].get(path)) for record in group}) == 1]
    values = [f"{short_name(path, list(swept))}-{shown(swept[path])}".replace(" ", "-") for path in paths]
    return "-".join([*families, *values])


def _numbered(groups: Sequence[tuple[str, list[RunRecord]]]) -> dict[str, list[RunRecord]]:
    named: dict[str, list[RunRecord]] = {}
    for index, (name, group) in enumerate(groups):
        number = sum(name == other for other, _ in groups[:index])
        named[f"{name}-{number + 1}" if number else name] = group
    return named


def kept_apart(records: Sequence[RunRecord]) -> dict[str, str]:
    """Return, for each group of `by_scenario` that has another's name, a sentence that says in what they differ."""
    first: dict[str, tuple[str, list[RunRecord]]] = {}
    sentences = {}
    for name, group in by_scenario(records).items():
        other, base = first.setdefault(str(group[0].scenario["name"]), (name, group))
        if base is not group:
            labels = [some_of(list(dict.fromkeys(record.label for record in runs))) for runs in (base, group)]
            sentences[name] = (
                f"{name} ({labels[1]}) is kept apart from {other} ({labels[0]}): they differ in "
                f"{said(differences([*base, *group]))}"
            )
    return sentences


def need_one_scenario(records: Sequence[RunRecord]) -> None:
    """Check that all runs share a world, so that they can share a plot, and that no two are the same run.

    Raises:
        DoesNotApplyError: naming the fields that differ.
    """
    worlds = by_world(records)
    if len(worlds) > 1:
        fields = {path: values for path, values in differences(records).items() if not is_overlaid(path)}
        raise DoesNotApplyError(
            f"the runs are of {len(worlds)} scenarios ({some_of(list(worlds))}; they differ in {said(fields)}); "
            "name the runs of one"
        )
    seen: dict[tuple[str, int], RunRecord] = {}
    for record in records:
        other = seen.setdefault((record.label, record.seed), record)
        if other is not record:
            raise DoesNotApplyError(f"{other.path} and {record.path} are both '{record.label}' with seed {record.seed}")
