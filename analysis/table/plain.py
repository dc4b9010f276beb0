"""A table of results in Markdown, and as CSV."""

import io
import re
from collections.abc import Sequence

import pandas as pd

from interlude.analysis.table.cells import Cell, Table
from interlude.simulator.errors import one_line

_MATHEMATICS = re.compile(r"(\$[^$]+\$)")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def markdown(table: Table, command: str) -> str:
    """Return a table of GitHub's Markdown, its note below it.

    Args:
        table: the table.
        command: that made it, in a comment.
    """
    first = ["block", "method"] if any(block.title for block in table.blocks) else ["method"]
    lines = [
        _line([*first, *map(_escaped, table.headings)]),
        _line([*("---" for _ in first), *("---:" for _ in table.columns)]),
    ]
    for block in table.blocks:
        for row in block.rows:
            name = _escaped(f"{row.label} {row.note}".strip())
            keys = [_escaped(block.title), name] if len(first) == 2 else [name]
            lines.append(_line([*keys, *map(_cell, row.cells)]))
    comment = one_line(command).replace("--", "&#45;&#45;")
    return "\n".join([*lines, "", _escaped(table.note), "", f"<!-- {comment} -->", ""])


def csv(table: Table) -> str:
    """Return a row per block, method and column: the mean, half the width of its 95 % interval, and the adjusted p."""
    rows = [
        {
            **({"block": block.title} if block.title else {}),
            "method": row.label,
            "seeds": row.seeds,
            "column": column,
            "mean": cell.value,
            "ci95": cell.half_width,
            "text": cell.text,
            "is_best": cell.is_best,
            "p_holm": cell.adjusted_p,
        }
        for block in table.blocks
        for row in block.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
    ]
    buffer = io.StringIO()
    pd.DataFrame(rows).to_csv(buffer, index=False)
    return buffer.getvalue()


def _cell(cell: Cell) -> str:
    mean = f"**{cell.mean}**" if cell.is_best else cell.mean
    return mean + _escaped(cell.text.removeprefix(cell.mean)) + r"\*" * cell.num_marks


def _escaped(text: str) -> str:
    """Return a text that Markdown shows as it is; mathematics, ``$...$``, is left alone but for the bars of a table."""
    parts = _MATHEMATICS.split(re.sub(r"\s", " ", text))
    return "".join(
        part.replace("|", r"\vert ") if place % 2 else _SPECIAL.sub(r"\\\1", part) for place, part in enumerate(parts)
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
