"""Statistics over seeds: means, 95 % intervals, bands around curves."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95
_FEWEST = 3  # the t interval of two values is wider than most axes


def half_width(values: "pd.Series[float]") -> float:
    """Return the half width of the 95 % t interval of a mean; NaN for fewer than two values."""
    if len(values) < 2:
        return float("nan")
    quantile = stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)
    return float(quantile * values.std(ddof=1) / np.sqrt(len(values)))


def drawn_half_width(values: "pd.Series[float]") -> float:
    """Return the half width that a figure shows: NaN for fewer than three values, whose interval is too wide."""
    return half_width(values) if len(values) >= _FEWEST else float("nan")


def band(curves: Sequence["pd.Series[float]"]) -> pd.DataFrame:
    """Return the mean of curves and its 95 % t interval, at the positions where all of them are known.

    Args:
        curves: one per seed; values by position, positions increasing; linear between positions.

    Returns:
        Columns mean, low and high by position; low and high are NaN for fewer than three curves.
    """
    table = pd.concat([curve[~curve.index.duplicated(keep="last")] for curve in curves], axis=1).sort_index()
    table = table.interpolate("index").loc[: min(curve.index[-1] for curve in curves)].dropna()
    mean = table.mean(axis=1)
    half = table.apply(drawn_half_width, axis=1)
    return pd.DataFrame({"mean": mean, "low": mean - half, "high": mean + half})


def count(num_seeds: Sequence[int]) -> str:
    """Return the number of seeds in words, for a caption."""
    low, high = min(num_seeds), max(num_seeds)
    if high == 1:
        return "one seed"
    several = f"{high if low == high else f'{low} to {high}'} seeds"
    return f"mean{' and 95 % interval' if high >= _FEWEST else ''} over {several}"
