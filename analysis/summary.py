"""The summary table: one row per run, and one row per method over its seeds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from interlude.analysis.seeds import FEWEST, half_width
from interlude.simulator.record.reader import RunRecord

TRANSFER = ("download", "upload")
_TRAINING = ("train", "train_unimodal")
_WAITING = ("wait", "stalled", "backoff")
TO_TARGET = ("time_to_target_s", "energy_to_target_j")
"""Columns that are infinite where the target accuracy was never reached."""


def summarise_runs(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return one row per run.

    Columns: method, seed, simulated_s, versions, final_accuracy and best_accuracy (fused), accuracy_<modality> (final,
    that modality alone), time_to_target_s (infinite where the target was never reached: censored), bytes_up,
    bytes_down, train_s, transfer_s, wait_s (for data, for the server, between upload attempts), idle_s
    (device-seconds summed over clients), off_s (where clients go off), lost_s and bytes_lost (of lost
    local rounds), bytes_cut (on their way at the end of the run), mean_staleness, energy_j and energy_to_target_j
    (where the scenario has world.energy), rejected_updates (where a scenario rejects any). Accuracies
    are missing for timing-only runs.
    """
    return pd.DataFrame([_summarise_run(record) for record in records])


def summarise_methods(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per method: the mean of every column over seeds and, from three on, `<column>_ci95`.

    That is half the width of the 95 % t interval, before it is cut to the values that are possible.

    Times and joules to the target are means over the runs that reached it; `reached` counts them.
    """
    rows = []
    for method, group in runs.groupby("method", sort=False):
        row: dict[str, object] = {"method": method, "seeds": len(group)}
        for column in group.columns.drop(["method", "seed"]):
            values = group[column].astype(float)
            if column == "time_to_target_s":
                row["reached"] = f"{int(np.isfinite(values).sum())}/{len(values)}" if values.notna().any() else ""
            if column in TO_TARGET:
                values = values[np.isfinite(values)]
            row[column] = values.mean() if len(values) else float("nan")
            if len(group) >= FEWEST:
                row[f"{column}_ci95"] = half_width(values)
        rows.append(row)
    return pd.DataFrame(rows)


def _summarise_run(record: RunRecord) -> dict[str, object]:
    timeline, totals = record.timeline, record.info["totals"]
    activity = timeline["activity"]
    spent_s = (timeline["end_s"] - timeline["start_s"]).groupby(activity).sum()
    sent_bytes = timeline["bytes"].groupby(activity).sum()
    row: dict[str, object] = {
        "method": record.label,
        "seed": record.seed,
        "simulated_s": record.info["totals"]["simulated_s"],
        "versions": record.info["totals"]["versions"],
    }
    row |= _accuracies(record)
    row |= {
        "bytes_up": int(sent_bytes.get("upload", 0)),
        "bytes_down": int(sent_bytes.get("download", 0)),
        "train_s": spent_s.reindex(_TRAINING).sum(),
        "transfer_s": spent_s.reindex(TRANSFER).sum(),
        "wait_s": spent_s.reindex(_WAITING).sum(),
        "idle_s": spent_s.get("idle", 0.0),
    }
    if "off" in spent_s:
        row["off_s"] = spent_s["off"]
    if "lost" in totals:
        lost = totals["lost"]
        row |= {"lost_s": lost["device_s"], "bytes_lost": lost["bytes_up"] + lost["bytes_down"]}
    if "cut" in totals:
        row["bytes_cut"] = sum(totals["cut"].values())
    row["mean_staleness"] = timeline["staleness"].mean()
    if "energy_j" in totals:
        row["energy_j"] = sum(totals["energy_j"].values())
        if "time_to_target_s" in row:
            row["energy_to_target_j"] = _energy_until_j(record, float(str(row["time_to_target_s"])))
    if record.scenario.get("training", {}).get("on_divergence") == "reject":
        row["rejected_updates"] = record.info["totals"]["rejected_updates"]
    return row


def energy_curve(record: RunRecord) -> "pd.Series[float]":
    """Return the joules of all clients by simulated time; empty without world.energy."""
    metrics = record.metrics
    energy = metrics[metrics["metric"] == "energy_j"]
    return pd.Series(energy["value"].to_numpy(dtype=float), energy["time_s"].to_numpy(dtype=float))


def _energy_until_j(record: RunRecord, time_s: float) -> float:
    curve = energy_curve(record)
    return float(np.interp(time_s, curve.index, curve)) if np.isfinite(time_s) else float("inf")


def accuracy_curves(record: RunRecord) -> pd.DataFrame:
    """Return accuracies by simulated time in seconds: column ``fused``, then a column for each modality alone."""
    metrics = record.metrics
    accuracy = metrics[metrics["metric"] == "accuracy"]
    order = sorted(accuracy["modality"].unique(), key=lambda modality: bool(modality != "fused"))
    return accuracy.pivot(index="time_s", columns="modality", values="value")[order]


def time_to_accuracy_s(record: RunRecord, target: float) -> float:
    """Return the first simulated second with a fused accuracy of `target`; infinite where it was never reached."""
    fused = accuracy_curves(record)["fused"]
    reached = fused.index[fused >= target]
    return float(reached[0]) if len(reached) else float("inf")


def _accuracies(record: RunRecord) -> dict[str, object]:
    curves = accuracy_curves(record)
    if curves.empty:
        return {}
    fused = curves["fused"]
    row: dict[str, object] = {"final_accuracy": fused.iloc[-1], "best_accuracy": fused.max()}
    row |= {f"accuracy_{modality}": curves[modality].iloc[-1] for modality in curves.columns.drop("fused")}
    target = record.scenario["evaluate"]["target_accuracy"]
    if target is not None:
        row["time_to_target_s"] = time_to_accuracy_s(record, target)
    return row
