"""Sinks: a run writes to one while its clock advances, to a run directory or to nothing."""

from collections.abc import Iterable
from typing import Protocol

import pyarrow as pa


class Sink(Protocol):
    """Receives the measurements of a run."""

    def add_metrics(self, time_s: float, version: int, rows: Iterable[tuple[str, str, float]]) -> None:
        """Store (metric, modality, value) rows of one moment of simulated time."""
        ...

    def add_timeline(self, table: pa.Table) -> None:
        """Store a part of the timeline."""
        ...


class TimelineInMemory:
    """A sink that keeps the timeline in memory and drops metrics."""

    def __init__(self) -> None:
        self.parts: list[pa.Table] = []
        """The parts of the timeline, in order."""

    def add_metrics(self, time_s: float, version: int, rows: Iterable[tuple[str, str, float]]) -> None:
        """Drop metrics."""

    def add_timeline(self, table: pa.Table) -> None:
        """Keep a part of the timeline."""
        self.parts.append(table)


class NullSink:
    """A sink that drops everything."""

    def add_metrics(self, time_s: float, version: int, rows: Iterable[tuple[str, str, float]]) -> None:
        """Drop metrics."""

    def add_timeline(self, table: pa.Table) -> None:
        """Drop a part of the timeline."""
