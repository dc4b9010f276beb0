"""The page: question, results across points, worlds with tables and figures, methods, how to reproduce it, versions."""

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jinja2

from interlude.analysis.choices import Choices
from interlude.analysis.figures import KINDS, Plot, draw_applicable
from interlude.analysis.report import sections
from interlude.analysis.report.images import image_of
from interlude.analysis.report.question import question_of, title_of
from interlude.analysis.runs import Groups, by_scenario, by_world, common_directory, kept_apart, need_one_scenario
from interlude.simulator.formats.core_yaml import dump
from interlude.simulator.record.reader import RunRecord

_MOST_SHOWN = 3  # figures of one world that are not folded
_TELLING = ("accuracy-vs-time", "time-to-accuracy", "efficiency", "staleness", "gantt")
"""Kinds of figures, the most telling first."""
_OF_EACH_WORLD = ("accuracy-vs-time", "efficiency")
"""Kinds drawn of each of several worlds."""
_LEADING = "points"

CardText = tuple[str, Sequence[tuple[str, str]]]
"""A formula card: the method's title, and terms with their texts."""


def report_page(
    records: Sequence[RunRecord],
    cards: Sequence[CardText],
    command: str,
    choices: Choices | None = None,
    question: str | None = None,
) -> str:
    """Return the page as HTML that loads nothing over the network.

    Of one world it has every figure that applies; of each of several worlds it has the most telling ones.

    Args:
        records: complete runs.
        cards: formula cards of the methods.
        command: the command that makes this page.
        choices: baseline, target and the other options of the figures.
        question: the question that the runs answer; None: composed from the scenarios.

    Raises:
        BadInputError: if two runs are the same run, or no run has the baseline's label.
    """
    choices = choices or Choices()
    choices = replace(choices, style=replace(choices.style, rc={**choices.style.rc, "svg.fonttype": "path"}))
    groups, worlds = by_scenario(records), by_world(records)
    for group in groups.values():
        need_one_scenario(group)
    kinds, left_out = _kinds(records, num_worlds=len(worlds))
    plots, skipped = draw_applicable(records, choices, kinds)
    loader = jinja2.PackageLoader("interlude.analysis")
    page = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page.filters["unbroken"] = _unbroken
    return page.get_template("report.html.jinja").render(
        title=f"Interlude: {title_of(groups)}",
        question=question or question_of(groups),
        across=_across(groups, plots, choices) if len(groups) > 1 else None,
        worlds=_worlds(records, plots, choices),
        cards=cards,
        commands=[*(line for name, group in groups.items() for line in _commands(name, group)), command],
        files=[(f"{name}.yaml", _yaml(group)) for name, group in groups.items()],
        versions=_versions(records),
        skipped=[*left_out, *skipped],
    )


def reproducing_scenario(records: Sequence[RunRecord]) -> dict[str, Any]:
    """Return the scenario of all these runs: theirs, with all their methods and the first seed."""
    methods = {record.label: record.scenario["methods"][0] for record in records}
    return {**records[0].scenario, "methods": list(methods.values())}


def _unbroken(cell: str) -> str:
    """Return a cell that a line can end only before an interval or a note in brackets."""
    return re.sub(r"(?<=±) | (?=[^()]*\))", "\u00a0", cell)


def _kinds(records: Sequence[RunRecord], num_worlds: int) -> tuple[Sequence[str], list[str]]:
    """Return the kinds of figures on the page, and a sentence about those left out of one of several worlds."""
    if num_worlds == 1:
        return list(KINDS), []
    kinds = [name for name, kind in KINDS.items() if kind.spans_scenarios or name in _OF_EACH_WORLD]
    others = ", ".join(name for name in KINDS if name not in kinds)
    where = shlex.quote(str(common_directory(records)))
    return kinds, [f"left out, as the runs are of {num_worlds} worlds: {others}; interlude plot {where} draws them"]


def _across(groups: Groups, plots: Sequence[Plot], choices: Choices) -> sections.Across:
    spanning = [plot for plot in plots if KINDS[plot.kind].spans_scenarios and plot.scenario is None]
    leading = [image_of(plot, choices) for plot in spanning if plot.kind == _LEADING]
    folded = [image_of(plot, choices) for plot in spanning if plot.kind != _LEADING]
    return sections.across(groups, leading, folded, choices)


def _worlds(records: Sequence[RunRecord], plots: Sequence[Plot], choices: Choices) -> list[sections.World]:
    groups, worlds, notes = by_scenario(records), by_world(records), kept_apart(records)
    found = []
    for name, world in worlds.items():
        paths = {record.path for record in world}
        inside = {scenario: group for scenario, group in groups.items() if group[0].path in paths}
        own = [plot for plot in plots if plot.scenario == name or (len(worlds) == 1 and not _is_across(plot, groups))]
        own.sort(key=lambda plot: _TELLING.index(plot.kind) if plot.kind in _TELLING else len(_TELLING))
        images = [image_of(plot, choices) for plot in own]
        found.append(sections.world(inside, groups, images[:_MOST_SHOWN], images[_MOST_SHOWN:], choices, notes))
    return found


def _is_across(plot: Plot, groups: Groups) -> bool:
    return KINDS[plot.kind].spans_scenarios and plot.scenario is None and len(groups) > 1


def _yaml(records: Sequence[RunRecord]) -> str:
    return dump(reproducing_scenario(records))


def _commands(name: str, records: Sequence[RunRecord]) -> list[str]:
    runs = records[0].path.resolve().parents[1]
    shown = str(runs) if records[0].path.is_absolute() else os.path.relpath(runs)
    where = "" if shown == "runs" else f" --runs {shlex.quote(shown)}"
    ways = dict.fromkeys((r.seed, str(r.info.get("device", "auto")), bool(r.info.get("timing_only"))) for r in records)
    return [
        f"interlude run {name}.yaml{where} --seed {seed} --device {device}{' --timing-only' if timing_only else ''}"
        for seed, device, timing_only in sorted(ways)
    ]


def _versions(records: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """Return the versions of every package that computed any of the runs."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        for package, version in record.info.get("packages", {}).items():
            found.setdefault(package, {})[version] = None
        for file, digest in record.info.get("files", {}).items():
            found.setdefault(f"{file} (SHA-256)", {})[digest] = None
        if record.info.get("code"):
            found.setdefault("code of simulator and method (SHA-256)", {})[record.info["code"]] = None
    return [(package, ", ".join(versions)) for package, versions in found.items()]
