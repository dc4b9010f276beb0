"""Statistics over seeds: means, 95 % intervals, bands around curves."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95
FEWEST = 3
"""Values that an interval needs; that of two is wider than most axes."""
SHARE = (0.0, 1.0)
"""Limits of an accuracy."""
ACCURACIES = ("final_accuracy", "best_accuracy", "best_test_accuracy", "mean_accuracy", "validation_accuracy")
NOT_NEGATIVE = (0.0, math.inf)
"""Limits of times, bytes and energies."""


def half_width(values: "pd.Series[float]") -> float:
    """Return the half width of the 95 % t interval of a mean; NaN for fewer than three values that are not missing."""
    values = values.dropna()
    if len(values) < FEWEST:
        return float("nan")
    quantile = stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)
    return float(quantile * values.std(ddof=1) / np.sqrt(len(values)))


def interval_text(
    mean: float, half: float, look: Callable[[float], str], limits: tuple[float, float], *, is_signed: bool = False
) -> str:
    """Return a mean with its interval: ``0.5 ± 0.1``, or where that leaves the limits ``0.9 (0.7 to 1.0)``.

    Without a mean, as of the staleness where nothing was merged, it is ``n/a``.
    """

    def value(number: float) -> str:
        return ("+" if number >= 0 else "-") + look(abs(number)) if is_signed else look(number)

    if math.isnan(mean):
        return "n/a"
    if math.isnan(half):
        return value(mean)
    low, high = mean - half, mean + half
    if limits[0] <= low and high <= limits[1]:
        return f"{value(mean)} ± {look(half)}"
    return f"{value(mean)} ({value(max(low, limits[0]))} to {value(min(high, limits[1]))})"


def limits_of(column: str) -> tuple[float, float]:
    """Return the possible values of a column of `interlude.analysis.summary.summarise_runs`."""
    return SHARE if column in ACCURACIES or column.startswith(("accuracy_", "nearest_mean_")) else NOT_NEGATIVE


def band(curves: Sequence["pd.Series[float]"], limits: tuple[float, float] = (-math.inf, math.inf)) -> pd.DataFrame:
    """Return the mean of curves and its 95 % t interval, at the positions where all of them are known.

    Args:
        curves: one per seed; values by position, positions increasing; linear between positions.
        limits: of the values; the interval ends there.

    Returns:
        Columns mean, low and high by position; low and high are NaN for fewer than three curves. Empty without any.
    """
    if not curves:
        return pd.DataFrame({"mean": [], "low": [], "high": []}, dtype=float)
    table = pd.concat([curve[~curve.index.duplicated(keep="last")] for curve in curves], axis=1).sort_index()
    table = table.interpolate("index").loc[: min(curve.index[-1] for curve in curves)].dropna()
    return bands(table.mean(axis=1), table.apply(half_width, axis=1), limits)


def bands(means: "pd.Series[float]", halves: "pd.Series[float]", limits: tuple[float, float]) -> pd.DataFrame:
    """Return means with the ends of their intervals, which stay within limits: columns mean, low and high."""
    low, high = (means - halves).clip(*limits), (means + halves).clip(*limits)
    return pd.DataFrame({"mean": means, "low": low, "high": high})


def count(num_seeds: Sequence[int]) -> str:
    """Return the number of seeds in words, for a caption."""
    low, high = min(num_seeds), max(num_seeds)
    if high == 1:
        return "one seed"
    several = f"{high if low == high else f'{low} to {high}'} seeds"
    return f"mean{' and 95 % interval' if high >= FEWEST else ''} over {several}"
