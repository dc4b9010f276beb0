"""A client's journey through one local round: its day under the world's conditions, from dispatch to return.

Nothing in a day depends on other clients, except transfers through a shared link and meetings, at which the clock comes
up to the client's time. So a day is simulated ahead: to its end, if it has neither, and then its return is its only
event of the clock; else from one to the next. All of its tasks are submitted on the way, so that all clients in flight
can be trained together. Its rows are added to the timeline when it ends, or when the run ends before it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from interlude.simulator.federation.clock import Clock, Sleeper
from interlude.simulator.federation.dispatch import MEETING, Dispatch, Span, Steps
from interlude.simulator.federation.interruptions import Crossing, Ending, Life
from interlude.simulator.federation.shared_link import Transfer
from interlude.simulator.federation.timeline import SpanRow, Timeline, rows_of


class Moved(NamedTuple):
    """Payload that has moved, in bytes."""

    down: int
    up: int


_BEGUN = Ending(None, is_over=False)
_BROKE_OFF = Ending(None, "broke off")


class Journey(Sleeper):
    """One local round of one client, in progress.

    Args:
        clock: the simulated clock.
        timeline: receives the rows once the day is over.
        dispatch: which client, which window, from which version.
        on_return: called when the client has returned.
    """

    __slots__ = (
        "_clock",
        "_crossing",
        "_life",
        "_on_return",
        "_steps",
        "_timeline",
        "_transfer",
        "dispatch",
        "ending",
        "values",
    )

    def __init__(
        self, clock: Clock, timeline: Timeline, dispatch: Dispatch, on_return: "Callable[[Journey], None]"
    ) -> None:
        self._clock = clock
        self._timeline = timeline
        self._on_return = on_return
        self._life: Life | None = None
        self._steps: Iterator[Span]
        self._crossing: Crossing | None = None
        self._transfer: Transfer | None = None
        self.dispatch = dispatch
        self.values: list[Any] = []
        """Of the rows so far, row after row."""
        self.ending = _BEGUN
        """How the day ended, once it is simulated to its end."""

    def start_undisturbed(self, steps: Steps) -> None:
        """Begin an `UndisturbedDay`, which adds its rows to `values` itself."""
        self._steps = iter(steps)
        self._play_undisturbed()

    def start(self, life: Life) -> None:
        """Begin a day that the world may interrupt."""
        self._life = life
        self._play_on(life, None)

    def wake(self) -> None:
        """Begin the crossing that is due, continue after the finished one or a meeting, or return."""
        if self._transfer is not None:
            transfer, self._transfer, self._crossing = self._transfer, None, None
            assert self._life is not None, "only a day that may be interrupted crosses a shared link"
            self._play_on(self._life, transfer)
        elif self._crossing is not None:
            self._transfer = Transfer(*self._crossing[1:], self)
        elif not self.ending.is_over:
            if self._life is None:
                self._play_undisturbed()
            else:
                self._play_on(self._life, None)
        else:
            self._timeline.extend_values(self.values)
            self._on_return(self)

    def rows(self) -> list[SpanRow]:
        """Return the spans so far, but for crossings in progress."""
        return rows_of(self.values)

    def rows_until(self, end_s: float) -> list[SpanRow]:
        """Return the spans up to a moment, the one in progress cut there, but for crossings in progress."""
        return list(_until(self.rows(), end_s))

    def cut(self, end_s: float) -> Moved:
        """Add the rows up to the end of the run to the timeline; returns the bytes of transfers that the end cut."""
        rows = self.rows_until(end_s)
        if self._crossing is not None and self._transfer is not None:
            moved = int(self._crossing.num_bytes - self._transfer.bytes_left_at(end_s))
            rows.append(self._crossing.row.cut_at(end_s, moved, 0))
        self._timeline.extend(rows)
        return _not_arrived(rows)

    def _play_undisturbed(self) -> None:
        """Simulate the day to its next meeting, or to its end."""
        dispatch, span = self.dispatch, next(self._steps, None)
        if span is None:
            self.ending = Ending(dispatch.arrived)
        elif span is not MEETING:
            self.ending = _BROKE_OFF
        self._clock.wake_at(dispatch.now_s, self)

    def _play_on(self, life: Life, answer: Transfer | None) -> None:
        """Simulate the day to its next crossing or meeting, or to its end."""
        try:
            while isinstance(piece := life.send(answer), SpanRow):
                if piece.is_noted:
                    self.values += piece
                answer = None
        except StopIteration as over:
            self.ending = over.value
            if self.ending.end_s > self.dispatch.start_s:
                self._wake_at(self.ending.end_s)
            else:  # an event of the clock even so: a server whose clients return at once must not go round for ever
                self._clock.wake_at(self.ending.end_s, self)
        else:
            if isinstance(piece, Crossing):
                self._crossing = piece
                self._wake_at(piece.row.start_s)
            else:
                self._wake_at(self.dispatch.now_s)

    def _wake_at(self, at_s: float) -> None:
        if at_s > self._clock.now:
            self._clock.wake_at(at_s, self)
        else:
            self.wake()


def _not_arrived(rows: Sequence[SpanRow]) -> Moved:
    """Return the bytes that a day which is not over has moved in vain: of no complete download, of no lost upload."""
    down = up = 0
    for row in rows:
        if row.activity == "download":
            down = 0 if row.outcome == "done" else down + row.num_bytes
        elif row.activity == "upload":
            up = 0 if row.outcome == "lost" else up + row.num_bytes
    return Moved(down, up)


def _until(rows: Sequence[SpanRow], end_s: float) -> Iterator[SpanRow]:
    """Yield the rows up to a moment; the span in progress then is cut, with its share of bytes and FLOPs."""
    for row in rows:
        if row.end_s <= end_s:
            yield row
        elif row.start_s < end_s:
            share = (end_s - row.start_s) / (row.end_s - row.start_s)
            yield row.cut_at(end_s, int(row.num_bytes * share), int(row.flops * share))
