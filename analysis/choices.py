"""The options of figures, a figure with its caption, and the error for a figure that does not apply."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from interlude.analysis.accuracy import primary_target
from interlude.analysis.divergence import converged
from interlude.analysis.lines import labels_in_order
from interlude.analysis.recorded import device_s, num_recorded
from interlude.analysis.style import SCREEN, Style
from interlude.simulator.errors import BadInputError
from interlude.simulator.record.reader import RunRecord


class DoesNotApplyError(BadInputError):
    """A kind of figure that cannot be drawn from the records given."""


@dataclass(frozen=True)
class Choices:
    """The options of figures, the same for all kinds."""

    baseline: str | None = None
    """Label of the method that others are compared with; None for `fedavg`, or the first one if there is none."""
    target: float | None = None
    """Fused accuracy in (0, 1] for times to accuracy; None for the first of the scenario's own."""
    num_clients: int = 8
    """Clients in a Gantt chart."""
    window_s: tuple[float, float] | None = None
    """Simulated seconds that a Gantt chart shows; None for about three local rounds."""
    style: Style = SCREEN
    log_time: bool = False
    """Whether the axis of accuracy over simulated time is logarithmic, from the first evaluation after 0 on."""


@dataclass(frozen=True)
class Drawing:
    """A figure and its caption."""

    figure: Figure
    caption: str
    """Describes the figure, numbers included, also for readers who cannot see it."""


def baseline_of(records: Sequence[RunRecord], choices: Choices) -> str:
    """Return the label that others are compared with; of a method at several points of a sweep, the first point's.

    Raises:
        DoesNotApplyError: if no run has the label asked for.
    """
    labels = labels_of(records)
    if choices.baseline is None:
        return "fedavg" if "fedavg" in labels else labels[0]
    at_a_point = (label for label in labels if label.startswith(f"{choices.baseline}, "))
    if choices.baseline not in labels:
        if first := next(at_a_point, None):
            return first
        raise DoesNotApplyError(f"no run has the baseline's label '{choices.baseline}'; labels are {', '.join(labels)}")
    return choices.baseline


def target_of(records: Sequence[RunRecord], choices: Choices) -> float:
    """Return the target accuracy.

    Raises:
        DoesNotApplyError: if neither the choices nor the scenario name one.
    """
    target = choices.target
    if target is None:
        target = primary_target(records[0])
    if target is None:
        raise DoesNotApplyError("the scenario names no evaluate.target_accuracy; pass --target")
    return float(target)


def labels_of(records: Sequence[RunRecord]) -> list[str]:
    """Return the labels, in the scenario's order of methods."""
    return labels_in_order(records)


def need_accuracy(records: Sequence[RunRecord]) -> None:
    """Check that every run has accuracies, those that diverged left out.

    Raises:
        DoesNotApplyError: if a run has none, or all runs diverged.
    """
    kept = converged(records)
    if records and not kept:
        raise DoesNotApplyError("every run diverged, so that there are no accuracies")
    for record in kept:
        if not (record.metrics["metric"] == "accuracy").any():
            raise DoesNotApplyError("a timing-only run has no accuracies")


def need_time(records: Sequence[RunRecord]) -> None:
    """Check that time passes in a run.

    Raises:
        DoesNotApplyError: if all of them end as they begin.
    """
    if all(device_s(record).empty for record in records):
        raise DoesNotApplyError("no time passes in the runs: no client is ever on")


def need_timeline(records: Sequence[RunRecord]) -> None:
    """Check that every record holds the timeline of some clients.

    Raises:
        DoesNotApplyError: if one does not.
    """
    if any(num_recorded(record) == 0 for record in records):
        raise DoesNotApplyError("the records hold no client's timeline: record.clients is 0")
