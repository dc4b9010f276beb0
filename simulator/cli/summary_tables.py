"""Tables of a comparison's results, and of a sweep's plan."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from interlude.analysis.divergence import diverged_at_s
from interlude.analysis.fields import short_name, shown
from interlude.analysis.tables import Looks, accuracy_looks, alone_looks, cells_of, method_text, time_looks, whole
from interlude.simulator.cli.table_rows import TableRows, size
from interlude.simulator.record.reader import RunRecord
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.sweep.choice import Choice
from interlude.simulator.sweep.trials import Trials
from interlude.simulator.sweep.tuning import Tried

Beside = tuple[str, Mapping[str, str]]
"""A column that stands beside the final accuracy: its heading, and a cell by the label of a method."""


def summary_tables(
    summary: pd.DataFrame, scenario: Scenario, beside: Beside | None = None
) -> Iterator[tuple[str, TableRows]]:
    """Yield the printed form of a summary, with intervals over several seeds: accuracies, modalities alone and costs.

    Args:
        summary: `interlude.analysis.summary.summarise_methods`.
        scenario: of the runs.
        beside: differences of the final accuracy.
    """
    targets = scenario.evaluate.targets
    spent: Looks = {
        "versions": ("versions", whole),
        "mean_staleness": ("staleness", "{:.1f}".format),
        "bytes_up": ("up", size),
        "bytes_down": ("down", size),
        "busy_s": ("busy s", whole),
        "unused_s": ("idle s", whole),
        "off_s": ("off s", whole),
        "lost_s": ("lost s", whole),
        "bytes_lost": ("lost", size),
        "bytes_cut": ("cut by the end", size),
        "energy_j": ("energy", _energy),
        "restricted_energy_j": (f"to {shown(targets[0])}" if targets else "", _energy),
        "rejected_updates": ("rejected", whole),
    }
    results = _rows(summary, {**accuracy_looks(), **time_looks(targets)})
    if results is not None:
        note = _judged(list(map(str, summary)), None if beside is None else beside[0])
        yield f"{scenario.name}: accuracy", replace(_with_column(results, beside), note=note)
    alone = _rows(summary, alone_looks(list(map(str, summary))))
    if alone is not None:
        yield f"{scenario.name}: modalities alone", alone
    costs = _rows(_costs(summary), spent)
    if costs is not None:
        has_more = any(str(column).endswith("_ci95") for column in summary)
        note = "s: device-seconds, summed over clients"
        note += "; means over seeds, their intervals are in summary.csv" if has_more else ""
        yield f"{scenario.name}: cost", replace(costs, note=note)


def _costs(summary: pd.DataFrame) -> pd.DataFrame:
    """Return a summary without intervals, for which the costs have no room, and with the time that clients are busy."""
    means = summary[[column for column in summary if not str(column).endswith("_ci95")]]
    return means.assign(busy_s=means["train_s"] + means["transfer_s"], unused_s=means["wait_s"] + means["idle_s"])


def _rows(summary: pd.DataFrame, columns: Looks) -> TableRows | None:
    """Return a row per method; None where the summary has none of the columns."""
    looks = {column: look for column, look in columns.items() if column in summary}
    if not looks:
        return None
    cells = [[method_text(row), *cells_of(row, looks)] for row in summary.to_dict("records")]
    header = ["method", *(name for name, _ in looks.values())]
    return TableRows(cells, header, frozenset(range(1, len(header))))


def _with_column(rows: TableRows, beside: Beside | None) -> TableRows:
    """Return a table with a column more, right of its first number."""
    if beside is None:
        return rows
    heading, texts = beside
    cells = [[*line[:2], texts.get(line[0], ""), *line[2:]] for line in rows.cells]
    header = [*rows.header[:2], heading, *rows.header[2:]]
    return TableRows(cells, header, frozenset(range(1, len(header))))


def _judged(columns: Iterable[str], difference: str | None) -> str:
    """Return how accuracies and times come about, a part for each that is among the columns.

    Args:
        columns: of a summary.
        difference: the heading of the difference from a baseline.
    """
    parts = {
        "final_accuracy": "final accuracy: mean over the last tenth of the evaluations",
        difference: f"{difference}: difference, paired by seed",
        "restricted_time_s": "s to a target: 3 evaluations in a row have it, censored at the horizon",
    }
    return "; ".join(part for column, part in parts.items() if column is not None and column in {*columns, difference})


_EARLY = {
    "accuracy": "the accuracy was reached",
    "patience_s": "no better accuracy for as long as the run was to wait",
    "callback": "on_evaluation asked for it",
    "idle": "no client would be on again",
}
"""Reasons for the end of a run that is shorter than its simulated seconds and versions allow."""


def ended_early(records: Iterable[RunRecord]) -> TableRows:
    """Return a table of the runs that ended before their simulated seconds and versions, and why."""
    ends = [
        (record, "the training diverged" if diverged_at_s(record) is not None else _EARLY.get(_ended_by(record)))
        for record in records
    ]
    cells = [
        (record.label, str(record.seed), f"{record.info['totals']['simulated_s']:,.0f}", why)
        for record, why in ends
        if why is not None
    ]
    return TableRows(cells, ("method", "seed", "at, simulated s", "because"), frozenset({1, 2}))


def _ended_by(record: RunRecord) -> str:
    return str(record.info.get("totals", {}).get("ended_by", ""))


def sweep_plan(scenarios: Iterable[Scenario]) -> TableRows:
    """Return the plan of a sweep: a row per point."""
    seeds: dict[str, list[int]] = {}
    methods: dict[str, list[str]] = {}
    for scenario in scenarios:
        seeds.setdefault(scenario.name, []).append(scenario.seed)
        methods[scenario.name] = [method.run_label for method in scenario.methods]
    cells = [
        [point, str(len(seeds[point]) * len(labels)), ", ".join(map(str, seeds[point])), ", ".join(labels)]
        for point, labels in methods.items()
    ]
    return TableRows(cells, ("point", "runs", "seeds", "methods"), frozenset({1}))


def sweep_table(summaries: Mapping[str, pd.DataFrame]) -> TableRows:
    """Return the printed form of a sweep's summaries: a row per point and method; only results have their intervals.

    Args:
        summaries: of each point, by its name.
    """
    results: Looks = {"final_accuracy": accuracy_looks()["final_accuracy"], **time_looks((), "target")}
    costs: Looks = {
        "versions": ("versions", whole),
        "mean_staleness": ("staleness", "{:.1f}".format),
        "bytes_up": ("up", size),
    }
    columns = {c: look for c, look in (results | costs).items() if any(c in summary for summary in summaries.values())}
    cells = [
        [point, method_text(row), *cells_of(row, columns)]
        for point, summary in summaries.items()
        for row in summary.drop(columns=[f"{c}_ci95" for c in costs], errors="ignore").to_dict("records")
    ]
    header = ["point", "method", *(name for name, _ in columns.values())]
    return TableRows(cells, header, frozenset(range(2, len(header))), _judged(columns, None))


def trials_plan(trials: Iterable[Trials]) -> TableRows:
    """Return the plan of a tuning: a row per scenario and method."""
    cells = [
        [
            tried.scenario,
            tried.label,
            str(len(tried.scenarios)),
            ", ".join(map(str, tried.seeds)),
            "; ".join(f"{field} {', '.join(map(str, values))}" for field, values in tried.grid.items()),
        ]
        for tried in trials
    ]
    return TableRows(cells, ("scenario", "method", "runs", "seeds", "every one of"), frozenset({2}))


def choice_table(chosen: Sequence[tuple[Tried, Choice]]) -> TableRows:
    """Return the settings that were chosen: a row per scenario and method."""
    fields = list(dict.fromkeys(field for _, choice in chosen for field in choice.grid))
    cells = [
        [
            choice.scenario,
            choice.label,
            *(str(choice.values.get(field, "")) for field in fields),
            f"{choice.validation_accuracy:.3f}",
            str(len(tried.scores)),
            str(sum(None in scores for scores in tried.scores)),
            ", ".join(short_name(field, fields) for field in choice.at_the_end),
        ]
        for tried, choice in chosen
    ]
    names = [short_name(field, fields) for field in fields]
    header = [
        "scenario",
        "method",
        *names,
        "validation accuracy",
        "settings",
        "failed, diverged",
        "at the end of its list",
    ]
    return TableRows(cells, header, frozenset(range(2, len(header) - 1)))


def _energy(joules: float) -> str:
    """Return an amount of energy."""
    return f"{joules:.0f} J" if joules < 1000 else f"{joules / 1e3:,.2f} kJ"
