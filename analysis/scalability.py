"""Accuracy and time to accuracy over the number of clients."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import seeds
from analysis.choices import Choices, DoesNotApplyError, Drawing, need_accuracy
from analysis.runs import differing, options_of, some_of, world_of
from analysis.style import MARKERS, legend_below, look_of
from analysis.summary import accuracy_curves, time_to_accuracy_s
from simulator.record import RunRecord

_COUNT = "clients.count"


def scalability(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw final accuracy and time to the target accuracy over the number of clients, a curve per method.

    Raises:
        DoesNotApplyError: if there is only one number of clients, if scenarios differ in more than that, or without
            accuracies.
    """
    fields = differing([world_of(record) for record in records])
    others = {path: values for path, values in fields.items() if path != _COUNT}
    if _COUNT not in fields:
        count = world_of(records[0])[_COUNT]
        raise DoesNotApplyError(f"clients.count is {count} in all runs; it needs runs of different numbers of clients")
    if others:
        path, values = next(iter(others.items()))
        raise DoesNotApplyError(f"the scenarios differ in more than clients.count: {path} is {some_of(values)}")
    need_accuracy(records)
    target = choices.target or records[0].scenario["evaluate"]["target_accuracy"]
    results = _results(records, target)
    style = choices.style
    num_panels = 1 if target is None else 2
    figure = Figure(figsize=(style.width_in(num_panels), style.row_in + 0.6), layout="constrained")
    axes = figure.subplots(1, num_panels, squeeze=False)[0]
    said = []
    for index, (name, runs) in enumerate(results.groupby("name", sort=False)):
        look = {**look_of(index), "marker": MARKERS[index % len(MARKERS)], "label": name}
        means = _curve(axes[0], runs, "accuracy", look)
        said.append(f"{name} " + ", ".join(f"{value:.3f} ({count:g})" for count, value in means.items()))
        if target is not None:
            _curve(axes[1], runs, "time_s", look)
            _open_where_censored(axes[1], runs, look)
    axes[0].set_ylabel("final test accuracy, all modalities")
    axes[0].set_ylim(0, 1)
    if target is not None:
        axes[1].set_ylabel(f"simulated time to accuracy {target:g} (s)")
        axes[1].set_ylim(bottom=0)
    counts = sorted(results["count"].unique())
    for axis in axes:
        axis.set_xscale("log", base=2)
        axis.set_xticks(counts, [f"{count:g}" for count in counts])
        axis.minorticks_off()
        axis.set_xlabel("clients")
    legend_below(figure, axes[0], style)
    spread = seeds.count(results.groupby(["name", "count"], sort=False).size().tolist())
    figure.suptitle(f"Scalability: {_range(counts)} clients ({spread})")
    return Drawing(
        figure,
        f"Final test accuracy{'' if target is None else f' and simulated seconds to accuracy {target:g}'} over the "
        f"number of clients, {spread}; open markers: some seed never reached it, so a lower bound. "
        f"Final accuracy (clients): {'; '.join(said)}.",
    )


def _results(records: Sequence[RunRecord], target: float | None) -> pd.DataFrame:
    """Return a row per run; runs of equal options are one method, whatever their labels in the different scenarios."""
    names: dict[str, str] = {}
    rows = []
    for record in records:
        key = repr(sorted(options_of(record).items(), key=lambda item: item[0]))
        name = names.setdefault(key, record.label if record.label not in names.values() else f"{record.label}'")
        time_s = float("nan") if target is None else time_to_accuracy_s(record, target)
        length_s = float(record.info["totals"]["simulated_s"])
        final = float(accuracy_curves(record)["fused"].iloc[-1])
        rows.append((name, world_of(record)[_COUNT], final, min(time_s, length_s), bool(np.isfinite(time_s))))
    return pd.DataFrame(rows, columns=["name", "count", "accuracy", "time_s", "reached"])


def _curve(axis: Axes, runs: pd.DataFrame, column: str, look: Mapping[str, Any]) -> "pd.Series[float]":
    """Draw means with 95 % intervals by number of clients; returns the means."""
    values = runs.groupby("count")[column]
    means, halves = values.mean(), values.apply(seeds.drawn_half_width)
    axis.plot(means.index, means, **look)
    axis.fill_between(means.index, means - halves, means + halves, color=look["color"], alpha=0.12, lw=0)
    return means


def _open_where_censored(axis: Axes, runs: pd.DataFrame, look: Mapping[str, Any]) -> None:
    by_count = runs.groupby("count")
    censored = by_count["time_s"].mean()[~by_count["reached"].all()]
    axis.plot(
        censored.index,
        censored,
        linestyle="",
        marker=look["marker"],
        color=look["color"],
        markerfacecolor="white",
        zorder=3,
    )


def _range(counts: Sequence[float]) -> str:
    return f"{counts[0]:g} to {counts[-1]:g}"
