"""Rows of a user's CSV file: cells by column, and where they stand, so that what is wrong is told by its line."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interlude.simulator.errors import BadFileError, BadInputError, shown
from interlude.simulator.formats.csv_files import csv_header, csv_table, number_in


@dataclass(frozen=True)
class Rows:
    """The rows of a CSV file, some of its columns."""

    path: Path
    columns: Sequence[str]
    values: Sequence[str]
    """Those of the columns that hold a modality."""
    lines: Sequence[int]
    rows: Sequence[Sequence[str]]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.rows)

    def cells(self, column: str) -> list[str]:
        """Return the cells of a column."""
        return self._columns[column]

    @cached_property
    def _columns(self) -> Mapping[str, list[str]]:
        return {name: [row[place] for row in self.rows] for place, name in enumerate(self.columns)}

    def where(self, place: int) -> str:
        """Return the file and the line of a row."""
        return f"{self.path}, line {self.lines[place]}"

    def by_name(self, column: str) -> Mapping[str, int]:
        """Return the row of every name in a column.

        Raises:
            BadFileError: if one stands twice, or is empty.
        """
        found: dict[str, int] = {}
        for place, name in enumerate(self.cells(column)):
            if not name:
                raise BadFileError(f"{self.where(place)}, column {shown(column)}: is empty; every row names its sample")
            if name in found:
                raise BadFileError(
                    f"{self.where(place)}: sample {shown(name)} stands in line {self.lines[found[name]]}, too"
                )
            found[name] = place
        return found


def read_rows(path: Path, columns: Sequence[str], values: Sequence[str] = ()) -> Rows:
    """Return some columns of a CSV file.

    Raises:
        BadFileError: naming the line, if the file is no such table.
    """
    lines, rows = [], []
    for line, row in csv_table(path, columns):
        lines.append(line)
        rows.append(row)
    return Rows(path, columns, values, lines, rows)


def unnamed_columns(path: Path, named: Collection[str]) -> tuple[str, ...]:
    """Return the columns of a CSV file that are named nowhere.

    Raises:
        BadFileError: if there is none.
    """
    header = csv_header(path)
    found = tuple(name for name in header if name not in named)
    if not found:
        raise BadFileError(f"{path}: has no column of numbers beside {', '.join(header) or 'nothing'}")
    return found


def numbers_of(rows: Rows, places: Sequence[int], shape: Sequence[int] | None) -> npt.NDArray[np.float32]:
    """Return the numbers of some rows, [N, columns] or [N, *shape].

    Raises:
        BadInputError: if a cell is no finite number, by file and line, or the shape does not fit.
    """
    num_columns = len(rows.values)
    if shape is not None and math.prod(shape) != num_columns:
        raise BadInputError(
            f"{rows.path}: has {num_columns} columns of numbers, which cannot have the shape {list(shape)}"
        )
    wanted = [rows.columns.index(name) for name in rows.values]
    found = np.empty((len(places), num_columns), dtype=np.float32)
    for i, place in enumerate(places):
        row = rows.rows[place]
        found[i] = [_number(row[j], rows, place, rows.columns[j]) for j in wanted]
    return found if shape is None else found.reshape(len(places), *shape)


def _number(cell: str, rows: Rows, place: int, column: str) -> float:
    where = f"{rows.where(place)}, column {shown(column)}"
    if not cell:
        raise BadFileError(f"{where}: is empty; fill it, or leave the row out")
    value = number_in(cell, where)
    if not abs(value) <= float(np.finfo(np.float32).max):
        raise BadFileError(f"{where}: {cell} is not a finite number")
    return value
