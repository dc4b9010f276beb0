"""Every figure as a call from Python, with the options of `interlude plot`."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from interlude.analysis.choices import Choices
from interlude.analysis.figures import draw
from interlude.analysis.naming import Naming
from interlude.analysis.widths import style_of
from interlude.simulator.record.reader import RunRecord, in_order


def draw_figure(
    kind: str,
    records: Sequence[RunRecord],
    *,
    methods: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    colors: Mapping[str, str] | None = None,
    width: str | float | None = None,
    style: str = "screen",
    log_time: bool = False,
    baseline: str | None = None,
    target: float | None = None,
    num_clients: int = 8,
    window_s: tuple[float, float] | None = None,
) -> Figure:
    r"""Return a figure of some runs, to be changed or saved: ``draw_figure("gantt", records).savefig("gantt.pdf")``.

    It belongs to no window; a notebook shows it where it is the last value of a cell, after ``%matplotlib inline``.
    Each kind is also a function of its own of records and `interlude.analysis.choices.Choices`, of
    `interlude.analysis.figures.KINDS`, that returns the figure with its caption.

    Args:
        kind: a key of `interlude.analysis.figures.KINDS`, e.g. ``accuracy-vs-time``.
        records: complete or diverged runs, as `interlude.load_records` returns them.
        methods: labels or names of methods; empty: all.
        labels: what to call methods, by label: ``{"mba": r"MBA ($\beta=1$)"}``.
        colors: colours of matplotlib by label.
        width: ``ieee``, ``acm``, ``springer`` or cm; implies the style for papers.
        style: ``screen`` or ``paper``.
        log_time: accuracy over the logarithm of time.
        baseline: label of the method that others are compared with; None: fedavg, or the first one.
        target: fused accuracy in (0, 1] for times to it; None: the scenario's.
        num_clients: in a Gantt chart.
        window_s: simulated seconds that a Gantt chart shows.

    Raises:
        BadInputError: for a kind that is unknown or does not apply, and for any other value that cannot be used.
    """
    shown_as = style_of(style, None if width is None else str(width))
    choices = Choices(baseline, target, num_clients, window_s, shown_as, log_time)
    named, choices = Naming(methods, labels or {}, colors or {}).applied(in_order(records), choices)
    with mpl.rc_context(rc=choices.style.rc):
        (plot,), _ = draw(named, [kind], choices)
    return plot.drawing.figure
