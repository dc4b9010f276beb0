"""Curves with their intervals: a band around each of a few curves, bars at the ends of many."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

MOST_BANDS = 3
"""Curves of a panel that have a band each; the bands of more would hide each other."""
_BETWEEN, _BESIDE = 5.0, 40.0  # points: between two bars, and room for all of them
_INCH = 72  # points


def bars_note(num_curves: int, spread: str) -> str:
    """Return a sentence for the caption of a figure that has bars in place of bands; otherwise an empty string.

    Args:
        num_curves: in a panel.
        spread: `interlude.analysis.seeds.count` of the runs.
    """
    return " Bars beside the curves: 95 % intervals." if num_curves > MOST_BANDS and "interval" in spread else ""


def draw_bands(axis: Axes, bands: Mapping[str, pd.DataFrame], looks: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw means and, where they are known, their intervals.

    Up to `MOST_BANDS` curves have bands. More have bars beside their ends, one beside the other; curves with a marker
    at every point have one beside every point.

    Args:
        axis: the panel.
        bands: by label; columns mean, low and high by position.
        looks: of the lines by label, in the order of the legend.
    """
    has_bands = len(bands) <= MOST_BANDS
    for place, (label, band) in enumerate(bands.items()):
        axis.plot(band.index, band["mean"], **{"label": label, **looks[label]})
        if not band["low"].notna().any():
            continue
        if has_bands:
            axis.fill_between(band.index, band["low"], band["high"], color=looks[label]["color"], alpha=0.15, lw=0)
        else:
            _draw_bars(axis, band, looks[label], (place + 1) * min(_BETWEEN, _BESIDE / len(bands)))


def _draw_bars(axis: Axes, band: pd.DataFrame, look: Mapping[str, Any], aside: float) -> None:
    """Draw intervals so many points right of their positions."""
    is_marked = "marker" in look and "markevery" not in look
    shown = band if is_marked else band.iloc[-1:]
    moved = axis.transData + ScaledTranslation(aside / _INCH, 0, axis.figure.dpi_scale_trans)
    axis.vlines(
        shown.index, shown["low"], shown["high"], color=look["color"], linewidth=1.5, transform=moved, clip_on=False
    )
