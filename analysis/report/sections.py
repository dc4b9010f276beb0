"""The page's sections: across all points, then each world with its points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from interlude.analysis.choices import Choices, baseline_of, labels_of
from interlude.analysis.fields import short_name, shown
from interlude.analysis.points import points_table, swept_names, varied_fields
from interlude.analysis.report.basis import basis_of
from interlude.analysis.report.facts import Facts, facts_of, shared, without
from interlude.analysis.report.images import Image
from interlude.analysis.runs import Groups
from interlude.analysis.tables import TextTable, difference_table, paper_table, summary_table
from interlude.simulator.record.reader import RunRecord


@dataclass(frozen=True)
class Across:
    """What leads a page of several points or scenarios."""

    name: str
    results: TextTable
    costs: TextTable
    images: Sequence[Image]
    folded: Sequence[Image]
    facts: Facts
    """Those that are the same everywhere."""
    basis: str
    """What the numbers of the tables rest on."""


@dataclass(frozen=True)
class Point:
    """One scenario: a point of a sweep, or a scenario of its own."""

    heading: str
    facts: Facts
    """Those that no section above it says."""
    summary: TextTable
    costs: TextTable
    paper: TextTable | None
    """Results beside the published ones."""
    paper_source: str
    baseline: str
    differences: TextTable
    basis: str
    """What the numbers of the tables rest on."""


@dataclass(frozen=True)
class World:
    """Scenarios of one world, which share their figures."""

    heading: str
    facts: Facts
    images: Sequence[Image]
    folded: Sequence[Image]
    points: Sequence[Point]


def across(groups: Groups, images: Sequence[Image], folded: Sequence[Image], choices: Choices) -> Across:
    """Return the section across all scenarios: one table, one figure, the rest folded."""
    records = [record for group in groups.values() for record in group]
    return Across(
        "points" if swept_names(groups) else "scenarios",
        points_table(records, "results", _baseline(records, choices)),
        points_table(records, "costs"),
        images,
        folded,
        shared([facts_of(group) for group in groups.values()]),
        basis_of(records),
    )


def world(
    groups: Groups,
    everywhere: Groups,
    images: Sequence[Image],
    folded: Sequence[Image],
    choices: Choices,
    notes: Mapping[str, str],
) -> World:
    """Return the section of one world.

    Args:
        groups: its scenarios.
        everywhere: all scenarios of the page.
        images: its figures that are shown.
        folded: its other figures.
        choices: the baseline.
        notes: a sentence about a scenario by its name.
    """
    common = shared([facts_of(group) for group in everywhere.values()]) if len(everywhere) > 1 else []
    own = without(shared([facts_of(group) for group in groups.values()]), common)
    headings = _headings(everywhere)
    points = [
        _point(headings[name], group, [*common, *own], notes.get(name), choices) for name, group in groups.items()
    ]
    heading = points[0].heading if len(points) == 1 else _together(groups, everywhere)
    return World(heading, own, images, folded, points)


def _headings(groups: Groups) -> Mapping[str, str]:
    """Return the heading of each scenario: the values that the sweep gave it, or its name."""
    swept = swept_names(groups)
    return {name: f"Point: {swept[name]}" if swept else f"Scenario {name}" for name in groups}


def _together(groups: Groups, everywhere: Groups) -> str:
    """Return the heading of several scenarios of one world: the swept values that they share."""
    fields = varied_fields(everywhere)
    apart = varied_fields(groups)
    swept = next(iter(groups.values()))[0].origin["swept"]
    same = [f"{short_name(f, fields)} {shown(swept.get(f))}" for f in fields if f not in apart]
    kind = "Points" if swept_names(everywhere) else "Scenarios"
    return f"{kind} with {', '.join(same)}" if same else f"{kind} of one world"


def _point(heading: str, records: Sequence[RunRecord], said: Facts, note: str | None, choices: Choices) -> Point:
    baseline = _baseline(records, choices)
    return Point(
        heading=heading,
        facts=[*without(facts_of(records), said), *([("note", note)] if note else [])],
        summary=summary_table(records, "results", baseline),
        costs=summary_table(records, "costs"),
        paper=paper_table(records),
        paper_source=(records[0].scenario.get("paper") or {}).get("source", ""),
        baseline=baseline,
        differences=difference_table(records, baseline),
        basis=basis_of(records),
    )


def _baseline(records: Sequence[RunRecord], choices: Choices) -> str:
    """Return the baseline asked for or, where these runs have none of it, the one that is taken unasked."""
    has_baseline = choices.baseline in labels_of(records)
    return baseline_of(records, choices if has_baseline else replace(choices, baseline=None))
