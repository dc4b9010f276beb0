"""Curves with their intervals: a band around each of a few curves, bars at the ends of many."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

MOST_BANDS = 3
"""Curves of a panel that have a band each; the bands of more would hide each other."""
_BETWEEN, _TOGETHER = 5.0, 40.0  # points: from one bar to the next, and the most that all of them take
_INCH = 72  # points


def bars_note(num_curves: int, spread: str, where: str = "the curves' ends") -> str:
    """Return a sentence for the caption of a figure that has bars in place of bands; otherwise an empty string.

    Args:
        num_curves: in a panel.
        spread: `interlude.analysis.seeds.count` of the runs.
        where: the bars are.
    """
    has_bars = num_curves > MOST_BANDS and "interval" in spread
    return f" Bars side by side: 95 % intervals at {where}." if has_bars else ""


def draw_bands(axis: Axes, bands: Mapping[str, pd.DataFrame], looks: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw means and, where they are known, their intervals.

    Up to `MOST_BANDS` curves have bands. More have a bar each at their ends, side by side; curves with a marker at
    every point have one at every point.

    Args:
        axis: the panel.
        bands: by label; columns mean, low and high by position.
        looks: of the lines by label.
    """
    step = min(_BETWEEN, _TOGETHER / max(len(bands), 1))
    for place, (label, band) in enumerate(bands.items()):
        look = looks[label]
        axis.plot(band.index, band["mean"], **{"label": label, **look})
        if not band["low"].notna().any():
            continue
        if len(bands) <= MOST_BANDS:
            axis.fill_between(band.index, band["low"], band["high"], color=look["color"], alpha=0.15, lw=0)
        elif "marker" in look and "markevery" not in look:
            _draw_bars(axis, band, look, step * (place - (len(bands) - 1) / 2))
        else:
            _draw_bars(axis, band.iloc[-1:], look, step * (place + 0.5 - len(bands)))


def _draw_bars(axis: Axes, band: pd.DataFrame, look: Mapping[str, Any], aside: float) -> None:
    """Draw the intervals as vertical bars so many points right of their positions."""
    moved = axis.transData + ScaledTranslation(aside / _INCH, 0, axis.figure.dpi_scale_trans)
    axis.vlines(band.index, band["low"], band["high"], color=look["color"], linewidth=1.5, transform=moved)
