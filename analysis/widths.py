"""Widths of figures for publishers: that of a column and that of the page, so that letters keep their size in print."""

from dataclasses import replace

from interlude.analysis.style import PAPER, STYLES, Style
from interlude.simulator.errors import BadInputError, nearest, shown

_CM = 1 / 2.54
"""Inches."""

WIDTHS_IN = {"ieee": (3.5, 7.16), "acm": (3.33, 7.0), "springer": (12.2 * _CM, 12.2 * _CM)}
"""Widths of a column and of the page in inches: of IEEE's journals, of ACM's sigconf, and of Springer's LNCS."""
_NARROWEST_CM, _WIDEST_CM = 4.0, 60.0


def style_of(name: str, width: str | None = None) -> Style:
    """Return a style by its name or, where there is a width, the paper style in that width.

    Args:
        name: a key of `interlude.analysis.style.STYLES`.
        width: a key of `WIDTHS_IN`: figures of one panel are as wide as a column, others as the page; or the width of
            every figure in cm.

    Raises:
        BadInputError: naming the option.
    """
    if name not in STYLES:
        raise BadInputError(f"--style: unknown style '{name}'; styles are {', '.join(STYLES)}{nearest(name, STYLES)}")
    if width is None:
        return STYLES[name]
    column_in, page_in = WIDTHS_IN.get(width) or (_given_in(width),) * 2
    return replace(PAPER, one_in=column_in, two_in=page_in, three_in=page_in)


def _given_in(width: str) -> float:
    try:
        width_cm = float(width)
    except ValueError:
        width_cm = float("nan")
    if not _NARROWEST_CM <= width_cm <= _WIDEST_CM:
        raise BadInputError(
            f"--width: must be {', '.join(WIDTHS_IN)} or cm from {_NARROWEST_CM:g} to {_WIDEST_CM:g}; given "
            f"{shown(width)}{nearest(width, WIDTHS_IN)}"
        )
    return width_cm * _CM
