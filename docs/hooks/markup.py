"""Plain text and tables as Markdown."""

from collections.abc import Iterable, Sequence

_ESCAPES = str.maketrans({"<": "&lt;", ">": "&gt;", "&": "&amp;"} | {mark: f"\\{mark}" for mark in "\\*_[]|#{}`"})


def escaped(text: str) -> str:
    """Return plain text as Markdown that reads the same; what stands between two backticks stays code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a backtick without its partner
        return text.translate(_ESCAPES)
    return "`".join(part if place % 2 else part.translate(_ESCAPES) for place, part in enumerate(parts))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; cells are Markdown without line breaks."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("\n", " ") for cell in line) + " |" for line in lines)
