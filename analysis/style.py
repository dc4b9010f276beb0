"""The style of figures: colour-blind-safe colours (Okabe and Ito), readable sizes, for screens and for papers.

The paper style is sized for two-column pages: a figure is one column (3.5 inches) or the page (7.16 inches) wide, so
that its letters keep their size in print.
"""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from interlude.analysis.labels import shortened

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7A7A7A")
LINES = ("-", (0, (5, 1.5)), (0, (7, 1.5, 1.5, 1.5)), (0, (2, 1)), (0, (8, 2, 1, 2, 1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCH = "////"
_SHADES = ((0.0, 0.0), (0.45, 1.0), (0.4, 0.0))
_PANEL = 0.2  # inches of a panel's least width for each point of its title
_LETTER = 0.52  # width of a letter by its size

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

    @property
    def title_points(self) -> float:
        """Size of the text over all panels."""
        return float(self.rc.get("figure.titlesize", 1.2 * self.font_points))

    def width_in(self, num_panels: int) -> float:
        """Return the width of a figure with a number of panels side by side."""
        return (self.one_in, self.two_in, self.three_in)[min(num_panels, 3) - 1]

    def num_columns(self, num_panels: int) -> int:
        """Return how many of some panels stand side by side without touching each other's titles."""
        fitting = int(self.width_in(num_panels) / (_PANEL * self.title_points))
        return max(1, min(num_panels, fitting))


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


def look_of(index: int, point: int = 0, *, has_marker: bool = False, colour: str | None = None) -> dict[str, Any]:
    """Return colour, line style and, where those do not suffice, marker of a curve.

    Args:
        index: of the method; 40 differ in colour or line style, further ones by markers.
        point: of the sweep; the method's colour in three shades, with other line styles.
        has_marker: a marker at every point, for curves of few points.
        colour: of the method, if it has one of its own.
    """
    look: dict[str, Any] = {
        "color": _shade(colour or COLOURS[index % len(COLOURS)], _SHADES[point % len(_SHADES)]),
        "linestyle": LINES[(index + point) % len(LINES)],
    }
    turn = index // (len(COLOURS) * len(LINES)) + point // (len(_SHADES) * len(LINES))
    if has_marker:
        return {**look, "marker": MARKERS[(index + point + turn) % len(MARKERS)]}
    return {**look, "marker": MARKERS[(turn - 1) % len(MARKERS)], "markevery": 0.15} if turn else look


def _shade(colour: str, towards: tuple[float, float]) -> str:
    """Return a colour mixed with white (1) or black (0): how much of it, and of which."""
    share, grey = towards
    red, green, blue = ((1 - share) * part + share * grey for part in to_rgb(colour))
    return to_hex((red, green, blue)).upper()


def put_title(figure: Figure, text: str, style: Style) -> None:
    """Put a title over all panels, in as many lines as it needs."""
    letters = int(0.95 * figure.get_figwidth() / (_LETTER * style.title_points / 72))  # titles hold capitals
    lines = textwrap.wrap(text, letters, break_on_hyphens=True)
    figure.suptitle("\n".join(lines))
    _grow(figure, len(lines) - 1, style)


def legend_below(figure: Figure, axes: Axes, style: Style, handles: Sequence[Artist] = ()) -> None:
    """Put one legend for all panels below them, in as many columns as fit; the figure grows with its rows.

    Args:
        figure: the figure.
        axes: the panel whose labelled artists it lists.
        style: the figure's.
        handles: labelled artists to list instead.
    """
    found = list(handles) or axes.get_legend_handles_labels()[0]
    if not found:
        return
    names = shortened([str(handle.get_label()) for handle in found])
    entry_in = (3.5 + _LETTER * max(map(len, names))) * style.font_points / 72
    columns = max(1, min(len(names), int(figure.get_figwidth() / entry_in)))
    figure.legend(found, names, loc="outside lower center", ncols=columns, frameon=False)
    _grow(figure, math.ceil(len(names) / columns) - 1, style)


def _grow(figure: Figure, num_lines: int, style: Style) -> None:
    """Make a figure higher by lines of text, so that its panels keep their height."""
    figure.set_figheight(figure.get_figheight() + num_lines * 1.5 * style.font_points / 72)


def panel_grid(style: Style, num_panels: int) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels in rows of at most three."""
    columns = min(3, style.num_columns(num_panels))
    rows = math.ceil(num_panels / columns)
    size_in = (style.width_in(columns), (style.row_in + 0.4) * rows + 0.3)
    figure = Figure(figsize=size_in, layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[num_panels:]:
        axis.remove()
    return figure, axes[:num_panels]


def bar_figure(style: Style, num_bars: int, extra_in: float = 1.1) -> tuple[Figure, Axes]:
    """Return a figure of one panel that is as high as its horizontal bars need."""
    figure = Figure(figsize=(style.one_in, extra_in + style.bar_in * num_bars), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=False, axis="y")
    return figure, axes
