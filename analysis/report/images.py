"""Figures as images inside the page."""

import base64
from dataclasses import dataclass

from interlude.analysis.choices import Choices
from interlude.analysis.figures import KINDS, Plot, render

_LARGEST_SVG_BYTES = 1_000_000  # beyond, a PNG is smaller and quicker to show


@dataclass(frozen=True)
class Image:
    """A figure on the page."""

    title: str
    source: str
    """A data URI."""
    alt: str
    caption: str
    is_narrow: bool
    """Whether it has one panel, so that it need not fill the page."""


def image_of(plot: Plot, choices: Choices) -> Image:
    """Return a figure as an image."""
    title = KINDS[plot.kind].title + (f", {plot.scenario}" if plot.scenario else "")
    data, kind = render(plot, "svg", choices), "svg+xml"
    if len(data) > _LARGEST_SVG_BYTES:
        data, kind = render(plot, "png", choices), "png"
    return Image(
        title=title,
        source=f"data:image/{kind};base64,{base64.b64encode(data).decode()}",
        alt=f"{title}. {plot.drawing.caption}",
        caption=plot.drawing.caption,
        is_narrow=plot.drawing.figure.get_figwidth() <= choices.style.one_in,
    )
