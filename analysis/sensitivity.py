"""Final accuracy over the fields that a sweep varied; a point whose runs diverged has none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from interlude.analysis import seeds
from interlude.analysis.accuracy import final_accuracy
from interlude.analysis.choices import Choices, DoesNotApplyError, Drawing, need_accuracy
from interlude.analysis.comparison import separated_best
from interlude.analysis.fields import differences, differing, is_number, options_of, shown, some_of
from interlude.analysis.labels import shortened
from interlude.analysis.lines import labels_in_order
from interlude.analysis.style import COLOURS, panel_grid, put_title
from interlude.simulator.record.reader import RunRecord

_COUNT = "clients.count"


@dataclass(frozen=True)
class _Family:
    """The runs of a method in which swept fields differ."""

    label: str
    records: Sequence[RunRecord]
    fields: Sequence[str]
    """The swept fields, one or two."""

    def name(self, field: str) -> str:
        """Return a field's name on an axis: without the method that the panel is of."""
        return field.removeprefix(f"methods.{self.label}.")

    def finals(self) -> pd.DataFrame:
        """Return a row per run: the value of each field as text, seed, accuracy, validation_accuracy.

        Accuracies are missing if it diverged, that of validation also where there is no validation part.

        Runs at points that differ in fields of other methods only are equal, and count once.
        """
        finals = pd.DataFrame(
            [
                {
                    **{field: shown(record.origin["swept"][field]) for field in self.fields},
                    "seed": record.seed,
                    "accuracy": final_accuracy(record),
                    "validation_accuracy": final_accuracy(record, "validation_accuracy"),
                }
                for record in self.records
            ]
        )
        return finals.drop_duplicates([*self.fields, "seed"])

    def values(self, field: str) -> list[Any]:
        """Return the values of a field: numbers in ascending order, then all others in the sweep's order."""
        values = [record.origin["swept"][field] for record in self.records]
        numbers = sorted({value for value in values if is_number(value)})
        others = {shown(value): value for value in values if not is_number(value)}
        return [*numbers, *others.values()]


