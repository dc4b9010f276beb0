"""The accuracies of one run, and the numbers that it is judged by.

One evaluation is a noisy look at the model, so no number rests on one: the final accuracy is the mean over the last
tenth of the evaluations, and a target is reached where three in a row have it. A run that diverged has no accuracy, and
reached nothing.
"""

import numpy as np
import pandas as pd

from interlude.analysis.divergence import diverged_at_s
from interlude.simulator.counts import num_final
from interlude.simulator.record.reader import RunRecord

FUSED = "fused"
IN_A_ROW = 3
"""Evaluations that must have a target."""


def metric_curves(record: RunRecord, metric: str) -> pd.DataFrame:
    """Return a metric by simulated time in seconds: column ``fused``, if there is one, then one for each modality."""
    metrics = record.metrics
    rows = metrics[metrics["metric"] == metric]
    order = sorted(rows["modality"].unique(), key=lambda modality: bool(modality != FUSED))
    return rows.pivot(index="time_s", columns="modality", values="value")[order]


def accuracy_curves(record: RunRecord) -> pd.DataFrame:
    """Return test accuracies by simulated time in seconds: column ``fused``, then a column for each modality alone."""
    return metric_curves(record, "accuracy")


def fused_curve(record: RunRecord) -> "pd.Series[float]":
    """Return the fused test accuracy by simulated time in seconds."""
    return accuracy_curves(record)[FUSED].dropna()


def targets_of(record: RunRecord) -> tuple[float, ...]:
    """Return the target accuracies of the run's scenario; times to the first one are drawn."""
    given = record.scenario["evaluate"].get("target_accuracy")
    if given is None:
        return ()
    return tuple(dict.fromkeys(map(float, given))) if isinstance(given, list | tuple) else (float(given),)


def primary_target(record: RunRecord) -> float | None:
    """Return the target accuracy that figures are drawn for; None if the scenario names none."""
    return next(iter(targets_of(record)), None)


def horizon_s(record: RunRecord) -> float:
    """Return the simulated seconds in which a run could have reached a target; those who did not count with them.

    It is ``until.simulated_s``, also of a run that ended sooner: as it diverged, as its accuracy was reached or got no
    better. Where there is no such bound, or ``until.versions`` ended the run, it is the run's length; NaN if it
    diverged.
    """
    totals = record.info["totals"]
    length_s, bound_s = float(totals["simulated_s"]), record.scenario.get("until", {}).get("simulated_s")
    if bound_s is not None and totals.get("ended_by") != "versions":
        return max(length_s, float(bound_s))
    return length_s if diverged_at_s(record) is None else float("nan")


def final_accuracy(record: RunRecord, metric: str = "accuracy") -> float:
    """Return a fused accuracy at the end of a run, as `final_values`; NaN if it diverged, or has no such accuracy.

    Args:
        record: of the run.
        metric: ``accuracy``, on the test set, or ``validation_accuracy``.
    """
    curves = metric_curves(record, metric)
    if diverged_at_s(record) is not None or FUSED not in curves:
        return float("nan")
    return float(final_values(curves)[FUSED])


def final_values(curves: pd.DataFrame) -> "pd.Series[float]":
    """Return the mean of each curve over the last tenth of the evaluations, rounded up to a whole one."""
    return curves.tail(num_final(len(curves))).mean()


def mean_over_time(curve: "pd.Series[float]", horizon_s: float) -> float:
    """Return the mean of a curve over time: the area under it by the trapezoid rule, over the horizon.

    Args:
        curve: values by simulated second, from 0 on; beyond its end it stays at its last value.
        horizon_s: where the area ends; not before the curve does.
    """
    times_s, values = np.append(curve.index, horizon_s), np.append(curve, curve.iloc[-1])
    if not times_s[-1] > times_s[0]:
        return float(values[-1])
    area = float((np.diff(times_s) * (values[1:] + values[:-1]) / 2).sum())
    return area / float(times_s[-1] - times_s[0])


def best_accuracy(record: RunRecord) -> dict[str, float]:
    """Return the best fused test accuracy under a name that says how it was chosen.

    ``best_accuracy`` is the test accuracy at the first evaluation with the best validation accuracy. Without a
    validation set there is ``best_test_accuracy``, the largest one, which is chosen on the test set and so too large.
    """
    fused = fused_curve(record)
    validation = metric_curves(record, "validation_accuracy")
    if FUSED in validation:
        best = int(np.nanargmax(validation[FUSED].reindex(fused.index).to_numpy(dtype=float)))
        return {"best_accuracy": float(fused.iloc[best])}
    return {"best_test_accuracy": float(fused.max())}


def time_to_accuracy_s(record: RunRecord, target: float) -> float:
    """Return the simulated second from which on a run held a fused accuracy of `target`; infinite if it never did.

    As `first_held_s`; a run that diverged never did. Where ``until.accuracy`` ended the run at the target, evaluations
    that are missing for that reason count as if they had it.
    """
    if diverged_at_s(record) is not None:
        return float("inf")
    until = record.scenario.get("until", {})
    stopped_there = record.info["totals"].get("ended_by") == "accuracy" and until.get("modality") is None
    holds_on = stopped_there and (until.get("accuracy") or 0.0) >= target
    return first_held_s(fused_curve(record), target, holds_on=holds_on)


def first_held_s(curve: "pd.Series[float]", target: float, *, holds_on: bool = False) -> float:
    """Return the time of the first of three evaluations in a row that have the target; infinite if there are none.

    A target that only the last one or two evaluations have is not reached.

    Args:
        curve: accuracies by simulated second.
        target: the least accuracy that counts.
        holds_on: whether evaluations after the curve's end count as having the target.
    """
    has_it = np.append(curve >= target, np.full(IN_A_ROW - 1, fill_value=holds_on))
    held = np.lib.stride_tricks.sliding_window_view(has_it, IN_A_ROW).all(axis=1)
    return float(curve.index[int(held.argmax())]) if held.any() else float("inf")
