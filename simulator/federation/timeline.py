"""The timeline: every client's activities, as rows that tile its simulated time.

A row is a span of one client, or a merge (a moment: start = end). Its columns say

- ``activity``: ``download``, ``wait`` (for a modality), ``train_unimodal`` (in a gap before the last modality arrives),
  ``train`` (joint), ``upload``, ``backoff`` (between two attempts to upload), ``idle``, ``off`` (the device is),
  ``stalled`` (a transfer while the server is away) or ``merge``;
- ``outcome``: ``done``; ``part``, a piece of a span that was interrupted and continued; ``lost``, abandoned; ``cut``,
  by the end of the run: a transfer in progress then, or a span that would have been lost later. Any other span in
  progress keeps its outcome;
- ``is_slow``: whether a straggler trained in its slow mode.

Rows are in the order in which spans ended, ties first in, first out; only the idle and off rows of an idle client are
added together, when it is dispatched.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

Activity = Literal[
    "download", "wait", "train", "train_unimodal", "upload", "backoff", "idle", "off", "stalled", "merge"
]
"""The activity of a row."""

Outcome = Literal["done", "part", "lost", "cut"]
"""How a span ended: completed, interrupted and continued later, abandoned, or cut by the end of the run."""

SCHEMA: Final = pa.schema(
    [
        ("client", pa.int32()),
        ("activity", pa.string()),
        ("outcome", pa.string()),
        ("is_slow", pa.bool_()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("version", pa.int32()),
        ("modality", pa.string()),
        ("bytes", pa.int64()),
        ("flops", pa.int64()),
        ("staleness", pa.int32()),
    ]
)
"""The columns of the timeline, in the order of the fields of `SpanRow`."""


_TRANSFERS = ("download", "upload")


class SpanRow(NamedTuple):
    """A row of the timeline, in the order of `SCHEMA`."""

    client: int
    activity: Activity
    outcome: Outcome
    is_slow: bool
    """Whether a straggler trained in its slow mode; false for every other activity."""
    start_s: float
    end_s: float
    version: int | None = None
    """The model version that a span works from; for a merge, the version it made."""
    modality: str | None = None
    """The modality waited for or trained alone; several are joined by '+'."""
    num_bytes: int = 0
    """Payload moved (column ``bytes``)."""
    flops: int = 0
    """Work done."""
    staleness: int | None = None
    """For a merge, versions merged since the update's start version."""

    @property
    def is_noted(self) -> bool:
        """Whether the timeline keeps the row: a span of no length only with bytes or FLOPs."""
        return self.start_s != self.end_s or self.activity == "merge" or self.num_bytes != 0 or self.flops != 0

    def cut_at(self, end_s: float, num_bytes: int, flops: int) -> "SpanRow":
        """Return the row cut at the end of the run, with its share of bytes and FLOPs."""
        is_cut = self.activity in _TRANSFERS or self.outcome == "lost"
        outcome: Outcome = "cut" if is_cut else self.outcome
        return self._replace(outcome=outcome, end_s=end_s, num_bytes=num_bytes, flops=flops)


_FLUSH_ROWS = 100_000
_BATCH_ROWS = 4_000  # rows turned into arrays at once: few enough to stay in the processor's cache
_BATCH_VALUES = _BATCH_ROWS * len(SCHEMA)
_ORDER = ("client", "activity", "outcome", "is_slow", "version", "modality", "staleness")  # without times


def rows_of(values: Sequence[Any]) -> list[SpanRow]:
    """Return the rows whose values stand in a sequence, row after row."""
    width = len(SpanRow._fields)
    return [SpanRow(*values[start : start + width]) for start in range(0, len(values), width)]


OnMerge = Callable[[float, int, Sequence[tuple[int, int]]], None]
"""Receives the simulated seconds and the version of a merge, and the staleness of each of its updates by client."""


