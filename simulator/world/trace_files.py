"""Trace files: where they are, and how their rows are read: CSV with a header line, nothing else.

Some publishers distribute pickles; a pickle can run any program when it is opened, so none ever is.
"""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from interlude.simulator.files import DATA_VARIABLE, data_directory, located
from interlude.simulator.formats.csv_files import csv_table, number_in
from interlude.simulator.randomness import Stream


def read_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of some columns, row by row; the file is looked for by `located`.

    Raises:
        ValueError: one sentence about what is wrong with the file.
    """
    path = located(file)
    if not (file.is_absolute() or os.path.exists(path)):
        raise ValueError(f"cannot read '{path}': it does not exist, nor beside the scenario; {_hint()}")
    yield from csv_table(path, columns)


def column_of(file: Path, column: str) -> list[float]:
    """Return the values of a column of a CSV file.

    Raises:
        ValueError: one sentence about the problem.
    """
    path = located(file)
    values = [
        non_negative(cell, f"'{path}', line {line}, column '{column}'") for line, (cell,) in read_rows(file, [column])
    ]
    if not values:
        raise ValueError(f"column '{column}' of '{path}' has no values")
    return values


def non_negative(cell: str, where: str) -> float:
    """Return the number in a cell.

    Raises:
        ValueError: one sentence that begins with `where`.
    """
    value = number_in(cell, where)
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{where}: {value} is negative or non-finite")
    return value


def assigned_devices(seed: int, file: Path, num_devices: int, num_clients: int) -> list[int]:
    """Return the device (row) of a trace file that each client is.

    The stream is addressed by the file's name, so that all traces from one file make a client the same device, and
    drawn with replacement, so that adding clients changes no other client's device.
    """
    uniforms = Stream(seed, "trace-device", file.name).uniforms(num_clients)
    return [int(uniform * num_devices) for uniform in uniforms.tolist()]


def _hint() -> str:
    directory = data_directory()
    return (
        f"it was looked for in {DATA_VARIABLE}={directory}, too"
        if directory
        else f"name the directory that holds it in {DATA_VARIABLE}"
    )
