"""The timeline: what every client did when, as rows that tile each client's simulated time.

A row is a span of one client, or a merge (a moment: start = end). Spans: ``download``, ``wait`` (for a modality),
``train_unimodal`` (in a gap before the last modality arrives), ``train`` (joint), ``upload``, ``upload_lost`` (broke
off, or was under way at the end) and ``idle``. In a world that fails also ``off``, ``stalled`` (the server is away),
``backoff`` (between two attempts to upload), training in a device's slow mode (``train_slow``), pieces of a span that
was interrupted and went on (``train_part``) and what was cut off for good (``train_lost``). Rows are in the order in
which things ended, ties first in, first out; only the rows of idle clients that were off meanwhile come together, when
they are dispatched.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa

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

Row = tuple[int, str, float, float, int | None, str | None, int, int, int | None]
"""The values of a row, in the order of `SCHEMA`."""

KIND: Final = 1
START_S: Final = 2
END_S: Final = 3
NUM_BYTES: Final = 6
FLOPS: Final = 7
"""Where a row says what, from when and until when, and what it cost."""

SLOW: Final = "_slow"
"""How the kind of training in a device's slow mode ends."""

_ENDINGS = ("_part", "_lost", SLOW)


def what(kind: str) -> str:
    """Return what a span is, however slow it was and however it ended: ``train`` for ``train_slow_lost``."""
    for ending in _ENDINGS:
        kind = kind.removesuffix(ending)
    return kind


def cut_off(kind: str) -> str:
    """Return the kind of a span that the end of the run cuts off: an upload never got there."""
    return "upload_lost" if kind == "upload" else kind


_FLUSH_ROWS = 100_000
_BATCH_ROWS = 4_000  # what is turned into arrays at once: little enough to still be in the processor's cache
_BATCH_VALUES = _BATCH_ROWS * len(SCHEMA)
_ORDER = ("client", "kind", "version", "modality")  # who did what on which version; times stay out


class Timeline:
    """Collects rows, column by column, and hands them on in tables.

    Args:
        sink: receives a table of `SCHEMA` every 100,000 rows and at the end.
    """

    def __init__(self, sink: Callable[[pa.Table], None]) -> None:
        self._sink = sink
        self._values: list[Any] = []  # of a batch, row after row: rows kept as tuples would keep the collector busy
        self._batches: list[pa.Table] = []
        self._order = {name: hashlib.sha256() for name in _ORDER}

    def add(
        self,
        client: int,
        kind: str,
        start_s: float,
        end_s: float,
        version: int | None = None,
        modality: str | None = None,
        num_bytes: int = 0,
        flops: int = 0,
        staleness: int | None = None,
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
        self.append((client, kind, start_s, end_s, version, modality, num_bytes, flops, staleness))

    def append(self, row: Row) -> None:
        """Add a row that is there already; spans of no length are left out, unless something was moved or done."""
        if row[START_S] == row[END_S] and row[KIND] != "merge" and not row[NUM_BYTES] and not row[FLOPS]:
            return
        self._values.extend(row)
        if len(self._values) == _BATCH_VALUES:
            self._end_batch()
            if len(self._batches) * _BATCH_ROWS == _FLUSH_ROWS:
                self.flush()

    def flush(self) -> None:
        """Hand the collected rows on."""
        self._end_batch()
        if not self._batches:
            return
        table = pa.concat_tables(self._batches).combine_chunks()
        self._sink(table)  # first of all: what could not be written stays here
        self._batches = []
        for name, digest in self._order.items():
            for chunk in table.column(name).chunks:
                for buffer in chunk.buffers():
                    digest.update(buffer or b"")

    def order_digest(self) -> str:
        """Return the SHA-256 of the order of events: who did what on which version, without times."""
        self.flush()
        return hashlib.sha256(b"".join(digest.digest() for digest in self._order.values())).hexdigest()

    def _end_batch(self) -> None:
        if not self._values:
            return
        columns = [pa.array(self._values[i :: len(SCHEMA)], field.type) for i, field in enumerate(SCHEMA)]
        self._batches.append(pa.table(columns, schema=SCHEMA))
        self._values = []
