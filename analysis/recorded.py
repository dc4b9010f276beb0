"""What a record holds of its clients, and the sums over all of them, whatever it holds."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from interlude.simulator.record.reader import RunRecord


def num_recorded(record: RunRecord) -> int | None:
    """Return how many clients, the first ones, have their rows in the timeline; None: all."""
    section: dict[str, Any] = record.scenario.get("record", {})
    count, num_clients = section.get("clients"), int(record.scenario["clients"]["count"])
    return None if count is None or count >= num_clients else int(count)


def seen(records: Sequence[RunRecord]) -> str:
    """Return a sentence that says of which clients timelines are, empty if they are of all."""
    counts = {count for record in records if (count := num_recorded(record)) is not None}
    if not counts:
        return ""
    return f" The timelines hold clients 0 to {min(counts) - 1} of {records[0].scenario['clients']['count']:,}."


def device_s(record: RunRecord) -> "pd.Series[float]":
    """Return device-seconds by activity, of all clients."""
    if (spent := _spent(record)) is not None:
        return pd.Series(spent["device_s"], dtype=float)
    spans = record.timeline[record.timeline["activity"] != "merge"]
    return (spans["end_s"] - spans["start_s"]).groupby(spans["activity"]).sum()


def num_bytes(record: RunRecord) -> "pd.Series[int]":
    """Return the payload by activity, of all clients."""
    if (spent := _spent(record)) is not None:
        return pd.Series(spent["bytes"], dtype=int)
    return record.timeline["bytes"].groupby(record.timeline["activity"]).sum()


def mean_staleness(record: RunRecord) -> float:
    """Return the mean staleness of all merged updates, in versions; NaN if there are none."""
    if (spent := _spent(record)) is not None:
        return spent["staleness"] / spent["merged"] if spent["merged"] else float("nan")
    return float(record.timeline["staleness"].mean())


def _spent(record: RunRecord) -> dict[str, Any] | None:
    """Return the sums of run.json; None in a record of before they were written."""
    spent: dict[str, Any] | None = record.info.get("totals", {}).get("spent")
    return spent
