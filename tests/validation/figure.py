"""The figure: moments of merges, predicted over real, one column per method."""

from collections.abc import Mapping
from pathlib import Path

from compare import Outcome, merge_times_s
from matplotlib.figure import Figure

from interlude.analysis.style import COLOURS


def draw(outcomes: Mapping[str, tuple[Outcome, Outcome]], path: Path) -> None:
    """Draw the moment of the n-th merge, predicted over real, and below it the relative error.

    Args:
        outcomes: by method, the simulated run's and the real one's.
        path: the PNG.
    """
    figure = Figure(figsize=(2.4 * len(outcomes) + 0.4, 4.2), layout="constrained", dpi=110)
    axes = figure.subplots(2, len(outcomes), squeeze=False, height_ratios=(2, 1), sharex=True, sharey="row")
    for column, (method, (predicted, real)) in enumerate(outcomes.items()):
        ours, theirs = merge_times_s(predicted.timeline), merge_times_s(real.timeline)
        reached = min(len(ours), len(theirs))
        ours, theirs = ours[:reached], theirs[:reached]
        above, below = axes[0, column], axes[1, column]
        above.plot([0, theirs.max()], [0, theirs.max()], color="0.6", linewidth=0.8)
        above.plot(theirs, ours, ".", markersize=3, color=COLOURS[column])
        above.set_title(f"{method}, {reached} merges", fontsize=9)
        below.axhline(0.0, color="0.6", linewidth=0.8)
        below.plot(theirs, 100.0 * (ours / theirs - 1.0), ".", markersize=3, color=COLOURS[column])
        below.set_xlabel("real time of the n-th merge (s)", fontsize=8)
    axes[0, 0].set_ylabel("predicted (s)", fontsize=8)
    axes[1, 0].set_ylabel("error (%)", fontsize=8)
    for axis in axes.flat:
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    figure.savefig(path)
