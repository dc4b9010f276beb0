"""The summary of one scenario as tables of text, for a page."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from interlude.analysis.accuracy import targets_of
from interlude.analysis.comparison import Difference, paired_differences
from interlude.analysis.divergence import share_text
from interlude.analysis.fields import shown
from interlude.analysis.seeds import SHARE, interval_text, limits_of
from interlude.analysis.summary import (
    censored_column,
    is_restricted,
    is_time_to_target,
    reached_column,
    summarise_methods,
    summarise_runs,
)
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
_FINAL = "final accuracy"
_COSTS = (
    "train_s",
    "wait_s",
    "idle_s",
    "off_s",
    "lost_s",
    "bytes_lost",
    "bytes_cut",
    "energy_j",
    "restricted_energy_j",
)
Part = Literal["all", "results", "costs"]
"""Columns of a table: those of results leave device time, losses and energy to those of costs, so that both fit."""

Look = Callable[[float], str]
"""Format of a number."""
Looks = dict[str, tuple[str, Look]]
"""Heading and format of a number by column."""


def three_digits(share: float) -> str:
    """Return an accuracy."""
    return f"{share:.3f}"


def whole(number: float) -> str:
    """Return a number without decimals, as of seconds."""
    return f"{number:,.0f}"


def _megabytes(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:,.1f}"


def _kilojoules(joules: float) -> str:
    return f"{joules / 1e3:,.2f}"


def accuracy_looks() -> Looks:
    """Return the accuracies of the fused model."""
    return {
        "final_accuracy": (_FINAL, three_digits),
        "best_accuracy": ("best by validation", three_digits),
        "mean_accuracy": ("mean over time", three_digits),
        "validation_accuracy": ("validation accuracy", three_digits),
    }


def alone_looks(columns: Sequence[str]) -> Looks:
    """Return the accuracies of each modality alone, under two names where they are measured in both ways."""
    has_means = any(column.startswith("nearest_mean_") for column in columns)
    names = {"accuracy_": " alone" + (", zero-filled" if has_means else ""), "nearest_mean_": " alone, nearest mean"}
    return {
        column: (column.removeprefix(prefix) + name, three_digits)
        for prefix, name in names.items()
        for column in columns
        if column.startswith(prefix) and not column.endswith("_ci95")
    }


def time_looks(targets: Sequence[float], name: str | None = None) -> Looks:
    """Return the restricted times to the targets.

    Args:
        targets: the first is that of ``restricted_time_s``.
        name: what to call the first; None: by its value.
    """
    further = {f"restricted_time_to_{shown(target)}_s": (f"s to {shown(target)}", whole) for target in targets[1:]}
    first = name or (shown(targets[0]) if targets else "the target")
    return {"restricted_time_s": (f"s to {first}", whole), **further}


def looks_of(runs: pd.DataFrame, targets: Sequence[float] | None, part: Part = "all") -> Looks:
    """Return the columns of `summarise_runs` that are shown, units in their headings.

    Args:
        runs: the table.
        targets: accuracies of the times to them; None: the runs are of scenarios with different ones.
        part: the columns wanted.
    """
    first = shown(targets[0]) if targets else "the target"
    times = time_looks(targets or (), first)
    looks: Looks = {
        **accuracy_looks(),
        **alone_looks(list(map(str, runs))),
        **times,
        "versions": ("versions", whole),
        "mean_staleness": ("mean staleness (versions)", "{:.1f}".format),
        "bytes_up": ("up (MB)", _megabytes),
        "bytes_down": ("down (MB)", _megabytes),
        "train_s": ("training (device-s)", whole),
        "wait_s": ("waiting (device-s)", whole),
        "idle_s": ("idle (device-s)", whole),
        "off_s": ("off (device-s)", whole),
        "lost_s": ("lost (device-s)", whole),
        "bytes_lost": ("lost (MB)", _megabytes),
        "bytes_cut": ("cut by the end (MB)", _megabytes),
        "energy_j": ("energy (kJ)", _kilojoules),
        "restricted_energy_j": (f"kJ to {first}", _kilojoules),
    }
    wanted = {"all": looks, "costs": _COSTS, "results": [column for column in looks if column not in _COSTS]}[part]
    return {column: look for column, look in looks.items() if column in runs and column in wanted}


def summary_table(records: Sequence[RunRecord], part: Part = "all", baseline: str | None = None) -> TextTable:
    """Return a row per method: means over seeds with half widths of 95 % intervals.

    Args:
        records: of one scenario.
        part: the columns wanted.
        baseline: a label; the paired difference of the final accuracy from its one stands beside the final accuracy,
            where it has an interval.
    """
    runs = summarise_runs(records)
    looks = looks_of(runs, targets_of(records[0]), part)
    rows = summarise_methods(runs).to_dict("records")
    cells = [[method_text(row), str(row["seeds"]), *cells_of(row, looks)] for row in rows]
    found = final_differences(runs, baseline)
    table = TextTable(["method", "seeds", *(heading for heading, _ in looks.values())], cells)
    return with_differences(table, [found.get(str(row["method"]), "") for row in rows], baseline)


def with_differences(table: TextTable, texts: Sequence[str], baseline: str | None) -> TextTable:
    """Return a table with a column right of the final accuracy, if it has one and there is a text for any row."""
    if _FINAL not in table.header or not any(texts):
        return table
    place = table.header.index(_FINAL) + 1

    def inserted(line: Sequence[str], cell: str) -> list[str]:
        return [*line[:place], cell, *line[place:]]

    rows = [inserted(row, text) for row, text in zip(table.rows, texts, strict=True)]
    return replace(table, header=inserted(table.header, f"difference from {baseline}, paired"), rows=rows)


def method_text(row: Mapping[Any, Any]) -> str:
    """Return the label of a row of `summarise_methods`, and how many runs diverged."""
    share = share_text(int(row.get("diverged", 0)), int(row["seeds"]))
    return f"{row['method']} ({share})" if share else str(row["method"])


def cells_of(row: Mapping[Any, Any], looks: Looks) -> list[str]:
    """Return the cells of a row of `summarise_methods`; empty where the row has no such column."""
    return [text_of(row, column, look) if column in row else "" for column, (_, look) in looks.items()]


def final_differences(runs: pd.DataFrame, baseline: str | None) -> dict[str, str]:
    """Return by label the paired difference of the final accuracy from the baseline's, with its 95 % interval.

    Empty if no difference has an interval: for one method, fewer than three seeds or no baseline.

    Args:
        runs: `summarise_runs` of one scenario.
        baseline: a label; None: there is none.
    """
    if baseline is None or baseline not in set(runs["method"]) or "final_accuracy" not in runs:
        return {}
    found = paired_differences(runs, baseline, ["final_accuracy"])
    if all(math.isnan(difference.half_width) for difference in found):
        return {}
    return {difference.label: _mean_difference(difference, three_digits) for difference in found}


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
    best = "best_accuracy" if "best_accuracy" in methods else "best_test_accuracy"
    chosen = "best by validation" if best == "best_accuracy" else "best on the test set"
    rows = [_beside_paper(label, paper["accuracy"].get(label), ours.get(label), best) for label in labels]
    header = ["method", "paper (%)", "here, final (%)", "difference", f"here, {chosen} (%)", "seeds", "versions"]
    return TextTable(header, rows)


def difference_table(records: Sequence[RunRecord], baseline: str) -> TextTable:
    """Return a row per method: mean difference from the baseline, 95 % interval and p of a paired t test.

    The p-values are adjusted by `interlude.analysis.comparison.holm` for all tests of the table.
    """
    runs = summarise_runs(records)
    looks = looks_of(runs, targets_of(records[0]))
    compared = [
        c for c in looks if limits_of(c) == SHARE or c.startswith(("restricted_time_", "bytes_up", "bytes_down"))
    ]
    rows: dict[str, list[str]] = {}
    for difference in paired_differences(runs, baseline, compared):
        row = rows.setdefault(difference.label, [difference.label, str(difference.num_pairs + difference.num_missing)])
        row.append(_difference(difference, looks[difference.column][1]))
    return TextTable(["method", "pairs", *(looks[column][0] for column in compared)], list(rows.values()))


def _beside_paper(label: str, published: float | None, ours: Mapping[Any, Any] | None, best: str) -> list[str]:
    shown_paper = UNKNOWN if published is None else f"{100 * published:.1f}"
    if ours is None:
        return [label, shown_paper, "not run", "", "", "", ""]
    if math.isnan(float(str(ours.get("final_accuracy", math.nan)))):
        return [label, shown_paper, "diverged" if ours.get("diverged") else UNKNOWN, "", "", "", ""]

    def percent(value: float) -> str:
        return f"{100 * value:.1f}"

    return [
        method_text({**ours, "method": label}),
        shown_paper,
        text_of(ours, "final_accuracy", percent),
        "" if published is None else f"{100 * (float(str(ours['final_accuracy'])) - published):+.1f}",
        text_of(ours, best, percent),
        str(ours["seeds"]),
        f"{float(str(ours['versions'])):,.0f}",
    ]


def text_of(row: Mapping[Any, Any], column: str, look: Look) -> str:
    """Return a cell of a table of methods: a mean with its interval.

    A restricted mean says how many runs reached the target if not all did: ``512 ± 90, reached 3/5``; if none did it is
    a bound: ``> 600``. Where every run diverged, an accuracy is ``diverged``.
    """
    value, half = float(str(row[column])), float(str(row.get(f"{column}_ci95", math.nan)))
    if math.isnan(value):
        has_diverged = limits_of(column) == SHARE and row.get("diverged") == row["seeds"]
        return "diverged" if has_diverged else UNKNOWN
    if is_restricted(column):
        reached = str(row[reached_column(column)])
        num_reached, _, num_seeds = reached.partition("/")
        if num_reached == "0":
            return f"> {look(value)}"
        if num_reached != num_seeds:
            horizon = float(str(row["horizon_s"])) if is_time_to_target(censored_column(column)) else math.inf
            return f"{interval_text(value, half, look, (0.0, horizon))}, reached {reached}"
    return interval_text(value, half, look, limits_of(column))


def _difference(difference: Difference, look: Look) -> str:
    if difference.num_pairs == difference.num_censored > 0 and difference.mean == 0 and not difference.half_width > 0:
        return "neither reached it"
    text = _mean_difference(difference, look)
    if math.isnan(difference.mean):
        return text
    if not math.isnan(difference.adjusted_p_value):
        text += f" (p = {difference.adjusted_p_value:.2g})"
    notes = [(difference.num_censored, "censored"), (difference.num_missing, "diverged")]
    return ", ".join([text, *(f"{number} {what}" for number, what in notes if number)])


def _mean_difference(difference: Difference, look: Look) -> str:
    """Return a difference with its interval."""
    if math.isnan(difference.mean):
        return "unknown" if difference.num_pairs else "diverged" if difference.num_missing else "no pair"
    largest = limits_of(difference.column)[1]
    return interval_text(difference.mean, difference.half_width, look, (-largest, largest), is_signed=True)
