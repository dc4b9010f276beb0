"""A table of results in LaTeX, with the rules of booktabs."""

import re
from collections.abc import Sequence

from interlude.analysis.table.cells import Block, Cell, Table
from interlude.simulator.errors import BadInputError, one_line, shown

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "…": r"\dots{}",
    **{letter: f"\\{letter}" for letter in "{}#%&_$"},
}
_MATHEMATICS = re.compile(r"(?<!\\)\$")


def latex(table: Table, command: str) -> str:
    r"""Return a ``tabular`` to ``\input``; its first lines, comments, say what it needs and what its numbers are.

    Args:
        table: the table.
        command: that made it.

    Raises:
        BadInputError: if a label has an odd number of dollar signs.
    """
    columns = "l" + "r" * len(table.columns)
    lines = [
        r"% \usepackage{booktabs}",
        f"% {one_line(table.note)}",
        f"% {one_line(command)}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _line(["Method", *map(escaped, table.headings)]),
    ]
    for block in table.blocks:
        lines += [r"\midrule", *_block(block, len(table.columns) + 1)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def escaped(text: str) -> str:
    r"""Return a text in which LaTeX's special characters stand for themselves; mathematics, ``$...$``, stays as it is.

    ``\$`` is a dollar sign.

    Raises:
        BadInputError: if a dollar sign begins mathematics that does not end.
    """
    parts = _MATHEMATICS.split(re.sub(r"\s", " ", text))
    if len(parts) % 2 == 0:
        raise BadInputError(f"--labels: mathematics is $...$, and a dollar sign is \\$; given {shown(text)}")
    plain = (_plain(part) if place % 2 == 0 else f"${part}$" for place, part in enumerate(parts))
    return "".join(plain)


def _plain(text: str) -> str:
    return "".join(_SPECIAL.get(letter, letter) for letter in text.replace("\\$", "$"))


def _block(block: Block, width: int) -> list[str]:
    title = [rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escaped(block.title)}}}}} \\"] if block.title else []
    return title + [
        _line([escaped(row.label) + (f" {escaped(row.note)}" if row.note else ""), *map(_cell, row.cells)])
        for row in block.rows
    ]


def _cell(cell: Cell) -> str:
    mean = rf"\textbf{{{cell.mean}}}" if cell.is_best else cell.mean
    marks = rf"\rlap{{$^{{{'*' * cell.num_marks}}}$}}" if cell.num_marks else ""  # takes no width: digits stay aligned
    return mean + escaped(cell.text.removeprefix(cell.mean)) + marks


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
