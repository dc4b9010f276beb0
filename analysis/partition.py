"""The partition of the data: number of samples and classes of each client."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from interlude.analysis.choices import Choices, DoesNotApplyError, Drawing, labels_of
from interlude.analysis.runs import need_one_scenario, title_of
from interlude.analysis.style import COLOURS, legend_below, put_title
from interlude.simulator.record.reader import RunRecord


def partition(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw quantity skew and label skew: bars of samples per client, and each client's classes in per cent.

    Bars are coloured by the modalities that a client holds. All methods of a scenario share a partition; of several
    seeds the first is shown.

    Raises:
        DoesNotApplyError: for mixed scenarios, or a record without a partition.
    """
    need_one_scenario(records)
    record = records[0]
    if not (record.path / "partition.csv").exists():
        raise DoesNotApplyError(f"{record.path} has no partition.csv; run it again")
    table = record.partition
    counts = table.pivot_table(index="client", columns="label", values="count", aggfunc="sum", fill_value=0)
    held = table.groupby("client")["modalities"].first()
    style = choices.style
    figure = Figure(figsize=(style.width_in(2), style.row_in + 0.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_sizes(left, counts.sum(axis=1), held)
    _draw_classes(figure, right, counts)
    legend_below(figure, left, style)
    seed = f"seed {record.seed}"
    put_title(figure, f"{title_of(records)}: data partition ({seed})", style)
    sizes = counts.sum(axis=1)
    groups = ", ".join(f"{count} with {name}" for name, count in held.value_counts(sort=False).items())
    return Drawing(
        figure,
        f"The data partition of {', '.join(labels_of(records))}, {seed}: {len(sizes)} clients ({groups}) with "
        f"{sizes.min()} to {sizes.max()} samples, median {sizes.median():g}, of {counts.shape[1]} classes. Label skew, "
        f"the mean share of a client's samples that would have to change class to match the whole set: "
        f"{label_skew(counts):.2f} (0: as the whole set).",
    )


def label_skew(counts: pd.DataFrame) -> float:
    """Return the mean over clients of the total variation distance between its classes and those of all clients.

    Args:
        counts: samples, a row per client and a column per label.
    """
    own = counts.div(counts.sum(axis=1), axis=0)
    whole = counts.sum(axis=0) / counts.to_numpy().sum()
    return float((own - whole).abs().sum(axis=1).mean() / 2)


def _draw_sizes(axis: Axes, sizes: "pd.Series[int]", held: "pd.Series[str]") -> None:
    for index, name in enumerate(sorted(held.unique(), key=lambda name: (-name.count("+"), name))):
        own = sizes[held == name]
        label = name.replace("+", ", ")
        axis.bar(own.index, own, width=0.9, color=COLOURS[index % len(COLOURS)], label=label)
    axis.axhline(float(sizes.mean()), color="0.2", linestyle="--", linewidth=1, label="mean")
    axis.set_title("quantity")
    axis.set_xlabel("client")
    axis.set_ylabel("training samples")
    axis.margins(x=0.01)
    axis.grid(visible=False, axis="x")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_classes(figure: Figure, axis: Axes, counts: pd.DataFrame) -> None:
    shares = 100.0 * counts.div(counts.sum(axis=1), axis=0).to_numpy(dtype=np.float64)
    image = axis.imshow(shares.T, aspect="auto", origin="lower", cmap="Blues", vmin=0, interpolation="nearest")
    axis.set_title("classes")
    axis.set_xlabel("client")
    axis.set_ylabel("label")
    axis.grid(visible=False)
    if len(counts.columns) <= 20:
        axis.set_yticks(range(len(counts.columns)), [str(label) for label in counts.columns])
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.colorbar(image, ax=axis, label="% of the client's samples")
