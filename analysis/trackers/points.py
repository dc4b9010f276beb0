"""The evaluations of a run, read off metrics.csv from where the last reading ended, also while the run writes it."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path


@dataclass(frozen=True)
class Point:
    """One evaluation."""

    index: int
    """How many were before it."""
    time_s: float
    """Simulated seconds."""
    version: int
    values: Mapping[str, float]
    """By ``metric/modality``, or ``metric`` where it is of no modality; those that are not finite are left out."""

    @property
    def step(self) -> int:
        """Simulated seconds as a whole number, for trackers whose steps are."""
        return round(self.time_s)


@dataclass(frozen=True)
class Cursor:
    """How far a metrics.csv has been read."""

    num_bytes: int = 0
    num_points: int = 0


def points_after(path: Path, cursor: Cursor) -> tuple[list[Point], Cursor]:
    """Return the evaluations behind a cursor, and the cursor behind them.

    A run that is resumed writes the same bytes again from its checkpoint on, so what lies before the cursor is never
    read twice: while the file is shorter than the cursor there is nothing new.

    Args:
        path: a metrics.csv; a last line without its end is left for the next reading.
        cursor: of the last reading.

    Raises:
        OSError: if the file cannot be read.
    """
    with path.open("rb") as handle:
        handle.seek(cursor.num_bytes)
        data = handle.read()
    data = data[: data.rfind(b"\n") + 1]
    lines = list(csv.reader(data.decode().splitlines()))
    if cursor.num_bytes == 0:
        lines = lines[1:]  # the header
    points: list[Point] = []
    for (time_s, version), rows in groupby(lines, key=lambda line: (line[0], line[1])):
        named = ((_name(metric, modality), float(value)) for _, _, metric, modality, value in rows)
        values = {name: value for name, value in named if math.isfinite(value)}
        points.append(Point(cursor.num_points + len(points), float(time_s), int(version), values))
    return points, Cursor(cursor.num_bytes + len(data), cursor.num_points + len(points))


def _name(metric: str, modality: str) -> str:
    return f"{metric}/{modality}" if modality else metric
