"""Output of commands: tables and sentences; notices and errors go to stderr."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from interlude.analysis.labels import shortened
from interlude.simulator.cli.table_rows import TableRows
from interlude.simulator.errors import BadInputError, CannotRunError, at_a_glance, one_line

console = Console(highlight=False, width=None if sys.stdout is not None and sys.stdout.isatty() else 120)
"""Prints results."""

_messages = Console(stderr=True, highlight=False)

command: ContextVar[str] = ContextVar("command", default="interlude")
"""The command line as it was given, for reports."""


def inform(sentence: str, *, is_whole: bool = False) -> None:
    """Print a notice or an error, shortened unless it must be whole, as a command to repeat must."""
    line = one_line(sentence)
    _messages.print(f"interlude: {escape(line if is_whole else at_a_glance(line))}", soft_wrap=True)


def say(sentence: str) -> None:
    """Print a sentence."""
    console.print(escape(sentence), soft_wrap=True)


def say_written(files: Sequence[Path]) -> None:
    """Print which files were written."""
    for folder in dict.fromkeys(file.parent for file in files):
        names = ", ".join(file.name for file in files if file.parent == folder)
        say(f"Wrote {names} in {folder}/")


def show(title: str, rows: TableRows) -> None:
    """Print a table."""
    table = Table(
        title=escape(title),
        title_justify="left",
        title_style="bold",
        show_header=bool(rows.header),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    shown = _that_fit(rows)
    for i, name in enumerate(rows.header or rows.cells[0]):
        heading = escape(name) if rows.header else ""
        table.add_column(heading, justify="right" if i in rows.numbers else "left", no_wrap=i == 0, overflow="fold")
    for cells in shown:
        table.add_row(*map(escape, cells))
    console.print(table)
    if rows.note:
        console.print(escape(rows.note), style="dim")


def _that_fit(rows: TableRows) -> list[list[str]]:
    """Return the cells, names in front of the first number shortened so far that the numbers have room."""
    num_names = max(1, min(rows.numbers, default=1))
    longest = max(16, console.width * 2 // (5 * num_names))
    names = [shortened([cells[i] for cells in rows.cells], longest) for i in range(num_names)]
    return [[*(column[n] for column in names), *cells[num_names:]] for n, cells in enumerate(rows.cells)]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the scenario's file name before an error that refuses it."""
    try:
        yield
    except CannotRunError as error:
        raise BadInputError(f"{path}: {error}") from error
