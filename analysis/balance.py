"""Imbalance between modalities over time: the gap between their accuracies, and measures that methods report."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interlude.analysis import seeds
from interlude.analysis.choices import Choices, Drawing, labels_of, need_accuracy
from interlude.analysis.runs import need_one_scenario
from interlude.analysis.style import COLOURS, LINES, legend_below, look_of
from interlude.analysis.summary import accuracy_curves
from interlude.simulator.record.reader import RunRecord

_MEASURED = {
    "imbalance": "imbalance ratio r",
    "anchor_distance": "anchor distance D",
    "modality_ratio": "modality ratio",
}


def imbalance(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw imbalance over simulated seconds: a panel for the accuracy gap, one for each measure reported by methods.

    The gap is the best modality's accuracy alone less the worst one's; 0 is balance.

    Raises:
        DoesNotApplyError: without accuracies, or for mixed scenarios.
    """
    need_one_scenario(records)
    need_accuracy(records)
    labels = labels_of(records)
    reported = pd.concat([record.metrics["metric"] for record in records]).unique()
    measures = [metric for metric in _MEASURED if metric in reported]
    style = choices.style
    figure = Figure(figsize=(style.width_in(1 + len(measures)), style.row_in + 0.8), layout="constrained")
    axes = figure.subplots(1, 1 + len(measures), sharex=True, squeeze=False)[0]
    last = _draw_gap(axes[0], records, labels)
    for axis, metric in zip(axes[1:], measures, strict=True):
        _draw_measure(axis, records, labels, metric)
    for axis in axes:
        axis.set_xlabel("simulated time (s)")
        axis.set_xlim(left=0)
    legend_below(figure, axes[0], style)
    spread = seeds.count([sum(r.label == label for r in records) for label in labels])
    figure.suptitle(f"{records[0].scenario['name']}: imbalance between modalities ({spread})")
    ends = ", ".join(f"{label} {gap:.2f}" for label, gap in last.items())
    return Drawing(
        figure,
        f"Imbalance over simulated time, {spread}. First panel: accuracy of the best modality alone less that of the "
        f"worst; at the end {ends}."
        + (f" Further panels: {', '.join(_MEASURED[metric] for metric in measures)}, by modality." if measures else ""),
    )


def _draw_gap(axis: Axes, records: Sequence[RunRecord], labels: Sequence[str]) -> dict[str, float]:
    """Draw the gap of every method; returns its last values."""
    last = {}
    for index, label in enumerate(labels):
        alone = [accuracy_curves(r).drop(columns="fused") for r in records if r.label == label]
        band = seeds.band([curves.max(axis=1) - curves.min(axis=1) for curves in alone])
        look = look_of(index)
        axis.plot(band.index, band["mean"], label=label, **look)
        axis.fill_between(
            band.index, band["low"].clip(lower=0), band["high"].clip(upper=1), color=look["color"], alpha=0.15, lw=0
        )
        last[label] = float(band["mean"].iloc[-1])
    axis.set_title("accuracy gap")
    axis.set_ylabel("best less worst accuracy alone")
    axis.set_ylim(0, 1)
    return last


def _draw_measure(axis: Axes, records: Sequence[RunRecord], labels: Sequence[str], metric: str) -> None:
    """Draw a measure: a colour for each method, a line style for each modality."""
    modalities: list[str] = []
    for index, label in enumerate(labels):
        tables = [r.metrics[r.metrics["metric"] == metric] for r in records if r.label == label]
        for modality in pd.concat(tables)["modality"].unique():
            if modality not in modalities:
                modalities.append(modality)
            curves = [table[table["modality"] == modality].set_index("time_s")["value"] for table in tables]
            curves = [curve for curve in curves if len(curve)]
            band = seeds.band(curves)
            line = LINES[modalities.index(modality) % len(LINES)]
            axis.plot(band.index, band["mean"], color=COLOURS[index % len(COLOURS)], linestyle=line)
            axis.fill_between(
                band.index,
                band["low"].clip(lower=0),
                band["high"],
                color=COLOURS[index % len(COLOURS)],
                alpha=0.12,
                lw=0,
            )
    named = [m for m in modalities if m != "fused"]
    for modality in named:
        axis.plot([], [], color="0.2", linestyle=LINES[modalities.index(modality) % len(LINES)], label=modality)
    if named:
        axis.legend(frameon=False, loc="best")
    axis.set_title(_MEASURED[metric])
    axis.set_ylim(bottom=0)
