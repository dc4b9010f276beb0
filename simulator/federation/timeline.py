"""The timeline: what every client did when, as rows that tile each client's simulated time.

A row is a span of one client, or a merge (a moment: start = end). Spans: ``download``, ``wait`` (for a modality),
``train_unimodal`` (in a gap before the last modality arrives), ``train`` (joint), ``upload``, ``upload_lost`` (broke
off, or was under way at the end) and ``idle``. Rows are in the order in which things ended, ties first in, first out.
"""

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

NONE = -1
"""Stands for a version or staleness that a row does not have; a null in the record."""

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
_Row = tuple[int, str, float, float, int, str, int, int, int]


class Timeline:
    """Collects rows, column by column, and hands them on in tables.

    Args:
        sink: receives a table of `SCHEMA` every 100,000 rows and at the end.
    """

    def __init__(self, sink: Callable[[pa.Table], None]) -> None:
        self._sink = sink
        self._rows: list[_Row] = []
        self._names: dict[str, int] = {"": 0}
        self._order = [hashlib.sha256() for _ in range(4)]

    def add(
        self,
        client: int,
        kind: str,
        start_s: float,
        end_s: float,
        version: int = NONE,
        modality: str = "",
        num_bytes: int = 0,
        flops: int = 0,
        staleness: int = NONE,
    ) -> None:
        """Add a row; spans of no length are left out.

        Args:
            client: who.
            kind: what, as listed above.
            start_s: from when.
            end_s: until when.
            version: the model version a span works from; for a merge, the version it made.
            modality: the modality waited for or trained alone; several are joined by '+'.
            num_bytes: payload moved.
            flops: work done.
            staleness: for a merge, versions merged since the update's start version.
        """
        if end_s == start_s and kind != "merge":
            return
        self._rows.append((client, kind, start_s, end_s, version, modality, num_bytes, flops, staleness))
        if len(self._rows) >= _FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Hand the collected rows on."""
        if not self._rows:
            return
        client, kind, start_s, end_s, version, modality, num_bytes, flops, staleness = zip(*self._rows, strict=True)
        self._rows = []
        kinds, modalities = self._codes(kind), self._codes(modality)
        clients, versions = np.array(client, np.int32), np.array(version, np.int32)
        for digest, column in zip(self._order, (clients, kinds, versions, modalities), strict=True):
            digest.update(column.tobytes())
        names = pa.array([name or None for name in self._names])
        stalenesses = np.array(staleness, np.int32)
        columns = [
            pa.array(clients),
            names.take(pa.array(kinds)),
            pa.array(start_s),
            pa.array(end_s),
            pa.array(versions, mask=versions == NONE),
            names.take(pa.array(modalities)),
            pa.array(num_bytes),
            pa.array(flops),
            pa.array(stalenesses, mask=stalenesses == NONE),
        ]
        self._sink(pa.Table.from_arrays(columns, schema=SCHEMA))

    def _codes(self, column: tuple[str, ...]) -> npt.NDArray[np.int32]:
        """Return names as indices into the names seen so far, in the order in which they were first seen."""
        for name in dict.fromkeys(column):
            self._names.setdefault(name, len(self._names))
        return np.array([self._names[name] for name in column], np.int32)

    def order_digest(self) -> str:
        """Return the SHA-256 of the order of events: who did what on which version, without times."""
        self.flush()
        whole = hashlib.sha256(b"".join(digest.digest() for digest in self._order))
        whole.update(repr(list(self._names)).encode())
        return whole.hexdigest()
