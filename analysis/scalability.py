"""Accuracy and time to accuracy over the number of clients, and across other worlds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interlude.analysis import seeds
from interlude.analysis.accuracy import final_accuracy, horizon_s, primary_target, time_to_accuracy_s
from interlude.analysis.bands import bars_note, draw_bands
from interlude.analysis.choices import Choices, DoesNotApplyError, Drawing, need_accuracy
from interlude.analysis.fields import differences, options_of, some_of, world_of
from interlude.analysis.lines import labelled, line_looks
from interlude.analysis.runs import by_scenario, common_name
from interlude.analysis.style import legend_below, put_title
from interlude.simulator.record.reader import RunRecord

_COUNT = "clients.count"


def scalability(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw final accuracy and time to the target accuracy over the number of clients, a curve per method.

    Raises:
        DoesNotApplyError: if there is only one number of clients, if scenarios differ in more than that, or without
            accuracies.
    """
    fields = differences(records)
    others = {path: values for path, values in fields.items() if path != _COUNT}
    if _COUNT not in fields:
        count = world_of(records[0])[_COUNT]
        raise DoesNotApplyError(f"clients.count is {count} in all runs; it needs runs of different numbers of clients")
    if others:
        path, values = next(iter(others.items()))
        raise DoesNotApplyError(f"the scenarios differ in more than clients.count: {path} is {some_of(values)}")
    counts = {record.path: float(world_of(record)[_COUNT]) for record in records}
    ticks = {count: f"{count:g}" for count in sorted(set(counts.values()))}
    title = f"Scalability: {' to '.join((min(ticks.values(), key=float), max(ticks.values(), key=float)))} clients"
    return _draw(records, choices, _Axis("clients", "number of clients", counts, ticks, is_log=True), title)


def across_worlds(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw final accuracy and time to the target accuracy in each of several worlds, a curve per method.

    Worlds are in the order of their runs: by path, then by name.

    Raises:
        DoesNotApplyError: if there is only one world, if they differ in the number of clients (that is scalability) or
            in the data, or without accuracies.
    """
    scenarios = by_scenario(records)
    if len(scenarios) < 2:
        raise DoesNotApplyError("there is only one world")
    fields = differences(records)
    others = [path for path in fields if not path.startswith("world.")]
    if others or not fields:
        what = f"in {others[0]}" if others else "in nothing but options of methods"
        raise DoesNotApplyError(f"the scenarios differ {what}, not only in their worlds")
    names = list(scenarios)
    shared = common_name(names)
    places = {record.path: float(place) for place, name in enumerate(names) for record in scenarios[name]}
    ticks = {float(place): name.removeprefix(shared).lstrip("-_. ") or name for place, name in enumerate(names)}
    title = f"{shared or 'scenarios'}: {len(names)} worlds"
    return _draw(records, choices, _Axis("world", "world", places, ticks, is_log=False), title)


@dataclass(frozen=True)
class _Axis:
    """The horizontal axis of a figure."""

    label: str
    meaning: str
    places: Mapping[Path, float]
    """Position of each run on the axis."""
    ticks: Mapping[float, str]
    is_log: bool


def _draw(records: Sequence[RunRecord], choices: Choices, over: _Axis, title: str) -> Drawing:
    need_accuracy(records)
    records = labelled(records)
    target = choices.target or primary_target(records[0])
    results = _results(records, over.places, target)
    style = choices.style
    num_panels = 1 if target is None else 2
    figure = Figure(figsize=(style.width_in(num_panels), style.row_in + 0.6), layout="constrained")
    axes = figure.subplots(1, num_panels, squeeze=False)[0]
    longest_s = float(results["time_s"].max())
    looks = line_looks(records, has_markers=True)
    by_name = results.groupby("name")
    runs = {name: by_name.get_group(name) for name in looks if name in by_name.groups}  # of equal options one has them
    accuracies = {name: _band(own, "accuracy", limit=1.0) for name, own in runs.items()}
    draw_bands(axes[0], accuracies, looks)
    if target is not None:
        draw_bands(axes[1], {name: _band(own, "time_s", longest_s) for name, own in runs.items()}, looks)
        for name, own in runs.items():
            _open_where_censored(axes[1], own, looks[name])
    texts = []
    for name, band in accuracies.items():
        known = band[band["mean"].notna()]  # the others diverged
        means = zip(known.index.to_list(), known["mean"], strict=True)
        texts.append(f"{name} {', '.join(f'{mean:.3f} ({over.ticks[place]})' for place, mean in means)}")
    axes[0].set_ylabel("final test accuracy, all modalities")
    axes[0].set_ylim(0, 1)
    if target is not None:
        axes[1].set_ylabel(f"simulated time to accuracy {target:g} (s)")
        axes[1].set_ylim(0, 1.05 * longest_s if longest_s > 0 else 1)
        if not results["reached"].all():
            axes[1].set_title("open markers: some run never reached it and counts with the horizon", fontsize="small")
    for axis in axes:
        if over.is_log:
            axis.set_xscale("log", base=2)
        axis.set_xticks(list(over.ticks), list(over.ticks.values()))
        axis.minorticks_off()
        axis.set_xlabel(over.label)
    legend_below(figure, axes[0], style)
    spread = seeds.count(results.groupby(["name", "place"], sort=False).size().tolist())
    put_title(figure, f"{title} ({spread})", style)
    return Drawing(
        figure,
        f"Final test accuracy{'' if target is None else f' and simulated seconds to accuracy {target:g}'} by "
        f"{over.meaning}, {spread}; open markers: some seed never reached it and counts with the horizon, so that the "
        "mean is a lower bound. "
        f"Final accuracy ({over.label}): {'; '.join(texts)}.{bars_note(len(runs), spread, 'the points')}",
    )


def _results(records: Sequence[RunRecord], places: Mapping[Path, float], target: float | None) -> pd.DataFrame:
    """Return a row per run, whose time is the horizon where it is censored.

    Runs of equal options are one method, whatever their labels in the different scenarios.
    """
    names: dict[str, str] = {}
    rows = []
    for record in records:
        name = names.setdefault(repr(sorted(options_of(record).items())), record.label)
        time_s = float("nan") if target is None else time_to_accuracy_s(record, target)
        reached = bool(np.isfinite(time_s))
        restricted_s = horizon_s(record) if np.isinf(time_s) else time_s
        rows.append((name, places[record.path], record.seed, final_accuracy(record), restricted_s, reached))
    results = pd.DataFrame(rows, columns=["name", "place", "seed", "accuracy", "time_s", "reached"])
    return results.drop_duplicates(["name", "place", "seed"])  # equal runs, at points that differ for other methods


def _band(runs: pd.DataFrame, column: str, limit: float) -> pd.DataFrame:
    """Return means by place, with 95 % intervals clipped to possible values."""
    values = runs.groupby("place")[column]
    return seeds.bands(values.mean(), values.apply(seeds.half_width), (0.0, limit))


def _open_where_censored(axis: Axes, runs: pd.DataFrame, look: Mapping[str, Any]) -> None:
    by_count = runs.groupby("place")
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