class Timeline:
    """Collects rows and passes them on in tables.

    Args:
        sink: receives a table of `SCHEMA` every 100,000 rows and at the end; an empty one where there is no row.
        account: receives a table of all rows as often; None: nothing does.
        num_clients: the sink receives the rows of clients 0 to num_clients - 1; None: of all.
    """

    def __init__(
        self,
        sink: Callable[[pa.Table], None],
        account: Callable[[pa.Table], None] | None = None,
        num_clients: int | None = None,
    ) -> None:
        self._sink = sink
        self._account = account
        self._num_clients = num_clients
        self.on_merge: OnMerge | None = None
        """Is told of each merge; None: nothing is."""
        self._values: list[Any] = []  # of a batch, row after row: many tuples would slow the garbage collector
        self._batches: list[pa.Table] = []
        self._kept: list[pa.Table] = []
        """Rows of some clients only, until there are enough of them for the sink."""
        self._is_empty = True
        self._order = {name: hashlib.sha256() for name in _ORDER}

    def add(self, client: int, activity: Activity, start_s: float, end_s: float) -> None:
        """Add a client's time between two local rounds.

        Args:
            client: client index.
            activity: ``idle`` or ``off``.
            start_s: simulated seconds.
            end_s: simulated seconds.
        """
        if start_s < end_s:
            self.extend_values((client, activity, "done", False, start_s, end_s, None, None, 0, 0, None))

    def add_merges(self, at_s: float, version: int, staleness: Sequence[tuple[int, int]]) -> None:
        """Add the updates of one merge.

        Args:
            at_s: simulated seconds.
            version: the version that the merge made.
            staleness: client, and versions merged since the update's start version, of each update.
        """
        for client, age in staleness:
            self.extend_values((client, "merge", "done", False, at_s, at_s, version, None, 0, 0, age))
        if self.on_merge is not None:
            self.on_merge(at_s, version, staleness)

    def append(self, row: SpanRow) -> None:
        """Add a row; spans of no length are left out, unless they have bytes or FLOPs."""
        self.extend((row,))

    def extend(self, rows: Iterable[SpanRow]) -> None:
        """Add rows in their order; spans of no length are left out, unless they have bytes or FLOPs."""
        self.extend_values([value for row in rows if row.is_noted for value in row])

    def extend_values(self, values: Sequence[Any]) -> None:
        """Add the values of rows that are noted, row after row: what a finished day has at hand."""
        self._values += values
        while len(self._values) >= _BATCH_VALUES:
            self._end_batch()
            if len(self._batches) * _BATCH_ROWS == _FLUSH_ROWS:
                self._hand_on()

    def flush(self) -> None:
        """Pass the collected rows to the sink."""
        self._end_batch()
        self._hand_on()
        self._write()

    def finish(self) -> None:
        """Pass the last rows to the sink: the run is over."""
        self.flush()
        if self._is_empty:  # the record of a run in which nothing happened has columns even so
            self._sink(SCHEMA.empty_table())

    def order_digest(self) -> str:
        """Return the SHA-256 of the order of events: client, activity and version, without times."""
        self.flush()
        return hashlib.sha256(b"".join(digest.digest() for digest in self._order.values())).hexdigest()

    def _end_batch(self) -> None:
        """Turn the next 4,000 rows, or all where there are fewer, into a table."""
        values, self._values = self._values[:_BATCH_VALUES], self._values[_BATCH_VALUES:]
        if not values:
            return
        columns = [pa.array(values[i :: len(SCHEMA)], field.type) for i, field in enumerate(SCHEMA)]
        self._batches.append(pa.table(columns, schema=SCHEMA))

    def _hand_on(self) -> None:
        if not self._batches:
            return
        table = pa.concat_tables(self._batches).combine_chunks()
        if self._num_clients is None:
            self._sink(table)  # first: rows that cannot be written stay here
            self._is_empty = False
        else:
            self._kept.append(table.filter(pc.less(table["client"], self._num_clients)))
        self._batches = []
        for name, digest in self._order.items():
            for chunk in table.column(name).chunks:
                for buffer in chunk.buffers():
                    digest.update(buffer or b"")
        if self._account is not None:
            self._account(table)
        if sum(part.num_rows for part in self._kept) >= _FLUSH_ROWS:
            self._write()

    def _write(self) -> None:
        """Pass the rows that were kept to the sink."""
        table = pa.concat_tables([SCHEMA.empty_table(), *self._kept]).combine_chunks()
        if table.num_rows:
            self._sink(table)
            self._kept, self._is_empty = [], False
