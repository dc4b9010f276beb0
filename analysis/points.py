"""All points of a sweep beside each other: one table and one figure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interlude.analysis import seeds
from interlude.analysis.accuracy import targets_of
from interlude.analysis.choices import Choices, DoesNotApplyError, Drawing
from interlude.analysis.fields import short_name, shown
from interlude.analysis.labels import shortened
from interlude.analysis.lines import line_looks
from interlude.analysis.runs import by_scenario, common_name
from interlude.analysis.style import legend_below, put_title
from interlude.analysis.summary import (
    censored_column,
    is_restricted,
    summarise_methods,
    summarise_runs,
    without_diverged,
)
from interlude.analysis.tables import (
    Part,
    TextTable,
    cells_of,
    final_differences,
    looks_of,
    method_text,
    with_differences,
)
from interlude.analysis.tidy import swept_fields
from interlude.simulator.record.reader import RunRecord

_AXES = {
    "final_accuracy": "final test accuracy",
    "restricted_time_s": "simulated time to the target (s)",
    "versions": "versions of the global model",
    "mean_staleness": "mean staleness (versions)",
}
"""What the figure can show, the most telling first; it has room for two."""

_MOST_SAID = 8  # means in a caption


def points_table(records: Sequence[RunRecord], part: Part = "all", baseline: str | None = None) -> TextTable:
    """Return a row per point and method: the values of the swept fields, then means over seeds with 95 % intervals.

    Scenarios that no sweep made are rows by their names. Of a baseline's label, `with_differences` adds those from it.
    """
    groups = by_scenario(records)
    fields = varied_fields(groups)
    runs = {name: summarise_runs(group) for name, group in groups.items()}
    targets = {targets_of(group[0]) for group in groups.values()}
    looks = looks_of(pd.concat(list(runs.values())), targets.pop() if len(targets) == 1 else None, part)
    rows, texts = [], []
    for name, group in groups.items():
        values = [shown(group[0].origin["swept"].get(field)) for field in fields] or [name]
        methods = summarise_methods(runs[name]).to_dict("records")
        rows += [[*values, method_text(row), str(row["seeds"]), *cells_of(row, looks)] for row in methods]
        found = final_differences(runs[name], baseline)
        texts += [found.get(str(row["method"]), "") for row in methods]
    header = [*(fields or ["scenario"]), "method", "seeds", *(heading for heading, _ in looks.values())]
    return with_differences(TextTable(header, rows, header.index("method") + 1), texts, baseline)


def points(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw the result of every method at every point: a row per point, a marker per method, with 95 % intervals.

    Raises:
        DoesNotApplyError: if there is only one point.
    """
    groups = by_scenario(records)
    if len(groups) < 2:
        raise DoesNotApplyError("there is only one point")
    names = point_names(groups)
    runs = pd.concat([summarise_runs(group).assign(point=names[name]) for name, group in groups.items()])
    runs = without_diverged(runs)
    columns = [column for column in _AXES if column in runs and runs[column].notna().any()][:2]
    looks = line_looks(records, has_markers=True)
    style = choices.style
    height_in = 1.2 + len(names) * (0.12 + 0.35 * style.bar_in * len(looks))
    figure = Figure(figsize=(style.width_in(2), max(height_in, style.row_in)), layout="constrained")
    axes = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axis, column in zip(axes, columns, strict=True):
        for index, (label, look) in enumerate(looks.items()):
            offset = 0.7 * ((index + 0.5) / len(looks) - 0.5)
            _draw(axis, runs[runs["method"] == label], column, list(names.values()), offset, {"label": label, **look})
        axis.set_xlabel(_AXES[column])
        axis.set_xlim(left=0, right=1 if column == "final_accuracy" else None)
    axes[0].set_yticks(range(len(names)), shortened(list(names.values())))
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    legend_below(figure, axes[0], style)
    title = common_name([str(group[0].origin["scenario"]) for group in groups.values()]) or "scenarios"
    spread = seeds.count(runs.groupby(["point", "method"]).size().tolist())
    put_title(figure, f"{title}: {len(names)} points ({spread})", style)
    means = runs.groupby(["point", "method"], sort=False)[columns[0]].mean().dropna().reset_index()
    has_times = "restricted_time_s" in columns
    open_ones = " Open: some seed never reached the target and counts with the horizon." if has_times else ""
    return Drawing(
        figure,
        f"Results by point: {' and '.join(_AXES[column] for column in columns)}, {spread}.{open_ones} "
        f"{_AXES[columns[0]].capitalize()}: {_said(means.itertuples(index=False))}.",
    )


def _said(means: Iterable[tuple[str, str, float]]) -> str:
    """Return the means of points and methods for a caption, only the extremes of many."""
    said = [(mean, f"{point}, {label}: {mean:.3g}") for point, label, mean in means]
    texts = [text for _, text in said]
    return "; ".join(texts) if len(said) <= _MOST_SAID else f"from {min(said)[1]} to {max(said)[1]}"


def varied_fields(groups: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    """Return the swept fields that have several values among points."""
    firsts = [group[0] for group in groups.values()]
    return [f for f in swept_fields(firsts) if len({shown(first.origin["swept"].get(f)) for first in firsts}) > 1]


def swept_names(groups: Mapping[str, Sequence[RunRecord]]) -> dict[str, str]:
    """Return each point's values of the swept fields as its name; empty where they do not tell the points apart."""
    fields = varied_fields(groups)
    names = {
        name: ", ".join(f"{short_name(f, fields)} {shown(group[0].origin['swept'].get(f))}" for f in fields)
        for name, group in groups.items()
    }
    return names if fields and len(set(names.values())) == len(groups) else {}


def point_names(groups: Mapping[str, Sequence[RunRecord]]) -> dict[str, str]:
    """Return a short name for each point: its values of the swept fields, or what its scenario's name adds."""
    if swept := swept_names(groups):
        return swept
    shared = common_name(list(groups))
    return {name: name.removeprefix(shared).lstrip("-_. ") or name for name in groups}


def _draw(
    axis: Axes, runs: pd.DataFrame, column: str, names: Sequence[str], offset: float, look: Mapping[str, Any]
) -> None:
    """Draw a marker per point; it is open where a run never reached the target, as its time counts as the horizon."""
    known = runs[runs[column].notna()].astype({column: float})
    times = known[censored_column(column)] if is_restricted(column) else known[column]
    is_censored = times.astype(float) == np.inf
    grouped = known[column].groupby(known["point"])
    drawn = seeds.bands(grouped.mean(), grouped.apply(seeds.half_width), seeds.limits_of(column))
    drawn["where"] = [names.index(str(point)) + offset for point in drawn.index]
    is_bound = is_censored.groupby(known["point"]).any()
    around = [drawn["mean"] - drawn["low"], drawn["high"] - drawn["mean"]]
    axis.errorbar(drawn["mean"], drawn["where"], xerr=around, capsize=2, elinewidth=1, **{**look, "linestyle": ""})
    bounds = drawn[is_bound]
    is_open = {"linestyle": "", "label": None, "markerfacecolor": "white", "zorder": 3}
    axis.plot(bounds["mean"], bounds["where"], **{**look, **is_open})
