"""Text files and CSV tables that others wrote, read strictly: what could mean two things is refused by file and line.

Both the traces of the world and the lists of the data sets are read here, so it lies in the ground below them.

A table is comma-separated, with the names of its columns in the first line. UTF-8 and, by its byte order mark, UTF-16
are read, with any line ends; blank lines are skipped.
"""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from interlude.simulator.errors import BadFileError, nearest, shortened, shown
from interlude.simulator.files import need_regular

_LONGEST_LINE = 1 << 20
_LONGEST_LIST = 120
_MOST_NAMES = 100  # among which the nearest is looked for
_MOST_DIGITS = 18  # of a whole number; Python refuses to read thousands of them
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_ENCODINGS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_NO_TEXT = re.compile("[\0\ufeff\udc80-\udcff]")
"""What no line of text holds; the last are the bytes that are not UTF-8."""
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?[\d.]*,\d+", re.ASCII)


def text_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, without their ends.

    Raises:
        BadFileError: naming the line, if it is not text; or if it cannot be read, or is not a regular file.
    """
    need_regular(path)
    number = 0
    try:
        with path.open("rb") as content:
            head = content.read(3)
        encoding = next((name for mark, name in _ENCODINGS.items() if head.startswith(mark)), "utf-8")
        with path.open(encoding=encoding, errors="surrogateescape") as handle:
            for number, line in enumerate(_lines(handle), start=1):
                if wrong := _NO_TEXT.search(line):
                    raise BadFileError(f"{path}, line {number}: {_said_of(wrong[0])}; save it as UTF-8")
                if len(line) > _LONGEST_LINE:
                    raise BadFileError(f"{path}, line {number}: is longer than {_LONGEST_LINE:,} characters")
                yield line.removesuffix("\n")
    except UnicodeDecodeError as error:
        raise BadFileError(f"{path}, after line {number}: is no longer UTF-16 text; save it as UTF-8") from error
    except OSError as error:
        raise BadFileError(f"cannot read '{path}': {error.strerror}") from error


def _lines(handle: IO[str]) -> Iterator[str]:
    return iter(partial(handle.readline, _LONGEST_LINE + 1), "")


def _said_of(character: str) -> str:
    match character:
        case "\0":
            return "is not text: it holds a null character (UTF-16 without a byte order mark, perhaps)"
        case "\ufeff":
            return "a second byte order mark, which cannot be seen, stands here"
        case _:
            return f"is not UTF-8 text: it holds the byte 0x{ord(character) - 0xDC00:x}"


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells, stripped, of every row of a CSV file without a header.

    Raises:
        BadFileError: naming the line.
    """
    line = 1
    reader = csv.reader(_without_comments(path), strict=True, skipinitialspace=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if len(cells) > 1 or any(cells):
                yield line, cells
            line = reader.line_num + 1  # a quoted cell may hold line breaks: a row is named by its first line
    except csv.Error as error:
        is_open = "unexpected end" in str(error) or "field limit" in str(error)
        said = "a quotation mark is never closed" if is_open else f"cannot be read as CSV: {error}"
        raise BadFileError(f"{path}, line {line}: {said}") from error


def _without_comments(path: Path) -> Iterator[str]:
    for number, line in enumerate(text_lines(path), start=1):
        if line.startswith("#"):
            raise BadFileError(
                f"{path}, line {number}: begins with '#', but a CSV file has no comments; delete the line, or put its "
                "first cell in quotation marks"
            )
        yield line


def csv_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of some columns, row by row, of a CSV file with a header.

    Raises:
        BadFileError: naming the line, if the header lacks a column or names one twice, or a row has another length.
    """
    rows = csv_rows(path)
    line, header = next(rows, (1, []))
    if twice := next((name for name, count in Counter(header).items() if name and count > 1), None):
        raise BadFileError(f"{path}, line {line}: two columns are called {shown(twice)}")
    places = [_place(path, header, column) for column in columns]
    for line, row in rows:
        if len(row) != len(header):
            comma = "; write 1.5 for 1,5, and a cell with a comma in quotation marks" if len(row) > len(header) else ""
            raise BadFileError(f"{path}, line {line}: has {_counted(row)}, but the header has {len(header)}{comma}")
        yield line, [row[place] for place in places]


def csv_header(path: Path) -> list[str]:
    """Return the names of the columns of a CSV file.

    Raises:
        BadFileError: if there is none, or cells are not separated by commas.
    """
    _, header = next(csv_rows(path), (1, []))
    if not header:
        raise BadFileError(f"{path}: is empty; its first line names its columns")
    _need_commas(path, header)
    return header


def _need_commas(path: Path, header: Sequence[str]) -> None:
    for mark, name in _SEPARATORS.items():
        if len(header) == 1 and mark in header[0]:
            raise BadFileError(f"{path}: its cells are separated by {name}; use commas, and write 1.5 for 1,5")


def _place(path: Path, header: Sequence[str], column: str) -> int:
    """Return the position of a column."""
    if column in header:
        return header.index(column)
    _need_commas(path, header)
    listed = shortened(", ".join(header), _LONGEST_LIST) or "none"
    raise BadFileError(
        f"'{path}' has no column {shown(column)}; its columns are: {listed}{nearest(column, header[:_MOST_NAMES])}"
    )


def _counted(cells: Sequence[str]) -> str:
    return f"{len(cells)} cell{'s' * (len(cells) != 1)}"


def whole_number(text: str) -> int | None:
    """Return the number that digits 0 to 9 stand for; None for any other text, and above 18 digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


def number_in(cell: str, where: str) -> float:
    """Return the number in a cell, written with digits and a decimal point; it may be infinite or not a number.

    Raises:
        BadFileError: one sentence that begins with `where`.
    """
    if _NUMBER.fullmatch(cell):
        return float(cell)
    comma = "; write a decimal point, as in 1.5" if _DECIMAL_COMMA.fullmatch(cell) else ""
    raise BadFileError(f"{where}: {shown(cell)} is not a number{comma}")
