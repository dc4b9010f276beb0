"""How our figures look: colour-blind-safe colours (Okabe and Ito), readable sizes."""

from typing import Any

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
LINES = ("-", (0, (5, 1.5)), (0, (7, 1.5, 1.5, 1.5)), (0, (2, 1)), (0, (8, 2, 1, 2, 1, 2)))

RC: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "interlude",
    "svg.fonttype": "none",
}


def look_of(index: int) -> dict[str, Any]:
    """Return colour and line style of the `index`-th curve; neighbours differ in both."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": LINES[index % len(LINES)]}
