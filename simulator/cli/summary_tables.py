"""Tables of a comparison's results, and of a sweep's plan."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from interlude.analysis.fields import short_name
from interlude.analysis.seeds import interval_text, limits_of
from interlude.simulator.cli.table_rows import TableRows, size
from interlude.simulator.record.reader import RunRecord
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.sweep.choice import Choice
from interlude.simulator.sweep.trials import Trials
from interlude.simulator.sweep.tuning import Tried

Columns = dict[str, tuple[str, Callable[[float], str]]]
"""Columns of a summary: the heading and the number format of each."""


def summary_tables(summary: pd.DataFrame, scenario: Scenario) -> Iterator[tuple[str, TableRows]]:
    """Yield the printed form of a summary: results and costs, with intervals over several seeds."""
    alone = {c: (f"{c.removeprefix('accuracy_')} alone", "{:.3f}".format) for c in map(str, summary) if _is_modality(c)}
    reached: Columns = {
        "final_accuracy": ("final accuracy", "{:.3f}".format),
        "best_accuracy": ("best", "{:.3f}".format),
        **alone,
        "time_to_target_s": (f"s to {scenario.evaluate.target_accuracy}", "{:,.0f}".format),
    }
    spent: Columns = {
        "versions": ("versions", "{:,.0f}".format),
        "mean_staleness": ("staleness", "{:.1f}".format),
        "bytes_up": ("up", size),
        "bytes_down": ("down", size),
        "busy_s": ("busy device-s", "{:,.0f}".format),
        "unused_s": ("idle device-s", "{:,.0f}".format),
        "off_s": ("off device-s", "{:,.0f}".format),
        "lost_s": ("lost device-s", "{:,.0f}".format),
        "bytes_lost": ("lost", size),
        "bytes_cut": ("cut by the end", size),
        "energy_j": ("energy", _energy),
        "energy_to_target_j": (f"to {scenario.evaluate.target_accuracy}", _energy),
        "rejected_updates": ("rejected", "{:,.0f}".format),
    }
    table = summary.assign(
        busy_s=summary["train_s"] + summary["transfer_s"], unused_s=summary["wait_s"] + summary["idle_s"]
    )
    for title, columns in (("accuracy", reached), ("cost", spent)):
        shown = {column: look for column, look in columns.items() if column in table}
        if shown:
            cells = [
                [
                    str(row["method"]),
                    *(_cell(row, column, look, scenario) for column, (_, look) in shown.items()),
                ]
                for _, row in table.iterrows()
            ]
            header = ["method", *(name for name, _ in shown.values())]
            yield f"{scenario.name}: {title}", TableRows(cells, header, frozenset(range(1, len(header))))


_EARLY = {
    "accuracy": "the accuracy was reached",
    "patience_s": "no better accuracy for as long as the run was to wait",
    "callback": "on_evaluation asked for it",
    "idle": "no client would be on again",
}
"""Reasons for the end of a run that is shorter than its simulated seconds and versions allow."""


def ended_early(records: Iterable[RunRecord]) -> TableRows:
    """Return a table of the runs that ended before their simulated seconds and versions, and why."""
    ends = [(record, record.info.get("totals", {})) for record in records]
    cells = [
        (record.label, str(record.seed), f"{totals['simulated_s']:,.0f}", _EARLY[totals["ended_by"]])
        for record, totals in ends
        if totals.get("ended_by") in _EARLY
    ]
    return TableRows(cells, ("method", "seed", "at, simulated s", "because"), frozenset({1, 2}))


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


def sweep_table(summaries: Mapping[str, pd.DataFrame], scenarios: Mapping[str, Scenario]) -> TableRows:
    """Return the printed form of a sweep's summaries: a row per point and method.

    Args:
        summaries: of each point, by its name.
        scenarios: of each point, by its name.
    """
    looks: Columns = {
        "final_accuracy": ("final accuracy", "{:.3f}".format),
        "time_to_target_s": ("s to target", "{:,.0f}".format),
        "versions": ("versions", "{:,.0f}".format),
        "mean_staleness": ("staleness", "{:.1f}".format),
        "bytes_up": ("up", size),
    }
    columns = {c: look for c, look in looks.items() if any(c in summary for summary in summaries.values())}
    cells = [
        [point, str(row["method"]), *(_cell(row, c, look, scenarios[point]) for c, (_, look) in columns.items())]
        for point, summary in summaries.items()
        for _, row in summary.iterrows()
    ]
    header = ["point", "method", *(name for name, _ in columns.values())]
    return TableRows(cells, header, frozenset(range(2, len(header))))


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


def choice_table(found: Sequence[Tried], choices: Sequence[Choice]) -> TableRows:
    """Return the settings that were chosen: a row per scenario and method."""
    fields = list(dict.fromkeys(field for choice in choices for field in choice.grid))
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
        for tried, choice in zip(found, choices, strict=True)
    ]
    names = [short_name(field, fields) for field in fields]
    header = ["scenario", "method", *names, "validation accuracy", "settings", "failed", "at the end of its list"]
    return TableRows(cells, header, frozenset(range(2, len(header) - 1)))


def _is_modality(column: str) -> bool:
    return column.startswith("accuracy_") and not column.endswith("_ci95")


def _cell(row: "pd.Series[Any]", column: str, look: Callable[[float], str], scenario: Scenario) -> str:
    value, spread = float(row[column]), float(row.get(f"{column}_ci95", math.nan))
    if column in ("time_to_target_s", "energy_to_target_j"):
        reached, _, seeds = str(row["reached"]).partition("/")
        if reached == "0" and column == "energy_to_target_j":
            return "never"
        if reached == "0":
            return "never" if scenario.until.simulated_s is None else f"> {scenario.until.simulated_s:,.0f}"
        if reached != seeds:
            return f"{look(value)} ({row['reached']})"
    return interval_text(value, spread, look, limits_of(column))


def _energy(joules: float) -> str:
    """Return an amount of energy."""
    return f"{joules:.0f} J" if joules < 1000 else f"{joules / 1e3:,.2f} kJ"