def sensitivity(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw final accuracy over the fields that a sweep varied: a curve for one field, a heat map for two.

    One panel for each method whose runs differ in them. A best point is named only if paired intervals over at least
    three seeds separate it from every other one: by validation accuracies, or where there are none by those on the test
    set, which the caption says.

    Raises:
        DoesNotApplyError: if no sweep varied a field other than the number of clients, if it varied more than two for
            a method or the runs differ in anything else, or without accuracies.
    """
    families = _families(records)
    need_accuracy([record for family in families for record in family.records])
    figure, axes = panel_grid(choices.style, len(families))
    texts = []
    for axis, family in zip(axes, families, strict=True):
        axis.set_title(shortened([family.label])[0])
        draw = _line if len(family.fields) == 1 else _map
        texts.append(f"{family.label}: {draw(axis, family, choices.style.font_points)}")
    names = dict.fromkeys(field for family in families for field in family.fields)
    put_title(figure, f"Sensitivity: final accuracy by {' and '.join(names)}", choices.style)
    return Drawing(figure, f"Final fused test accuracy by swept field, mean over seeds. {'; '.join(texts)}.")


def _families(records: Sequence[RunRecord]) -> list[_Family]:
    """Return the methods whose runs differ in one or two swept fields, in the scenario's order."""
    by_label = {label: [record for record in records if record.label == label] for label in labels_in_order(records)}
    fields = {label: _swept_fields(label, family) for label, family in by_label.items()}
    fields = {label: found for label, found in fields.items() if set(found) - {_COUNT}}
    if not fields:
        raise DoesNotApplyError("no sweep varied an option of a method, or a field of the scenario but clients.count")
    few = {label: found for label, found in fields.items() if len(found) <= 2}
    if not few:
        label, found = next(iter(fields.items()))
        raise DoesNotApplyError(
            f"the sweep varied {len(found)} fields of {label} ({some_of(found)}); name runs in which at most two differ"
        )
    for label, found in few.items():
        _need_nothing_else(label, by_label[label], found)
    return [_Family(label, by_label[label], found) for label, found in few.items()]


def _swept_fields(label: str, family: Sequence[RunRecord]) -> list[str]:
    """Return the swept fields in which runs of a method differ, those of other methods left out."""
    found = differing([record.origin["swept"] for record in family])
    others = [f"methods.{other}." for other in family[0].origin["methods"] if other != label]
    common = [field for field in found if all(field in record.origin["swept"] for record in family)]
    return [field for field in common if not field.startswith(tuple(others))]


def _need_nothing_else(label: str, family: Sequence[RunRecord], swept: Sequence[str]) -> None:
    options = [{f"methods.{label}.{path}": v for path, v in options_of(record).items()} for record in family]
    inside = tuple(f"{field}." for field in swept)
    others = [p for p in (*differences(family), *differing(options)) if not f"{p}.".startswith(inside)]
    if others:
        raise DoesNotApplyError(f"runs of {label} differ in {some_of(others)}, too, which no sweep varied")


def _line(axis: Axes, family: _Family, font_points: float) -> str:
    del font_points
    (field,) = family.fields
    values = family.values(field)
    finals = family.finals()
    groups = finals.groupby(field)["accuracy"]
    drawn = seeds.bands(groups.mean(), groups.apply(seeds.half_width), seeds.SHARE).loc[[shown(v) for v in values]]
    is_numeric = all(map(is_number, values))
    where = values if is_numeric else list(range(len(values)))
    around = [drawn["mean"] - drawn["low"], drawn["high"] - drawn["mean"]]
    axis.errorbar(
        where, drawn["mean"], yerr=around, marker="o", linestyle="-" if is_numeric else "", capsize=3, color=COLOURS[0]
    )
    axis.set_xticks(where, shortened(list(drawn.index), 20))
    if not is_numeric:
        axis.set_xlim(-0.5, len(values) - 0.5)
    axis.set_xlabel(family.name(field))
    axis.set_ylabel("final test accuracy")
    axis.set_ylim(0, 1)
    points = ", ".join(f"{family.name(field)} {value}: {_said(mean)}" for value, mean in drawn["mean"].items())
    return f"{points}; {_best(family, finals)}"


def _map(axis: Axes, family: _Family, font_points: float) -> str:
    rows, columns = family.fields
    finals = family.finals()
    groups = finals.groupby([rows, columns])["accuracy"]
    order = [[shown(value) for value in family.values(field)] for field in (rows, columns)]
    means, halves = (
        found.unstack().reindex(index=order[0], columns=order[1])
        for found in (groups.mean(), groups.apply(seeds.half_width))
    )
    low, high = (means - halves).clip(0, 1), (means + halves).clip(0, 1)
    # Colours span the intervals, or all accuracies where there are none: a spread that seeds explain looks like none.
    limits = (0.0, 1.0) if halves.isna().all(axis=None) else (float(np.nanmin(low)), float(np.nanmax(high)))
    image = axis.imshow(means, cmap="cividis", aspect="auto", origin="lower", vmin=limits[0], vmax=limits[1])
    axis.grid(visible=False)
    axis.set_xticks(range(means.shape[1]), shortened(list(means.columns), 20))
    axis.set_yticks(range(means.shape[0]), shortened(list(means.index), 20))
    axis.set_xlabel(family.name(columns))
    axis.set_ylabel(family.name(rows))
    spreads = halves.to_numpy(dtype=float)
    for (row, column), value in np.ndenumerate(means.to_numpy()):
        has_runs = (means.index[row], means.columns[column]) in groups.groups
        nothing = "diverged" if has_runs else "no run"
        text = nothing if np.isnan(value) else _cell(value, float(spreads[row, column]))
        is_dark = not np.isnan(value) and value <= sum(limits) / 2
        ink = "white" if is_dark else "black"
        axis.text(column, row, text, ha="center", va="center", color=ink, fontsize=0.9 * font_points)
    axis.figure.colorbar(image, ax=axis, label="final test accuracy")
    spread = f"{np.nanmin(means):.3f} to {np.nanmax(means):.3f}"
    return f"{family.name(rows)} by {family.name(columns)}, {spread}; {_best(family, finals)}"


def _said(mean: float) -> str:
    return "diverged" if np.isnan(mean) else f"{mean:.3f}"


def _cell(mean: float, half: float) -> str:
    return seeds.interval_text(mean, half, "{:.3f}".format, seeds.SHARE).replace(" ±", "\n±").replace(" (", "\n(")


def _best(family: _Family, finals: pd.DataFrame) -> str:
    """Return the best point in words, if there is one: by validation accuracy, or without it on the test set."""
    kept = finals[finals["accuracy"].notna()]
    chosen_by = "validation_accuracy" if kept["validation_accuracy"].notna().all() else "accuracy"
    set_name = "validation part" if chosen_by == "validation_accuracy" else "test set"
    best = separated_best(kept.pivot_table(index="seed", columns=list(family.fields), values=chosen_by))
    if best is None:
        return f"no point is separated from all others by paired intervals on the {set_name} over at least 3 seeds"
    values: Mapping[str, Any] = dict(zip(family.fields, best if isinstance(best, tuple) else (best,), strict=True))
    said = ", ".join(f"{family.name(field)} {value}" for field, value in values.items())
    return f"best on the {set_name} at {said}, ahead of every other point in a paired 95 % interval"
