"""Accuracy over simulated time, over versions and over bytes: fused, and each modality alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interlude.analysis import seeds
from interlude.analysis.accuracy import accuracy_curves, final_accuracy, primary_target
from interlude.analysis.bands import bars_note, draw_bands
from interlude.analysis.choices import Choices, DoesNotApplyError, Drawing, need_accuracy, need_timeline
from interlude.analysis.divergence import converged
from interlude.analysis.lines import line_looks
from interlude.analysis.recorded import num_bytes, num_recorded, seen
from interlude.analysis.runs import need_one_scenario, title_of
from interlude.analysis.style import legend_below, panel_grid, put_title
from interlude.analysis.summary import TRANSFER, energy_curve
from interlude.simulator.record.reader import RunRecord

_WIDE = 15  # beyond this ratio of the longest to the shortest curve a linear axis would hide the short one

Positions = Callable[[RunRecord], "pd.Series[float]"]
"""Position of each evaluation of a run on the horizontal axis, by its simulated time."""


def accuracy_vs_time(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw accuracy over simulated seconds; raises DoesNotApplyError without accuracies or for mixed scenarios."""
    return _accuracy(records, choices, _time_s, "simulated time (s)", "simulated time", is_log=choices.log_time)


def accuracy_vs_version(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw accuracy over versions of the global model, which are rounds where there is a barrier."""
    return _accuracy(records, choices, _version, "version of the global model (merges)", "versions")


def accuracy_vs_bytes(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw accuracy over the payload of all clients, up and down, in MB; DoesNotApplyError without a timeline."""
    need_timeline(records)
    drawing = _accuracy(records, choices, _megabytes, "payload up and down, all clients (MB)", "bytes")
    return replace(drawing, caption=drawing.caption + seen(records))


def accuracy_vs_energy(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw accuracy over the energy of all clients, in kJ; DoesNotApplyError if the world has no energy section."""
    for record in records:
        if energy_curve(record).empty:
            raise DoesNotApplyError("the scenario has no world.energy, so that its runs count no energy")
    return _accuracy(records, choices, _kilojoules, "energy, all clients (kJ)", "energy")


def _accuracy(
    records: Sequence[RunRecord],
    choices: Choices,
    positions: Positions,
    axis_label: str,
    over: str,
    *,
    is_log: bool = False,
) -> Drawing:
    need_one_scenario(records)
    need_accuracy(records)
    kept = converged(records)
    curves = {record.path: accuracy_curves(record) for record in kept}
    where = {record.path: positions(record) for record in kept}
    panels = [str(panel) for panel in curves[kept[0].path]]
    looks, style = line_looks(records), choices.style
    if style.num_columns(len(panels)) < len(panels):
        figure, axes = panel_grid(style, len(panels))
    else:
        figure = Figure(figsize=(style.width_in(len(panels)), style.row_in + 0.6), layout="constrained")
        axes = list(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0])
    final: dict[str, float] = {}
    for axis, panel in zip(axes, panels, strict=True):
        bands: dict[str, pd.DataFrame] = {}
        for label in looks:
            runs = [record for record in kept if record.label == label]
            series = [pd.Series(curves[run.path][panel].to_numpy(), where[run.path].to_numpy()) for run in runs]
            bands[label] = seeds.band(series, seeds.SHARE)
            if panel == panels[0] and runs:
                final[label] = float(np.mean([final_accuracy(run) for run in runs]))
        draw_bands(axis, bands, looks)
        axis.set_title("all modalities" if panel == "fused" else f"{panel} alone")
        axis.set_xlabel(axis_label)
        axis.set_ylim(0, 1)
        _scale(axis, list(where.values()), is_log=is_log)
    _mark_target(axes[0], records, choices)
    axes[0].set_ylabel("test accuracy")
    legend_below(figure, axes[0], style)
    spread = seeds.count([sum(r.label == label for r in kept) for label in final])
    put_title(figure, f"{title_of(records)}: accuracy over {over} ({spread})", style)
    ends = ", ".join(f"{label} {value:.3f}" for label, value in final.items())
    alone = ", ".join(panel for panel in panels if panel != "fused")
    return Drawing(
        figure,
        f"Test accuracy over {over}, {spread}; panels: all modalities, then {alone} alone. Fused, mean over the last "
        f"tenth of the evaluations: {ends}." + bars_note(len(looks), spread),
    )


def _scale(axis: Axes, positions: "Sequence[pd.Series[float]]", *, is_log: bool) -> None:
    """End the axis with the curves; make it logarithmic, from a linear start, where their lengths differ much.

    Args:
        axis: the panel.
        positions: of the evaluations of each run.
        is_log: logarithmic without a linear start: from the first position after 0 on.
    """
    ends = [float(series.iloc[-1]) for series in positions]
    if is_log and max(ends) > 0:
        axis.set_xscale("log")
        axis.set_xlim(min(float(series[series > 0].min()) for series in positions if (series > 0).any()), max(ends))
        axis.xaxis.set_major_formatter("{x:g}")
        return
    if max(ends) > _WIDE * min(ends):
        steps = [float(series[series > 0].min()) for series in positions if (series > 0).any()]
        linear = max(min(steps), max(ends) / 1e4)
        axis.set_xscale("symlog", linthresh=10.0 ** np.ceil(np.log10(linear)))
        axis.xaxis.set_major_formatter("{x:g}")
    lines = [line for line in axis.get_lines() if len(line.get_xdata())]  # type: ignore[arg-type]
    end = max(float(line.get_xdata()[-1]) for line in lines)  # type: ignore[index, arg-type] # an array: ArrayLike to its stubs
    axis.set_xlim(0, end if end > 0 else 1)


def _mark_target(axis: Axes, records: Sequence[RunRecord], choices: Choices) -> None:
    target = choices.target or primary_target(records[0])
    if target is not None:
        axis.axhline(target, color="0.4", linewidth=1, linestyle=(0, (1, 2)))
        axis.annotate(
            "target",
            (1.0, target),
            (2, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize="small",
            rotation=270,
        )


def _time_s(record: RunRecord) -> "pd.Series[float]":
    times_s = accuracy_curves(record).index
    return pd.Series(times_s, times_s, dtype=float)


def _version(record: RunRecord) -> "pd.Series[float]":
    return record.metrics.groupby("time_s")["version"].first().astype(float)


def _megabytes(record: RunRecord) -> "pd.Series[float]":
    """Return the megabytes of all clients until each evaluation; from those that were recorded, where not all were."""
    timeline = record.timeline
    moved = timeline[timeline["activity"].isin(TRANSFER)].sort_values("end_s")
    total = np.append(0.0, moved["bytes"].to_numpy(dtype=float).cumsum() / 1e6)
    if num_recorded(record) is not None and total[-1] > 0:
        total *= float(num_bytes(record).reindex(TRANSFER).sum()) / 1e6 / total[-1]
    times_s = accuracy_curves(record).index
    return pd.Series(total[np.searchsorted(moved["end_s"], times_s, side="right")], times_s)


def _kilojoules(record: RunRecord) -> "pd.Series[float]":
    return energy_curve(record).reindex(accuracy_curves(record).index) / 1e3
