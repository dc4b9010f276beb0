"""The summary of one scenario as tables of text, for a page."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from interlude.analysis.comparison import Difference, paired_differences
from interlude.analysis.seeds import interval_text, limits_of
from interlude.analysis.summary import TO_TARGET, summarise_methods, summarise_runs
from interlude.simulator.record.reader import RunRecord


@dataclass(frozen=True)
class TextTable:
    """A table; its first columns name the rows."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_keys: int = 1
    """Columns that name the rows."""


UNKNOWN = "n/a"
"""A cell without a value."""
_COSTS = ("train_s", "wait_s", "idle_s", "off_s", "lost_s", "bytes_lost", "energy_j", "energy_to_target_j")
Part = Literal["all", "results", "costs"]
"""Columns of a table: those of results leave device time, losses and energy to those of costs, so that both fit."""

Looks = dict[str, tuple[str, Callable[[float], str]]]
"""Heading and format of a number by column."""


def _megabytes(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:,.1f}"


def _kilojoules(joules: float) -> str:
    return f"{joules / 1e3:,.2f}"


def looks_of(runs: pd.DataFrame, target: float | None, part: Part = "all") -> Looks:
    """Return the columns of `summarise_runs` that are shown, units in their headings.

    Args:
        runs: the table.
        target: accuracy of the times and energies to it; None: there is none, or they are of several.
        part: the columns wanted.
    """
    to_target = "the target" if target is None else f"{target:g}"
    alone = [str(column) for column in runs if str(column).startswith("accuracy_")]
    looks: Looks = {
        "final_accuracy": ("final accuracy", "{:.3f}".format),
        **{column: (f"{column.removeprefix('accuracy_')} alone", "{:.3f}".format) for column in alone},
        "time_to_target_s": (f"s to {to_target}", "{:,.0f}".format),
        "versions": ("versions", "{:,.0f}".format),
        "mean_staleness": ("mean staleness (versions)", "{:.1f}".format),
        "bytes_up": ("up (MB)", _megabytes),
        "bytes_down": ("down (MB)", _megabytes),
        "train_s": ("training (device-s)", "{:,.0f}".format),
        "wait_s": ("waiting (device-s)", "{:,.0f}".format),
        "idle_s": ("idle (device-s)", "{:,.0f}".format),
        "off_s": ("off (device-s)", "{:,.0f}".format),
        "lost_s": ("lost (device-s)", "{:,.0f}".format),
        "bytes_lost": ("lost (MB)", _megabytes),
        "bytes_cut": ("cut by the end (MB)", _megabytes),
        "energy_j": ("energy (kJ)", _kilojoules),
        "energy_to_target_j": (f"kJ to {to_target}", _kilojoules),
    }
    wanted = {"all": looks, "costs": _COSTS, "results": [column for column in looks if column not in _COSTS]}[part]
    return {column: look for column, look in looks.items() if column in runs and column in wanted}


def summary_table(records: Sequence[RunRecord], part: Part = "all") -> TextTable:
    """Return a row per method: means over seeds with half widths of 95 % intervals."""
    runs = summarise_runs(records)
    looks = looks_of(runs, records[0].scenario["evaluate"]["target_accuracy"], part)
    rows = [
        [str(row["method"]), f"{row['seeds']}", *(text_of(row, column, look) for column, (_, look) in looks.items())]
        for row in summarise_methods(runs).to_dict("records")
    ]
    return TextTable(["method", "seeds", *(heading for heading, _ in looks.values())], rows)


def paper_table(records: Sequence[RunRecord]) -> TextTable | None:
    """Return the published accuracies beside those of the runs, in per cent; None where the scenario names none.

    A method that was published but not run has a row, too.
    """
    paper = records[0].scenario.get("paper")
    if paper is None:
        return None
    methods = summarise_methods(summarise_runs(records))
    ours = {str(row["method"]): row for row in methods.to_dict("records")}
    labels = dict.fromkeys([*paper["accuracy"], *ours])
    rows = [_beside_paper(label, paper["accuracy"].get(label), ours.get(label)) for label in labels]
    return TextTable(
        ["method", "paper (%)", "here, final (%)", "difference", "here, best (%)", "seeds", "versions"], rows
    )


def difference_table(records: Sequence[RunRecord], baseline: str) -> TextTable:
    """Return a row per method: mean difference from the baseline, 95 % interval and p of a paired t test."""
    runs = summarise_runs(records)
    looks = looks_of(runs, records[0].scenario["evaluate"]["target_accuracy"])
    compared = [c for c in looks if c == "final_accuracy" or c.startswith(("accuracy_", "time_", "bytes_"))]
    rows: dict[str, list[str]] = {}
    for difference in paired_differences(runs, baseline, compared):
        row = rows.setdefault(difference.label, [difference.label, str(difference.num_pairs)])
        row.append(_difference(difference, looks[difference.column][1]))
    return TextTable(["method", "pairs", *(looks[column][0] for column in compared)], list(rows.values()))


def _beside_paper(label: str, published: float | None, ours: Mapping[Any, Any] | None) -> list[str]:
    shown = UNKNOWN if published is None else f"{100 * published:.1f}"
    if ours is None or math.isnan(float(str(ours.get("final_accuracy", math.nan)))):
        return [label, shown, "not run" if ours is None else UNKNOWN, "", "", "", ""]

    def percent(value: float) -> str:
        return f"{100 * value:.1f}"

    return [
        label,
        shown,
        text_of(ours, "final_accuracy", percent),
        "" if published is None else f"{100 * (float(str(ours['final_accuracy'])) - published):+.1f}",
        text_of(ours, "best_accuracy", percent),
        str(ours["seeds"]),
        f"{float(str(ours['versions'])):,.0f}",
    ]


def text_of(row: Mapping[Any, Any], column: str, look: Callable[[float], str]) -> str:
    """Return a cell of a table of methods: a mean with its interval, or how many runs reached the target."""
    value, half = float(str(row[column])), float(str(row.get(f"{column}_ci95", math.nan)))
    if column in TO_TARGET:
        reached, _, num_seeds = str(row["reached"]).partition("/")
        if reached == "0":
            return f"never (0 of {num_seeds})"
        if reached != num_seeds:
            return f"{look(value)} (only {reached} of {num_seeds})"
    if math.isnan(value):
        return UNKNOWN
    return interval_text(value, half, look, limits_of(column))


def _difference(difference: Difference, look: Callable[[float], str]) -> str:
    if difference.num_censored:
        return f"unknown: {difference.num_censored} of {difference.num_pairs} censored"
    if math.isnan(difference.mean):
        return "no pair"
    largest = limits_of(difference.column)[1]
    text = interval_text(difference.mean, difference.half_width, look, (-largest, largest), is_signed=True)
    return text if math.isnan(difference.p_value) else f"{text} (p = {difference.p_value:.2g})"
