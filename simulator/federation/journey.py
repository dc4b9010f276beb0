"""A local round in a world that fails: what becomes of the spans of a client's day.

The method's day says what the client wants to do and for how long. Here devices go off and die, uploads are lost and
sent again, the server goes away, and transfers share its link. All of it but the shared link is known ahead, so the day
is still planned when the client is sent out; where a link is shared, it is planned from transfer to transfer.

A span that is held up is cut into pieces: all but the last have the kind with ``_part``, and between them the client
is ``off`` or, in a transfer while the server is away, ``stalled``. What is cut off for good has the kind with
``_lost``. Time that passes by itself (waiting for data, pausing between attempts) does so whether the device is on or
not.
"""

import math
from collections.abc import Generator, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from interlude.models.network import Parameters
from interlude.simulator.federation.client_day import LocalRound, Span, Steps
from interlude.simulator.federation.shared_link import SharedLink, Transfer
from interlude.simulator.federation.timeline import END_S, Row, cut_off, what
from interlude.simulator.training.task import Deferred, Task, Trained
from interlude.simulator.world.network import Direction

if TYPE_CHECKING:
    from interlude.simulator.federation.server import Server

_PASSES_BY_ITSELF = frozenset({"wait", "backoff"})
_DIRECTIONS: dict[str, Direction] = {"download": "down", "upload": "up"}


class Shared(NamedTuple):
    """A piece of a transfer whose end depends on who else is in the link."""

    row: Row
    """What it is, from when on."""
    link: SharedLink
    latency_s: float
    num_bytes: float
    limit: float
    """Bytes per second of the client's own link."""
    until_s: float
    """When something else interrupts it."""


Lived = Generator[Row | Shared, Any, bool]
"""Yields rows, and shared pieces, for which it is sent the transfer that is over; returns whether the day goes on."""


def _foreseen(lived: Lived) -> Lived:
    """Find out the whole day at once, so that all its training is submitted."""
    yield from list(lived)
    return True


def _next(lived: Lived, answer: Transfer | None) -> Row | Shared | None:
    """Return the next piece of a day, None if it is over."""
    try:
        return lived.send(answer)
    except StopIteration:
        return None


class _Received(Mapping[str, Tensor]):
    """The model that a client received, for a day that is still being planned while its run may be resumed.

    A day that waits for a shared link keeps the model in its variables; a resumed run gives the local round the tensors
    of its checkpoint, and this leads to them.
    """

    def __init__(self, local_round: LocalRound) -> None:
        self.local_round = local_round

    def __getitem__(self, name: str) -> Tensor:
        return self.local_round.received[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.local_round.received)

    def __len__(self) -> int:
        return len(self.local_round.received)


class _Rehearsed:
    received: Parameters = MappingProxyType({})

    def result(self) -> Trained:
        raise AssertionError("a rehearsal trains nothing")


