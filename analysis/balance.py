"""Imbalance between modalities over time: the gap between their accuracies, and measures that methods report."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from interlude.analysis import seeds
from interlude.analysis.accuracy import accuracy_curves
from interlude.analysis.bands import bars_note, draw_bands
from interlude.analysis.choices import Choices, Drawing, need_accuracy
from interlude.analysis.divergence import converged
from interlude.analysis.lines import Looks, line_looks
from interlude.analysis.runs import need_one_scenario, title_of
from interlude.analysis.style import legend_below, panel_grid, put_title
from interlude.simulator.record.reader import RunRecord

_MEASURED = {
    "imbalance": "imbalance ratio r",
    "distance": "distance D",
    "modality_ratio": "modality ratio",
}


def imbalance(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw imbalance over simulated seconds: a panel for the accuracy gap, one for each measure and modality reported.

    The gap is the best modality's accuracy alone less the worst one's; 0 is balance.

    Raises:
        DoesNotApplyError: without accuracies, or for mixed scenarios.
    """
    need_one_scenario(records)
    need_accuracy(records)
    looks, style = line_looks(records), choices.style
    panels = [(metric, modality) for metric in _MEASURED for modality in _reported(records, metric)]
    figure, axes = panel_grid(style, 1 + len(panels))
    last = _draw_gap(axes[0], records, looks)
    for axis, (metric, modality) in zip(axes[1:], panels, strict=True):
        _draw_measure(axis, records, looks, metric, modality)
    for axis in axes:
        axis.set_xlabel("simulated time (s)")
        axis.set_xlim(left=0)
    legend_below(figure, axes[0], style)
    spread = seeds.count([sum(r.label == label for r in converged(records)) for label in last])
    put_title(figure, f"{title_of(records)}: imbalance between modalities ({spread})", style)
    ends = ", ".join(f"{label} {gap:.2f}" for label, gap in last.items())
    measures = ", ".join(dict.fromkeys(_MEASURED[metric] for metric, _ in panels))
    return Drawing(
        figure,
        f"Imbalance over simulated time, {spread}. First panel: accuracy of the best modality alone less that of the "
        f"worst; at the end {ends}."
        + (f" Further panels: {measures}, by modality." if panels else "")
        + bars_note(len(looks), spread),
    )


def _reported(records: Sequence[RunRecord], metric: str) -> list[str]:
    """Return the modalities for which some run reports a measure."""
    found = [record.metrics.loc[record.metrics["metric"] == metric, "modality"] for record in records]
    return [str(modality) for modality in pd.concat(found).unique()]


def _draw_gap(axis: Axes, records: Sequence[RunRecord], looks: Looks) -> dict[str, float]:
    """Draw the gap of every method; returns its last values."""
    bands = {}
    for label in looks:
        alone = [accuracy_curves(r).drop(columns="fused") for r in converged(records) if r.label == label]
        bands[label] = seeds.band([curves.max(axis=1) - curves.min(axis=1) for curves in alone], seeds.SHARE)
    draw_bands(axis, bands, looks)
    axis.set_title("accuracy gap")
    axis.set_ylabel("best less worst accuracy alone")
    axis.set_ylim(0, 1)
    return {label: float(band["mean"].iloc[-1]) for label, band in bands.items() if len(band)}


def _draw_measure(axis: Axes, records: Sequence[RunRecord], looks: Looks, metric: str, modality: str) -> None:
    """Draw a measure of one modality, for the methods that report it."""
    bands = {}
    for label in looks:
        tables = [r.metrics for r in converged(records) if r.label == label]
        rows = [table[(table["metric"] == metric) & (table["modality"] == modality)] for table in tables]
        curves = [row.set_index("time_s")["value"] for row in rows if len(row)]
        if curves:
            bands[label] = seeds.band(curves, seeds.NOT_NEGATIVE)
    draw_bands(axis, bands, looks)
    axis.set_title(_MEASURED[metric] + ("" if modality == "fused" else f", {modality}"))
    axis.set_ylim(bottom=0)
