"""Final accuracy over the options in which the runs of a method differ."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interlude.analysis import seeds
from interlude.analysis.choices import Choices, DoesNotApplyError, Drawing, need_accuracy
from interlude.analysis.runs import differing, options_of, some_of, world_of
from interlude.analysis.summary import accuracy_curves
from interlude.simulator.record.reader import RunRecord

_COUNT = "clients.count"


def sensitivity(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw final accuracy over the options that differ: a curve for one option, a heat map for two.

    One panel for each method that has runs with different options; fields of the scenario count as options.

    Raises:
        DoesNotApplyError: if nothing differs, or more than two options of a method do, or without accuracies.
    """
    families = _families(records)
    need_accuracy([record for family, _ in families.values() for record in family])
    style = choices.style
    figure = Figure(figsize=(style.width_in(len(families)), style.row_in + 0.4), layout="constrained")
    axes = figure.subplots(1, len(families), squeeze=False)[0]
    texts = []
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
        texts.append(
            f"{name}: "
            + (_line(axis, finals, paths[0]) if len(paths) == 1 else _map(axis, finals, paths, style.font_points))
        )
    figure.suptitle(
        f"Sensitivity: final accuracy by {' and '.join(dict.fromkeys(p for _, f in families.values() for p in f))}"
    )
    return Drawing(
        figure,
        f"Final fused test accuracy by option, mean over seeds (intervals are in the summary). {'; '.join(texts)}.",
    )


def _families(records: Sequence[RunRecord]) -> dict[str, tuple[list[RunRecord], dict[str, list[Any]]]]:
    """Return, for each method whose runs differ, its records and the values of each field that differs."""
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
            f"{len(found)} options of {name} differ ({some_of(list(found))}); name runs in which at most two do"
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
    """Return numbers in ascending order, then all other values in the order given."""
    numbers = sorted(value for value in values if _is_number(value))
    return [*numbers, *(value for value in values if not _is_number(value))]


def _shown(value: Any) -> str:
    return f"{value:g}" if _is_number(value) else str(value)
