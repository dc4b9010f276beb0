"""The style of figures: colour-blind-safe colours (Okabe and Ito), readable sizes, for screens and for papers.

The paper style is sized for two-column pages: a figure is one column (3.5 inches) or the page (7.16 inches) wide, so
that its letters keep their size in print.
"""

from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7A7A7A")
LINES = ("-", (0, (5, 1.5)), (0, (7, 1.5, 1.5, 1.5)), (0, (2, 1)), (0, (8, 2, 1, 2, 1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCH = "////"

_COMMON: dict[str, Any] = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "interlude",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "hatch.linewidth": 0.6,
}


@dataclass(frozen=True)
class Style:
    """Sizes of a figure; lengths in inches."""

    rc: Any  # parameters of matplotlib by name
    one_in: float
    """Width of a figure of one panel."""
    two_in: float
    """Width of a figure of two panels side by side."""
    three_in: float
    """Width of a figure of three panels or more side by side."""
    row_in: float
    """Height of a row of panels."""
    bar_in: float
    """Height of a horizontal bar with its label."""

    @property
    def font_points(self) -> float:
        """Size of ordinary text."""
        return float(self.rc["font.size"])

    def width_in(self, num_panels: int) -> float:
        """Return the width of a figure with a number of panels side by side."""
        return (self.one_in, self.two_in, self.three_in)[min(num_panels, 3) - 1]


SCREEN = Style(
    rc={**_COMMON, "font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10, "legend.fontsize": 9},
    one_in=7.0,
    two_in=9.6,
    three_in=12.6,
    row_in=3.6,
    bar_in=0.36,
)
PAPER = Style(
    rc={
        **_COMMON,
        "font.size": 7,
        "axes.titlesize": 8,
        "axes.labelsize": 7.5,
        "legend.fontsize": 7,
        "xtick.labelsize": 6.5,
        "ytick.labelsize": 6.5,
        "figure.titlesize": 8,
        "axes.linewidth": 0.6,
        "lines.linewidth": 1.1,
        "lines.markersize": 3.5,
        "hatch.linewidth": 0.4,
    },
    one_in=3.5,
    two_in=7.16,
    three_in=7.16,
    row_in=2.0,
    bar_in=0.24,
)
STYLES: dict[str, Style] = {"screen": SCREEN, "paper": PAPER}


def look_of(index: int) -> dict[str, Any]:
    """Return colour and line style of the `index`-th curve; neighbours differ in both."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": LINES[index % len(LINES)]}


def legend_below(figure: Figure, axes: Axes, style: Style) -> None:
    """Put one legend for all panels below them, in as many columns as fit, so that it hides no curve."""
    handles, names = axes.get_legend_handles_labels()
    if not names:
        return
    entry_in = (3.5 + 0.52 * max(map(len, names))) * style.font_points / 72
    columns = max(1, min(len(names), int(figure.get_figwidth() / entry_in)))
    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)


def bar_figure(style: Style, num_bars: int, extra_in: float = 1.1) -> tuple[Figure, Axes]:
    """Return a figure of one panel that is as high as its horizontal bars need."""
    figure = Figure(figsize=(style.one_in, extra_in + style.bar_in * num_bars), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=False, axis="y")
    return figure, axes
