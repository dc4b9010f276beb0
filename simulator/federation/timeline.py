"""The timeline: what every client did when, as rows that tile each client's simulated time.

A row is a span of one client, or a merge (a moment: start = end). Spans: ``download``, ``wait`` (for a modality),
``train_unimodal`` (in a gap before the last modality arrives), ``train`` (joint), ``upload``, ``upload_lost`` (broke off) and
``idle``. Rows are in the order in which things ended, ties first in, first out.
"""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa


class Row(NamedTuple):
    """One span or merge."""

    client: int
    kind: str
    start_s: float
    end_s: float
    version: int | None = None
    """The model version a span works from; for a merge, the version it made. None while idle."""
    modality: str | None = None
    """The modality waited for or trained alone; several are joined by '+'."""
    bytes: int = 0
    flops: int = 0
    staleness: int | None = None
    """For a merge: versions merged since the update's start version."""


SCHEMA = pa.schema(
    [
        ("client", pa.int32()),
        ("kind", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("version", pa.int32()),
        ("modality", pa.string()),
        ("bytes", pa.int64()),
        ("flops", pa.int64()),
        ("staleness", pa.int32()),
    ]
)

_FLUSH_ROWS = 100_000


class Timeline:
    """Collects rows and hands them on in tables.

    Args:
        sink: receives a table of `SCHEMA` every 100,000 rows and at the end.
    """

    def __init__(self, sink: Callable[[pa.Table], None]) -> None:
        self._sink = sink
        self._rows: list[Row] = []
        self._order = hashlib.sha256()

    def add(self, row: Row) -> None:
        """Add a row; spans of no length are left out."""
        if row.end_s > row.start_s or row.kind == "merge":
            self._rows.append(row)
            if len(self._rows) >= _FLUSH_ROWS:
                self.flush()

    def flush(self) -> None:
        """Hand the collected rows on."""
        if not self._rows:
            return
        columns = list(zip(*self._rows, strict=True))
        for row in self._rows:
            self._order.update(repr((row.client, row.kind, row.version, row.modality)).encode())
        self._rows = []
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
        self._sink(pa.Table.from_arrays(arrays, schema=SCHEMA))

    def order_digest(self) -> str:
        """Return the SHA-256 of the order of events: who did what on which version, without times."""
        self.flush()
        return self._order.hexdigest()