class UnsteadyRound(LocalRound):
    """One local round of one client where anything can go wrong; see `LocalRound`."""

    __slots__ = (
        "_bytes_not_received",
        "_crash_s",
        "_has_received",
        "_off_s",
        "_pieces",
        "_rehearses",
        "_shared",
        "_transfer",
    )

    def __init__(self, server: "Server", client: int, window: int, role: Any = None) -> None:
        super().__init__(server, client, window, role)
        self._bytes_not_received = 0
        self._crash_s = math.inf
        self._has_received = False
        self._off_s = 0.0
        self._pieces: Lived
        self._rehearses = False
        self._shared: Shared | None = None
        self._transfer: Transfer | None = None

    def start(self, day: Steps) -> None:
        """Begin to spend the client's time."""
        fraction = self._server.world.faults.crash_fraction(self.client, self.window)
        if fraction < 1.0:
            self._crash_s = self.now_s + fraction * self._undisturbed_s()
        lived = self._live(day)
        self._pieces = lived if self._server.shared_links else _foreseen(lived)
        self.wake()

    def wake(self) -> None:
        """Note the piece that is over and begin the next one."""
        answer: Transfer | None = None
        if self._transfer is not None:
            answer, self._transfer, self._shared = self._transfer, None, None
        while True:
            if self._row is not None:
                self._server.timeline.append(self._row)
            piece = _next(self._pieces, answer)
            answer, self._row = None, None if isinstance(piece, Shared) else piece
            if piece is None:
                self._server.on_return(self)
                return
            if isinstance(piece, Shared):
                self._shared, self._transfer = piece, Transfer(*piece[1:], self)
                return
            if piece[END_S] > self._clock.now:
                self._clock.wake_at(piece[END_S], self)
                return

    def cut(self, end_s: float) -> None:
        """Note the piece under way, cut at the end of the run."""
        if self._shared is not None and self._transfer is not None:
            _, kind, start_s, _, _, modality, _, _, _ = self._shared.row
            moved = int(self._shared.num_bytes - self._transfer.bytes_left_at(end_s))
            self._server.timeline.add(self.client, cut_off(kind), start_s, end_s, self.version, modality, moved)
            return
        super().cut(end_s)

    def download(self, groups: tuple[str, ...] | None = None) -> Steps:
        """Receive the global model of the moment of dispatch; returns it."""
        yield from super().download(groups)
        return _Received(self)

    def upload(
        self, trained: Deferred, *, groups: tuple[str, ...] | None = None, group_bytes: int | None = None
    ) -> Steps:
        """Send parameter groups and the last task's report, again and again if need be."""
        spec = self._server.world.faults.upload_loss
        if spec is not None:
            num_lost = self._server.world.faults.num_lost_attempts(self.client, self.window)
            num_bytes, duration_s = self._upload_cost(self._groups if groups is None else groups, group_bytes)
            for attempt in range(min(num_lost, spec.max_attempts)):
                yield "upload_lost", duration_s, None, num_bytes, 0
                if attempt + 1 == spec.max_attempts:
                    self.fate = "gave up"
                    return
                yield "backoff", spec.backoff_s * spec.backoff_factor**attempt, None, 0, 0
        yield from super().upload(trained, groups=groups, group_bytes=group_bytes)

    @property
    def has_received(self) -> bool:
        """Whether the download came to its end."""
        return self._has_received

    @property
    def bytes_not_received(self) -> int:
        """What was moved of a download that was cut off."""
        return self._bytes_not_received

    @property
    def spent_s(self) -> float:
        """Device-seconds since the dispatch."""
        return self._clock.now - self.start_s - self._off_s

    def _submit(self, task: Task) -> Deferred:
        if self._rehearses:
            return _Rehearsed()
        if isinstance(task.start, _Received):
            task.start = self.received
        return super()._submit(task)

    def _undisturbed_s(self) -> float:
        """Return how long the day takes with nothing in its way: found by going through it without training."""
        kept = {name: getattr(self, name) for name in ("now_s", "arrivals_s", "broadcast", "_groups", "_report_bytes")}
        self._rehearses = True
        for _, duration_s, _, _, _ in self._server.day_of(self):
            self.now_s += duration_s
        length_s: float = self.now_s - kept["now_s"]
        for name, value in kept.items():
            setattr(self, name, value)
        self._rehearses, self.update, self.fate = False, None, None
        return length_s

    def _live(self, day: Steps) -> Lived:
        """Yield the pieces of a day."""
        for span in day:
            goes_on = yield from self._spend(span)
            if not goes_on:
                day.close()
                self.update = None
                return False
            if span[0] == "download":
                self._has_received, self._bytes_not_received = True, 0
        return True

    def _spend(self, span: Span) -> Lived:
        """Yield the pieces of one span."""
        kind, duration_s, _, num_bytes, _ = span
        work = what(kind)
        passes = work in _PASSES_BY_ITSELF
        direction: Direction | None = _DIRECTIONS.get(work)
        link = self._server.shared_links.get(direction) if direction else None
        latency_s, bytes_left, limit = 0.0, float(num_bytes), math.inf
        if link is not None and direction is not None:
            limit = self._server.world.links.bytes_per_s(self.client, direction, self.window)
            latency_s = max(0.0, duration_s - num_bytes / limit)
        finish_s, worked_s, share = self.now_s + duration_s, 0.0, 0.0
        while True:
            start_s, noted = self.now_s, share
            hindrance, until_s = self._way(start_s, is_transfer=direction is not None)
            if passes and start_s >= finish_s and hindrance is None:
                return True
            end_s = min(until_s, self._crash_s)
            if hindrance is not None:
                if end_s == math.inf:
                    self.fate = "left"
                    return False
                self.now_s = end_s
                if not passes:
                    finish_s += end_s - start_s
                if hindrance == "off":
                    self._off_s += end_s - start_s
                yield self._piece(span, hindrance, start_s, 0.0, 0.0)
                if self._is_lost(end_s, was_off=hindrance == "off"):
                    return False
                continue
            if link is not None:
                transfer = yield Shared(
                    self._piece(span, kind, start_s, 0, 0), link, latency_s, bytes_left, limit, end_s
                )
                self.now_s = end_s = self._clock.now
                latency_s, bytes_left, is_done = transfer.latency_left_s, transfer.bytes_left, transfer.is_through
                share = 1.0 if is_done else 1.0 - bytes_left / num_bytes
            else:
                is_done = finish_s <= end_s
                self.now_s = end_s = min(finish_s, end_s)
                worked_s += end_s - start_s
                share = 1.0 if is_done else min(1.0, worked_s / duration_s)
            if is_done:
                yield self._piece(span, kind, start_s, noted, 1.0)
                return True
            is_lost = self._is_lost(end_s)
            ending = "_lost" if is_lost else "_part"
            yield self._piece(span, kind.removesuffix("_lost") + ending, start_s, noted, share)
            if is_lost:
                return False

    def _way(self, at_s: float, *, is_transfer: bool) -> tuple[str | None, float]:
        """Return what is in the way at a moment and until when, or None and until when nothing is."""
        world = self._server.world
        off_s = math.inf
        if world.availability is not None:
            on_s = world.availability.next_on(self.client, at_s)
            if on_s > at_s:
                return "off", on_s
            off_s = at_s + world.availability.remaining_on(self.client, at_s)
        outages = world.faults.outages
        if not is_transfer or outages is None:
            return None, off_s
        back_s = outages.back_s(at_s)
        if back_s > at_s:
            return "stalled", min(back_s, off_s)
        return None, min(outages.away_s(at_s), off_s)

    def _is_lost(self, at_s: float, *, was_off: bool = False) -> bool:
        """Return whether the local round is over for good at the end of a piece, and note why."""
        availability = self._server.world.availability
        if at_s == self._crash_s:
            self.fate = "crashed"
        elif availability is not None and not was_off:
            on_s = availability.next_on(self.client, at_s)
            if on_s == math.inf:
                self.fate = "left"
            elif on_s > at_s and availability.policy == "lose":
                self.fate = "went off"
        return self.fate is not None

    def _piece(self, span: Span, kind: str, start_s: float, before: float, after: float) -> Row:
        """Return the row of a piece that ends now, between two shares of its span's bytes and FLOPs."""
        work, _, modality, num_bytes, flops = span
        moved = int(num_bytes * after) - int(num_bytes * before)
        if work == "download":
            self._bytes_not_received += moved
        return (
            self.client,
            kind,
            start_s,
            self.now_s,
            self.version,
            modality,
            moved,
            int(flops * after) - int(flops * before),
            None,
        )
