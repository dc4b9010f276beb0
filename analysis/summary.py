"""The summary table: one row per run, and one row per method over its seeds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from interlude.analysis.accuracy import (
    FUSED,
    accuracy_curves,
    best_accuracy,
    final_values,
    fused_curve,
    horizon_s,
    mean_over_time,
    metric_curves,
    targets_of,
    time_to_accuracy_s,
)
from interlude.analysis.divergence import diverged_at_s
from interlude.analysis.fields import shown
from interlude.analysis.recorded import device_s, mean_staleness, num_bytes
from interlude.analysis.seeds import FEWEST, half_width
from interlude.simulator.record.reader import RunRecord

TRANSFER = ("download", "upload")
_TRAINING = ("train", "train_unimodal")
_WAITING = ("wait", "stalled", "backoff")
DIVERGED = "diverged_at_s"
"""A column that only tables with a run that diverged have; missing for the others."""


def summarise_runs(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return one row per run.

    Columns, in which accuracies are test accuracies of the fused model unless they say otherwise:

    * method, seed, simulated_s, versions; diverged_at_s, if any run diverged. Such a run has no accuracy.
    * final_accuracy: the mean over the last tenth of the evaluations (at least one); likewise accuracy_<modality>
      (that modality alone, the others filled with zeros), nearest_mean_<modality> (that modality's features by the
      nearest class mean) and validation_accuracy, where the runs have them.
    * best_accuracy: at the evaluation with the best validation accuracy. Without validation, best_test_accuracy:
      the largest one, chosen on the test set.
    * mean_accuracy: over simulated time, from 0 to the horizon, `interlude.analysis.accuracy.horizon_s`.
    * time_to_target_s: the first of three evaluations in a row that have the target accuracy; infinite where there are
      none (censored). restricted_time_s: the same, but horizon_s, a column of its own, where it is censored. Of further
      targets: time_to_<target>_s and restricted_time_to_<target>_s.
    * bytes_up, bytes_down, train_s, transfer_s, wait_s (for data, for the server, between upload attempts), idle_s
      (device-seconds summed over clients), off_s (where clients go off), lost_s and bytes_lost (of lost local
      rounds), bytes_cut (on their way at the end of the run), mean_staleness.
    * energy_j, energy_to_target_j (infinite where censored) and restricted_energy_j (until the end of the run where
      censored), where the scenario has world.energy; rejected_updates, where it rejects any.

    Timing-only runs have no accuracies and no times to a target.
    """
    return pd.DataFrame([_summarise_run(record) for record in records])


