"""What changes from scenario to scenario or from option to option: scalability and sensitivity."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import seeds
from analysis.choices import Choices, DoesNotApplyError, Drawing, need_accuracy
from analysis.runs import differing, options_of, world_of
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
        raise DoesNotApplyError(f"all runs have {count} clients; it needs runs that differ in clients.count")
    if others:
        path, values = next(iter(others.items()))
        raise DoesNotApplyError(f"the scenarios differ in more than clients.count: {path} is {_listed(values)}")
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


def sensitivity(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw final accuracy over the options that differ: a curve for one option, a heat map for two.

    A panel per method of which there are runs with different options. Fields of the scenario count as options, too.

    Raises:
        DoesNotApplyError: if nothing differs, or more than two options of a method do, or without accuracies.
    """
    families = _families(records)
    need_accuracy([record for family, _ in families.values() for record in family])
    style = choices.style
    figure = Figure(figsize=(style.width_in(len(families)), style.row_in + 0.4), layout="constrained")
    axes = figure.subplots(1, len(families), squeeze=False)[0]
    said = []
    for axis, (name, (family, fields)) in zip(axes, families.items(), strict=True):
        paths = list(fields)
        finals = pd.DataFrame(
            [
                {
                    **{path: _value(_flat(record).get(path)) for path in paths},
                    "accuracy": accuracy_curves(record)["fused"].iloc[-1],
                }
                for record in family
            ]
        )
        axis.set_title(name)
        said.append(
            f"{name}: "
            + (_line(axis, finals, paths[0]) if len(paths) == 1 else _map(axis, finals, paths, style.font_points))
        )
    figure.suptitle(
        f"Sensitivity: final accuracy by {' and '.join(dict.fromkeys(p for _, f in families.values() for p in f))}"
    )
    return Drawing(figure, f"Final fused test accuracy by option, mean over seeds. {'; '.join(said)}.")


def _families(records: Sequence[RunRecord]) -> dict[str, tuple[list[RunRecord], dict[str, list[Any]]]]:
    """Return, for each method that runs in different ways, its records and what differs between them."""
    by_method: dict[str, list[RunRecord]] = {}
    for record in records:
        by_method.setdefault(str(record.scenario["methods"][0]["name"]), []).append(record)
    fields = {name: differing([_flat(record) for record in family]) for name, family in by_method.items()}
    fields = {name: found for name, found in fields.items() if found.keys() - {_COUNT}}
    if not fields:
        raise DoesNotApplyError(
            "no option of a method, and no field of its scenario but clients.count, differs between its runs"
        )
    few = {name: found for name, found in fields.items() if len(found) <= 2}
    if not few:
        name, found = next(iter(fields.items()))
        raise DoesNotApplyError(
            f"{len(found)} options of {name} differ ({_listed(list(found))}); name runs in which at most two do"
        )
    return {name: (by_method[name], found) for name, found in few.items()}


def _flat(record: RunRecord) -> dict[str, Any]:
    return {**world_of(record), **options_of(record)}


def _line(axis: Axes, finals: pd.DataFrame, path: str) -> str:
    groups = finals.groupby(path, dropna=False, sort=False)["accuracy"]
    means, halves = groups.mean(), groups.apply(seeds.drawn_half_width)
    means = means.loc[_in_order(means.index)]
    halves = halves.loc[means.index]
    is_numeric = all(map(_is_number, means.index))
    where = list(means.index) if is_numeric else list(range(len(means)))
    axis.errorbar(
        where, means, yerr=halves, marker="o", linestyle="-" if is_numeric else "", capsize=3, color="#0072B2"
    )
    axis.set_xticks(where, [_shown(value) for value in means.index])
    if not is_numeric:
        axis.set_xlim(-0.5, len(means) - 0.5)
    axis.set_xlabel(path)
    axis.set_ylabel("final test accuracy")
    axis.set_ylim(0, 1)
    return ", ".join(f"{path} {_shown(value)}: {mean:.3f}" for value, mean in means.items())


def _map(axis: Axes, finals: pd.DataFrame, paths: Sequence[str], font_points: float) -> str:
    rows, columns = paths
    shown = finals.assign(**{path: finals[path].map(_shown) for path in paths})
    table = shown.groupby([rows, columns])["accuracy"].mean().unstack()
    table = table.loc[
        [_shown(v) for v in _in_order(finals[rows].unique())], [_shown(v) for v in _in_order(finals[columns].unique())]
    ]
    image = axis.imshow(table, cmap="cividis", aspect="auto", origin="lower")
    axis.grid(visible=False)
    axis.set_xticks(range(table.shape[1]), list(table.columns))
    axis.set_yticks(range(table.shape[0]), list(table.index))
    axis.set_xlabel(columns)
    axis.set_ylabel(rows)
    middle = (np.nanmin(table) + np.nanmax(table)) / 2
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        text = "no run" if np.isnan(value) else f"{value:.3f}"
        dark = not np.isnan(value) and value <= middle
        axis.text(column, row, text, ha="center", va="center", color="white" if dark else "black", fontsize=font_points)
    axis.figure.colorbar(image, ax=axis, label="final test accuracy")
    row, column = map(int, np.unravel_index(np.nanargmax(table), table.shape))
    best = f"best at {rows} {table.index[row]}, {columns} {table.columns[column]}"
    return f"{rows} by {columns}, {np.nanmin(table):.3f} to {np.nanmax(table):.3f}, {best}"


def _value(value: Any) -> Any:
    return "unset" if value is None else value


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _in_order(values: Any) -> list[Any]:
    """Return numbers in their order and everything else after them as it came."""
    numbers = sorted(value for value in values if _is_number(value))
    return [*numbers, *(value for value in values if not _is_number(value))]


def _shown(value: Any) -> str:
    return f"{value:g}" if _is_number(value) else str(value)


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values[:4])) + (", ..." if len(values) > 4 else "")


def _range(counts: Sequence[float]) -> str:
    return f"{counts[0]:g} to {counts[-1]:g}"
