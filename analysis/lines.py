"""The lines of a plot: a method's runs or, where several points of a sweep share a world, its runs at each point."""

import copy
from collections.abc import Sequence
from itertools import count
from typing import Any

from interlude.analysis.divergence import divergence_of
from interlude.analysis.fields import Fields, differing, is_overlaid, options_of, short_name, shown, world_of
from interlude.analysis.style import look_of
from interlude.simulator.record.reader import RunRecord, methods_in_order

Looks = dict[str, dict[str, Any]]
"""Arguments of matplotlib by label."""


def named_lines(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return runs of one world, each line once, in the scenario's order of methods and points.

    A method that has none of the options that differ is the same at every point; its runs of the first stand for all.
    """
    if len({record.scenario["name"] for record in records}) == 1:
        return list(records)
    first: dict[tuple[str, int], str] = {}
    lines = []
    for line in labelled(records):
        name = line.scenario["name"]
        if first.setdefault((line.label, line.seed), name) == name:
            lines.append(line)
    labels = labels_in_order(lines)
    return sorted(lines, key=lambda line: labels.index(line.label))


def labelled(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the runs, those of one label whose options differ labelled by them: ``mba, beta 0.5``."""
    by_method: dict[str, list[RunRecord]] = {}
    for record in records:
        by_method.setdefault(record.label, []).append(record)
    differ = {label: list(differing([_fields(record) for record in runs])) for label, runs in by_method.items()}
    return [_line(record, differ[record.label]) if differ[record.label] else record for record in records]


def labels_in_order(records: Sequence[RunRecord]) -> list[str]:
    """Return the labels in the scenario's order of methods, those of a method in the sweep's order of points."""
    return list(_places(records))


def line_looks(records: Sequence[RunRecord], *, has_markers: bool = False) -> Looks:
    """Return the look of each label, labels in order; it depends on the scenario, not on the runs selected.

    Where runs diverged, the look has a ``label`` that says how many, for the legend.

    Args:
        records: the runs.
        has_markers: with a marker at every point, for curves of few points.
    """
    looks: Looks = {}
    colours = {record.label: record.info.get("colour") for record in records}  # `interlude.analysis.naming.shown_as`
    for label, (method, place) in _places(records).items():  # a point of an enlarged sweep can have another's place
        own = colours[label]
        candidates = (look_of(method, point, has_marker=has_markers, colour=own) for point in count(place))
        looks[label] = next(look for look in candidates if look not in looks.values())
    for label, share in divergence_of(records).items():
        looks[label]["label"] = f"{label} ({share})"
    return looks


def _places(records: Sequence[RunRecord]) -> dict[str, tuple[int, int]]:
    """Return each label's method and point by their places in the scenario and the sweep, in order."""
    methods = {label: place for place, label in enumerate(methods_in_order(records))}
    places = {
        record.label: (methods.get(_method_of(record), len(methods)), int(record.info.get("line_place", 0)))
        for record in reversed(records)  # of several points of a line the first counts
    }
    return {label: places[label] for label in sorted(places, key=places.__getitem__)}


def _fields(record: RunRecord) -> Fields:
    return options_of(record) | {path: value for path, value in world_of(record).items() if is_overlaid(path)}


def _line(record: RunRecord, differ: Sequence[str]) -> RunRecord:
    """Return a view of a record that has the label of its line; its info names the method and the point."""
    fields = _fields(record)
    parts = [f"{short_name(path, differ)} {shown(fields.get(path))}" for path in differ]
    line = copy.copy(record)
    line.info = {
        **record.info,
        "label": ", ".join([record.label, *parts]),
        "method": _method_of(record),
        "line_place": record.origin["place"],
    }
    return line


def _method_of(record: RunRecord) -> str:
    return str(record.info.get("method", record.label))
