"""Many runs as one tidy table: a row per run, the swept fields as columns."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from interlude.analysis.runs import by_scenario
from interlude.analysis.summary import summarise_methods, summarise_runs
from interlude.simulator.record.reader import RunRecord, find_runs

POINT = "point"


def load_runs(path: str | Path) -> pd.DataFrame:
    """Return the runs at or below a path as a tidy table: a row per run, whatever its status.

    Columns: point (the scenario's name), a column for each field that a sweep varied under its full name
    (``clients.count``, ``methods.mba.beta``), seed, method, status, and the columns of
    `interlude.analysis.summary.summarise_runs`; those are missing where a run is neither complete nor diverged.
    `load_records` returns the records of complete runs themselves, with their curves and timelines.

    Raises:
        BadInputError: if there is no such directory, or no run in it, or a run is damaged.
    """
    return tidy_runs(find_runs(path))


def tidy_runs(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return a row per run, in the order given; columns as of `load_runs`."""
    swept = swept_fields(records)
    ended = [record for record in records if record.has_result]
    metrics = summarise_runs(ended).drop(columns=["method", "seed"], errors="ignore").to_dict("records")
    summaries = dict(zip((record.path for record in ended), metrics, strict=True))
    rows = [
        {
            POINT: record.scenario["name"],
            **{field: _cell(record.origin["swept"].get(field)) for field in swept},
            "seed": record.seed,
            "method": record.label,
            "status": record.info["status"],
            **summaries.get(record.path, {}),
        }
        for record in records
    ]
    return pd.DataFrame(rows)


def tidy_summary(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return a row per point and method: point, the swept fields, and the columns of `summarise_methods`.

    Only runs that are complete or diverged count.
    """
    ended = [record for record in records if record.has_result]
    swept = swept_fields(ended)
    tables = []
    for name, group in by_scenario(ended).items():
        table = summarise_methods(summarise_runs(group))
        for field in reversed(swept):
            table.insert(0, field, [_cell(group[0].origin["swept"].get(field))] * len(table))
        table.insert(0, POINT, name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def swept_fields(records: Sequence[RunRecord]) -> list[str]:
    """Return the full names of the fields that sweeps varied, in their order."""
    return list(dict.fromkeys(field for record in records for field in record.origin["swept"]))


def _cell(value: object) -> object:
    """Return a swept value as it stands in a cell: a mapping or a list as JSON."""
    return json.dumps(value) if isinstance(value, dict | list) else value