def summarise_methods(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per method: the mean of every column over seeds and, from three on, `<column>_ci95`.

    That is half the width of the 95 % t interval, before it is cut to the values that are possible.

    Times to a target are means over all seeds, censored ones with the horizon (restricted means): restricted_time_s
    and so on stand for the columns that are infinite where censored; `reached` (of further targets
    `reached_<target>`) counts the runs that reached it, ``3/5``. All other columns are means over the runs that did
    not diverge; `diverged` counts those that did, if any run of the table did.
    """
    rows = []
    for method, group in without_diverged(runs).groupby("method", sort=False):
        row: dict[str, object] = {"method": method, "seeds": len(group)}
        if DIVERGED in group:
            row["diverged"] = int(group[DIVERGED].notna().sum())
        for column in map(str, group.columns.drop(["method", "seed", DIVERGED], errors="ignore")):
            values = group[column].astype(float)
            if is_time_to_target(column):
                num_reached = int(np.isfinite(values).sum())
                row[_reached(column)] = f"{num_reached}/{len(values)}" if values.notna().any() else ""
            if _is_censored(column):
                continue
            values = values.dropna()
            row[column] = values.mean()
            if len(group) >= FEWEST:
                row[f"{column}_ci95"] = half_width(values)
        rows.append(row)
    return pd.DataFrame(rows)


def without_diverged(runs: pd.DataFrame) -> pd.DataFrame:
    """Return `summarise_runs` with what runs that diverged measured left out, but that they did not reach a target."""
    if DIVERGED not in runs:
        return runs
    stays = ("method", "seed", "simulated_s", "horizon_s", DIVERGED)
    measured = [c for c in map(str, runs) if c not in stays and not _is_censored(c) and not is_restricted(c)]
    return runs.assign(**{c: runs[c].astype(float).where(runs[DIVERGED].isna()) for c in measured})


def is_time_to_target(column: str) -> bool:
    """Whether a column holds times to a target, infinite where it was never reached."""
    return column.startswith("time_to_")


def is_restricted(column: str) -> bool:
    """Whether a column holds times or energies to a target, those of censored runs as if they reached it at the end."""
    return column.startswith("restricted_")


def reached_column(restricted: str) -> str:
    """Return the column of `summarise_methods` that counts the runs behind a restricted mean that reached the target.

    ``restricted_time_s`` and ``restricted_energy_j``: ``reached``; ``restricted_time_to_0.6_s``: ``reached_0.6``.
    """
    return _reached(censored_column(restricted))


def censored_column(restricted: str) -> str:
    """Return the column of `summarise_runs` that is infinite where a restricted one has the horizon."""
    own = {"restricted_time_s": "time_to_target_s", "restricted_energy_j": "energy_to_target_j"}
    return own.get(restricted) or restricted.removeprefix("restricted_")


def _reached(censored: str) -> str:
    _, _, target = censored.rpartition("_to_")
    target = target.rpartition("_")[0]
    return "reached" if target == "target" else f"reached_{target}"


def _is_censored(column: str) -> bool:
    return is_time_to_target(column) or column == "energy_to_target_j"


def _summarise_run(record: RunRecord) -> dict[str, object]:
    totals, spent_s, sent_bytes = record.info["totals"], device_s(record), num_bytes(record)
    row: dict[str, object] = {
        "method": record.label,
        "seed": record.seed,
        "simulated_s": record.info["totals"]["simulated_s"],
        "versions": record.info["totals"]["versions"],
    }
    if (diverged_s := diverged_at_s(record)) is not None:
        row[DIVERGED] = diverged_s
    row |= _accuracies(record) | _times(record)
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
    row["mean_staleness"] = mean_staleness(record)
    if "energy_j" in totals:
        row["energy_j"] = sum(totals["energy_j"].values())
        if "time_to_target_s" in row:
            row |= _energies_to_target_j(record, float(str(row["time_to_target_s"])))
    if record.scenario.get("training", {}).get("on_divergence") == "reject":
        row["rejected_updates"] = record.info["totals"]["rejected_updates"]
    return row


def energy_curve(record: RunRecord) -> "pd.Series[float]":
    """Return the joules of all clients by simulated time; empty without world.energy."""
    metrics = record.metrics
    energy = metrics[metrics["metric"] == "energy_j"]
    return pd.Series(energy["value"].to_numpy(dtype=float), energy["time_s"].to_numpy(dtype=float))


def _energies_to_target_j(record: RunRecord, time_s: float) -> dict[str, object]:
    if diverged_at_s(record) is not None:
        return {"energy_to_target_j": float("inf"), "restricted_energy_j": float("nan")}
    curve = energy_curve(record)
    until_j = float(np.interp(time_s, curve.index, curve))
    return {"energy_to_target_j": until_j if np.isfinite(time_s) else float("inf"), "restricted_energy_j": until_j}


def _accuracies(record: RunRecord) -> dict[str, object]:
    curves = accuracy_curves(record)
    if diverged_at_s(record) is not None:
        return {} if record.info.get("timing_only") else {"final_accuracy": float("nan")}
    if curves.empty:
        return {}
    final = final_values(curves)
    row: dict[str, object] = {"final_accuracy": final[FUSED], **best_accuracy(record)}
    row["mean_accuracy"] = mean_over_time(fused_curve(record), horizon_s(record))
    validation = metric_curves(record, "validation_accuracy")
    if FUSED in validation:
        row["validation_accuracy"] = final_values(validation)[FUSED]
    row |= {f"accuracy_{modality}": value for modality, value in final.drop(FUSED).items()}
    by_nearest_mean = metric_curves(record, "nearest_mean_accuracy")
    if not by_nearest_mean.empty:
        row |= {f"nearest_mean_{modality}": value for modality, value in final_values(by_nearest_mean).items()}
    return row


def _times(record: RunRecord) -> dict[str, object]:
    """Return the times to the targets; none for a run without accuracies, unless it diverged."""
    if accuracy_curves(record).empty and diverged_at_s(record) is None:
        return {}
    row: dict[str, object] = {"horizon_s": horizon_s(record)} if targets_of(record) else {}
    for place, target in enumerate(targets_of(record)):
        time_s = time_to_accuracy_s(record, target)
        names = [f"{of}to_{shown(target)}_s" for of in ("time_", "restricted_time_")]
        first, restricted = names if place else ("time_to_target_s", "restricted_time_s")
        row |= {first: time_s, restricted: time_s if np.isfinite(time_s) else horizon_s(record)}
    return row
