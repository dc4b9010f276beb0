"""One self-contained page about runs: question, scenarios, tables, figures, methods, versions, how to reproduce it."""

import base64
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jinja2

from interlude.analysis.choices import Choices, baseline_of, labels_of
from interlude.analysis.figures import KINDS, Plot, draw, render
from interlude.analysis.runs import by_scenario, common_name, kept_apart, need_one_scenario
from interlude.analysis.tables import TextTable, difference_table, paper_table, summary_table
from interlude.simulator.core_yaml import dump
from interlude.simulator.record.reader import RunRecord

_LARGEST_SVG_BYTES = 1_000_000  # beyond, a PNG is smaller and quicker to show

CardText = tuple[str, Sequence[tuple[str, str]]]
"""A formula card: the method's title, and terms with their texts."""


@dataclass(frozen=True)
class Image:
    """A figure on the page."""

    title: str
    source: str
    """A data URI."""
    alt: str
    caption: str
    is_narrow: bool
    """Whether it has one panel, so that it need not fill the page."""


@dataclass(frozen=True)
class ScenarioPart:
    """The page's section about one scenario."""

    name: str
    facts: Sequence[tuple[str, str]]
    summary: TextTable
    paper: TextTable | None
    """Results beside the published ones."""
    paper_source: str
    baseline: str
    differences: TextTable
    images: Sequence[Image]
    file: str
    yaml: str


def report_page(
    records: Sequence[RunRecord],
    cards: Sequence[CardText],
    command: str,
    choices: Choices | None = None,
    question: str | None = None,
) -> str:
    """Return the page as HTML that loads nothing over the network.

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
    groups = by_scenario(records)
    for group in groups.values():
        need_one_scenario(group)
    plots, skipped = draw(records, choices=choices)
    images = [(plot.scenario, _image(plot, choices)) for plot in plots]
    only = next(iter(groups)) if len(groups) == 1 else None
    apart = kept_apart(records)
    parts = [
        _part(
            name, group, [image for scenario, image in images if (scenario or only) == name], choices, apart.get(name)
        )
        for name, group in groups.items()
    ]
    loader = jinja2.PackageLoader("interlude.analysis")
    page = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return page.get_template("report.html.jinja").render(
        title=f"Interlude: {_heading(list(groups))}",
        question=question or _question(groups),
        scenarios=parts,
        across=[image for scenario, image in images if scenario not in groups and only is None],
        cards=cards,
        commands=[*(line for name, group in groups.items() for line in _commands(name, group)), command],
        versions=_versions(records),
        skipped=skipped,
    )


def _heading(names: Sequence[str]) -> str:
    shared = common_name(names)
    return f"{shared}, {len(names)} scenarios" if shared and len(names) > 1 else ", ".join(names)


def reproducing_scenario(records: Sequence[RunRecord]) -> dict[str, Any]:
    """Return the scenario of all these runs: theirs, with all their methods and the first seed."""
    methods = {record.label: record.scenario["methods"][0] for record in records}
    return {**records[0].scenario, "methods": list(methods.values())}


def _part(
    name: str, records: Sequence[RunRecord], images: Sequence[Image], choices: Choices, apart: str | None
) -> ScenarioPart:
    labels = labels_of(records)
    baseline = baseline_of(records, choices if choices.baseline in labels else replace(choices, baseline=None))
    return ScenarioPart(
        name=name,
        facts=[*_facts(records), *([("note", apart)] if apart else [])],
        summary=summary_table(records),
        paper=paper_table(records),
        paper_source=(records[0].scenario.get("paper") or {}).get("source", ""),
        baseline=baseline,
        differences=difference_table(records, baseline),
        images=images,
        file=f"{name}.yaml",
        yaml=dump(reproducing_scenario(records)),
    )


def _image(plot: Plot, choices: Choices) -> Image:
    title = KINDS[plot.kind].title + (f", {plot.scenario}" if plot.scenario else "")
    data, kind = render(plot, "svg", choices), "svg+xml"
    if len(data) > _LARGEST_SVG_BYTES:
        data, kind = render(plot, "png", choices), "png"
    return Image(
        title=title,
        source=f"data:image/{kind};base64,{base64.b64encode(data).decode()}",
        alt=f"{title}. {plot.drawing.caption}",
        caption=plot.drawing.caption,
        is_narrow=plot.drawing.figure.get_figwidth() <= choices.style.one_in,
    )


def _question(groups: dict[str, list[RunRecord]]) -> str:
    labels = list(dict.fromkeys(record.label for group in groups.values() for record in group))
    where = "the same simulated world" if len(groups) == 1 else f"{len(groups)} simulated worlds"
    if len(labels) == 1:
        return f"How does {labels[0]} perform in {where}: accuracy, time to reach it and cost?"
    return (
        f"In {where}, with common random numbers, how do {', '.join(labels[:-1])} and {labels[-1]} compare in "
        "accuracy, time to reach it, bytes and device time?"
    )


def _facts(records: Sequence[RunRecord]) -> list[tuple[str, str]]:
    scenario = records[0].scenario
    facts = [
        ("clients", str(scenario["clients"]["count"])),
        ("data", _flat(scenario["data"])),
        ("model", _flat(scenario["model"])),
        ("methods", ", ".join(labels_of(records))),
        ("seeds", ", ".join(map(str, sorted({record.seed for record in records})))),
        ("until", _until(scenario["until"])),
    ]
    if any(record.info.get("timing_only") for record in records):
        facts.append(("timing only", "the clock runs without training, so there are no accuracies"))
    return facts


def _until(section: dict[str, Any]) -> str:
    """Return the ends of a run in words."""
    of_modality = f" of {section['modality']}" if section.get("modality") else ""
    words = {
        "simulated_s": "{:g} simulated s",
        "versions": "{} versions",
        "accuracy": f"an accuracy{of_modality} of {{:g}}",
        "patience_s": f"{{:g}} s without a better accuracy{of_modality}",
    }
    return " or ".join(said.format(section[key]) for key, said in words.items() if section.get(key) is not None)


def _flat(section: dict[str, Any]) -> str:
    return ", ".join(
        f"{key}: {{{_flat(value)}}}" if isinstance(value, dict) else f"{key}: {value}" for key, value in section.items()
    )


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
