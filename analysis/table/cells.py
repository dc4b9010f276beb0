"""The cells of a table for a paper: means with 95 % intervals, the best ones, and paired tests against a reference."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from interlude.analysis.accuracy import targets_of
from interlude.analysis.choices import Choices, baseline_of
from interlude.analysis.comparison import Difference, holm, paired_differences
from interlude.analysis.naming import check_distinct, check_known, methods_chosen, names_of
from interlude.analysis.points import point_names
from interlude.analysis.runs import by_scenario
from interlude.analysis.seeds import SHARE, count, limits_of
from interlude.analysis.summary import is_restricted, reached_column, summarise_methods, summarise_runs
from interlude.analysis.tables import Look, Looks, looks_of, method_text, text_of
from interlude.simulator.errors import BadInputError, nearest, shown
from interlude.simulator.record.reader import RunRecord

LEVELS = (0.05, 0.01)
"""Adjusted p-values below which a cell has one mark, two marks."""
_LESS_IS_BETTER = (
    *("bytes_up", "bytes_down", "wait_s", "idle_s", "lost_s", "bytes_lost", "bytes_cut", "energy_j"),
    "restricted_energy_j",
)
_USUAL = ("final_accuracy", "restricted_", "bytes_up", "bytes_down")
_USUAL_WITHOUT_TRAINING = ("versions", "mean_staleness", "bytes_up", "bytes_down")


@dataclass(frozen=True)
class Cell:
    """A mean over seeds."""

    text: str
    """With its interval, as ``0.512 ± 0.031``; see `interlude.analysis.tables.text_of`."""
    mean: str
    """The beginning of the text that is the mean; empty where there is none, as of a bound."""
    value: float
    half_width: float
    is_best: bool = False
    """Whether no mean of its column, as printed, is better; never of a column that is neither good nor bad."""
    adjusted_p: float = math.nan
    """Of the paired test against the reference, by Holm for all tests of the table; NaN without one."""

    @property
    def num_marks(self) -> int:
        """How many levels the adjusted p-value is below."""
        return sum(self.adjusted_p < level for level in LEVELS)


@dataclass(frozen=True)
class Row:
    """A method."""

    label: str
    note: str
    """What stands behind the label, as how many of its runs diverged."""
    seeds: int
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Block:
    """The methods of one scenario."""

    title: str
    """The point of the sweep; empty where the table has only one block."""
    rows: Sequence[Row]


@dataclass(frozen=True)
class Table:
    """A table of results."""

    columns: Sequence[str]
    """Names, of `interlude.analysis.summary.summarise_runs`."""
    headings: Sequence[str]
    blocks: Sequence[Block]
    note: str
    """What the numbers are; one sentence or several."""


def results_table(
    records: Sequence[RunRecord],
    columns: Sequence[str] = (),
    methods: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    baseline: str | None = None,
) -> Table:
    """Return the table of some runs: a block per scenario, a row per method, means over seeds.

    Args:
        records: complete or diverged runs.
        columns: of `summarise_runs`, in the order of the table; empty: final accuracy, times to targets and bytes.
        methods: labels or names, in the order of the rows; empty: all, in the scenario's order.
        labels: what to call methods and columns, by their labels and names.
        baseline: the label of the reference of the paired tests; None: as in figures.

    Raises:
        BadInputError: for a column or a method that the runs do not have; names the option.
    """
    labels = labels or {}
    chosen = methods_chosen("--methods", methods, records)
    if baseline is not None:
        check_known("--baseline", {baseline: None}, names_of(records))
    reference = baseline_of(records, Choices(baseline))
    check_distinct(chosen, labels)
    groups = {
        name: [record for record in group if record.label in (*chosen, reference)]
        for name, group in by_scenario(records).items()
    }
    groups = {name: group for name, group in groups.items() if any(record.label in chosen for record in group)}
    runs = {name: summarise_runs(group) for name, group in groups.items()}
    targets = {targets_of(group[0]) for group in groups.values()}
    known = looks_of(pd.concat(list(runs.values())), targets.pop() if len(targets) == 1 else None)
    looks = _chosen_looks(columns, known)
    check_known("--labels", {name: 0 for name in labels if name not in known}, names_of(records))
    titles = point_names(groups) if len(groups) > 1 else dict.fromkeys(groups, "")
    adjusted = _adjusted(runs, reference, list(looks))
    blocks = [
        Block(titles[name], _rows(own, chosen, looks, labels, adjusted.get(name, {}))) for name, own in runs.items()
    ]
    seeds = [row.seeds for block in blocks for row in block.rows]
    num_tests = sum(not math.isnan(p) for found in adjusted.values() for p in found.values())
    headings = [labels.get(column, heading) for column, (heading, _) in looks.items()]
    return Table(
        list(looks), headings, blocks, _note(seeds, labels.get(reference, reference), num_tests, any(titles.values()))
    )


def _chosen_looks(columns: Sequence[str], known: Looks) -> Looks:
    for column in columns:
        if column not in known:
            raise BadInputError(
                f"--columns: no column {shown(column)}; columns are {', '.join(known)}{nearest(column, known)}"
            )
    usual = _USUAL if "final_accuracy" in known else _USUAL_WITHOUT_TRAINING
    names = columns or [column for column in known if column.startswith(usual)]
    return {column: known[column] for column in names}


def _adjusted(
    runs: Mapping[str, pd.DataFrame], reference: str, columns: Sequence[str]
) -> dict[str, dict[tuple[str, str], float]]:
    """Return the p-values of every scenario by label and column, adjusted for all tests of the table."""
    found: list[tuple[str, Difference]] = [
        (name, difference)
        for name, own in runs.items()
        if reference in set(own["method"])
        for difference in paired_differences(own, reference, columns)
    ]
    adjusted: dict[str, dict[tuple[str, str], float]] = {}
    for (name, difference), p in zip(found, holm([difference.p_value for _, difference in found]), strict=True):
        adjusted.setdefault(name, {})[difference.label, difference.column] = p
    return adjusted


def _rows(
    runs: pd.DataFrame,
    chosen: Sequence[str],
    looks: Looks,
    labels: Mapping[str, str],
    adjusted: Mapping[tuple[str, str], float],
) -> list[Row]:
    by_label = {str(row["method"]): row for row in summarise_methods(runs).to_dict("records")}
    by_label = {label: by_label[label] for label in chosen if label in by_label}
    columns = {
        column: _with_best(
            column,
            {
                label: replace(_cell(row, column, look), adjusted_p=adjusted.get((label, column), math.nan))
                for label, row in by_label.items()
            },
        )
        for column, (_, look) in looks.items()
    }
    return [
        Row(
            labels.get(label, label),
            method_text(row).removeprefix(label).strip(),
            int(row["seeds"]),
            [cells[label] for cells in columns.values()],
        )
        for label, row in by_label.items()
    ]


def _cell(row: Mapping[Any, Any], column: str, look: Look) -> Cell:
    if column not in row:
        return Cell("", "", math.nan, math.nan)
    value, half = float(str(row[column])), float(str(row.get(f"{column}_ci95", math.nan)))
    text = text_of(row, column, look)
    is_bound = is_restricted(column) and str(row[reached_column(column)]).startswith("0/")
    return Cell(text, "" if is_bound or math.isnan(value) else look(value), value, half)


def _with_best(column: str, cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """Return the cells of a column, those with the best mean among several marked."""
    known = [cell for cell in cells.values() if cell.mean]
    is_accuracy = limits_of(column) == SHARE
    if len(cells) < 2 or not known or not (is_accuracy or column.startswith(("restricted_", *_LESS_IS_BETTER))):
        return dict(cells)
    best = (max if is_accuracy else min)(known, key=lambda cell: cell.value).mean
    return {label: replace(cell, is_best=bool(cell.mean) and cell.mean == best) for label, cell in cells.items()}


def _note(num_seeds: Sequence[int], reference: str, num_tests: int, has_blocks: bool) -> str:
    best = f"Bold: the best mean{' of each block' if has_blocks else ''}."
    sentences = [f"{count(num_seeds).capitalize()}. {best}"]
    if num_tests:
        tests = "of the one test" if num_tests == 1 else f"for {num_tests} tests"
        sentences.append(
            f"* (**): differs from {reference} with p < {LEVELS[0]:g} ({LEVELS[1]:g}), paired two-sided t test over "
            f"seeds, adjusted by Holm {tests}."
        )
    return " ".join(sentences)
