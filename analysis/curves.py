"""Accuracy over simulated time: fused, and each modality alone."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from analysis.style import RC, look_of
from simulator.record import RunRecord

_FORMATS = ("png", "svg")


def plot_accuracy_vs_time(records: Sequence[RunRecord], directory: Path) -> list[Path]:
    """Draw accuracy_vs_time.png and .svg.

    One panel for the fused accuracy and one for each modality alone; a line per method, the mean over its seeds.

    Args:
        records: runs with accuracies.
        directory: where the files go.

    Returns:
        The files.
    """
    accuracy = pd.concat([_accuracy_of(record) for record in records], ignore_index=True)
    labels = list(dict.fromkeys(record.label for record in records))
    panels = ["fused", *(m for m in accuracy["modality"].unique() if m != "fused")]
    target = records[0].scenario["evaluate"]["target_accuracy"]
    with mpl.rc_context(rc=RC):
        figure = Figure(figsize=(4.2 * len(panels), 4.0), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, panel in zip(axes, panels, strict=True):
            curves = accuracy[accuracy["modality"] == panel]
            for index, label in enumerate(labels):
                curve = curves[curves["label"] == label].groupby("time_s")["value"].mean()
                axis.plot(curve.index, curve, label=label, linewidth=1.8, **look_of(index))
            axis.set_title("all modalities" if panel == "fused" else f"{panel} alone")
            axis.set_xlabel("simulated time (s)")
            axis.set_xlim(left=0)
            axis.set_ylim(0, 1)
        if target is not None:
            axes[0].axhline(target, color="0.4", linewidth=1, linestyle=(0, (1, 2)))
            axes[0].annotate("target", (1, target), xycoords=("axes fraction", "data"), ha="right", va="bottom")
        axes[0].set_ylabel("test accuracy")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 6), frameon=False)
        figure.suptitle(f"{records[0].scenario['name']}: accuracy over simulated time")
        files = [directory / f"accuracy_vs_time.{suffix}" for suffix in _FORMATS]
        for file in files:
            figure.savefig(file, dpi=150)
    return files


def _accuracy_of(record: RunRecord) -> pd.DataFrame:
    metrics = record.metrics
    return metrics[metrics["metric"] == "accuracy"].assign(label=record.label)
