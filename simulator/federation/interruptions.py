"""Interruptions of a client's day: devices go off or die, uploads get lost, the server is away, links are shared.

All of them but a shared link are known ahead, so a day is simulated to its next transfer through one, or to its end. A
span that is held up is cut into pieces: all but the last have the outcome ``part``, and between them the client is
``off`` or, in a transfer during an outage, ``stalled``. A span that is abandoned has the outcome ``lost``. Waiting for
data and pausing between attempts continue whether the device is on or not.
"""

import math
from collections.abc import Generator, Iterator, Mapping
from typing import Literal, NamedTuple

from interlude.simulator.federation.dispatch import MEETING, Dispatch, PendingUpdate, Span, Steps
from interlude.simulator.federation.shared_link import SharedLink, Transfer
from interlude.simulator.federation.timeline import Activity, Outcome, SpanRow
from interlude.simulator.world.network import Direction
from interlude.simulator.world.world import World

Reason = Literal["broke off", "gave up", "crashed", "went off", "left"]
"""Why a local round ended without an update."""

_PASSES_BY_ITSELF = frozenset({"wait", "backoff"})
_DIRECTIONS: Mapping[str, Direction] = {"download": "down", "upload": "up"}


class Ending(NamedTuple):
    """How a day ended."""

    update: PendingUpdate | None
    reason: Reason | None = None
    """Why it was lost; None where it was not, or had nothing to send."""
    off_s: float = 0.0
    """Simulated seconds that the device was off."""
    bytes_not_received: int = 0
    """Bytes received of a download that was cut off."""
    has_received: bool = True
    """Whether the download was completed."""
    end_s: float = 0.0
    """When it ended, in simulated seconds."""
    is_over: bool = True
    """Whether it has ended; false where it pauses for a meeting."""


class Crossing(NamedTuple):
    """A piece of a transfer through a shared link, whose end depends on the other transfers in it."""

    row: SpanRow
    """The piece and its start; its end is not known."""
    link: SharedLink
    latency_s: float
    num_bytes: float
    limit: float
    """Bytes per second of the client's own link."""
    until_s: float
    """When another interruption cuts it off, in simulated seconds."""


Life = Generator[SpanRow | Crossing | Span, Transfer | None, Ending]
"""Yields rows, crossings, for which it is sent the finished transfer, and meetings; returns how the day ended."""


class Attempt(NamedTuple):
    """A span, and its outcome by the draws of its upload."""

    span: Span
    outcome: Outcome = "done"
    ends_by: Reason | None = None
    """Why the day ends with it; None if it continues."""


def attempts(span: Span, world: World, client: int, window: int) -> Iterator[Attempt]:
    """Yield a span; for an upload, the lost attempts, the pauses after them, and the last attempt."""
    if span.activity != "upload":
        yield Attempt(span)
        return
    spec = world.faults.upload_loss
    if spec is not None:
        for attempt in range(min(world.faults.num_lost_attempts(client, window), spec.max_attempts)):
            is_last = attempt + 1 == spec.max_attempts
            yield Attempt(span._replace(update=None), "lost", "gave up" if is_last else None)
            if is_last:
                return
            yield Attempt(Span("backoff", spec.backoff_s * spec.backoff_factor**attempt))
    fraction = world.faults.upload_fraction(client, window)
    if fraction < 1.0:
        cut = Span("upload", fraction * span.duration_s, None, int(fraction * span.num_bytes))
        yield Attempt(cut, "lost", "broke off")
    else:
        yield Attempt(span)


def undisturbed_s(steps: Steps, world: World, dispatch: Dispatch) -> float:
    """Return the undisturbed duration of a day, lost uploads included, in simulated seconds.

    Args:
        steps: the day; it is consumed.
        world: draws which uploads get lost.
        dispatch: the client of the day; its time advances.
    """
    for span in steps:
        for attempt in attempts(span, world, dispatch.client, dispatch.window):
            dispatch.now_s += attempt.span.duration_s
    return dispatch.now_s - dispatch.start_s


class Interruptions:
    """One local round of one client in a world with interruptions.

    Args:
        world: draws the interruptions.
        links: the server's own links, where transfers share them.
        dispatch: which client, which window, from which version.
        crash_s: when the device dies; infinite if it does not.
    """

    def __init__(self, world: World, links: Mapping[Direction, SharedLink], dispatch: Dispatch, crash_s: float) -> None:
        self._world = world
        self._links = links
        self._dispatch = dispatch
        self._crash_s = crash_s
        self._is_calm = world.availability is None and world.faults.outages is None and crash_s == math.inf
        """Whether only a shared link or a lost upload can interrupt a span."""
        self._now_s = dispatch.start_s
        self._reason: Reason | None = None
        self._off_s = 0.0
        self._bytes_not_received = 0
        self._has_received = False

    def life(self, steps: Steps) -> Life:
        """Simulate a day."""
        update: PendingUpdate | None = None
        for span in steps:
            if span is MEETING:
                yield span
                continue
            if self._is_calm and span.activity != "upload" and _DIRECTIONS.get(span.activity) not in self._links:
                start_s, self._now_s = self._now_s, self._now_s + span.duration_s
                yield self._row(span.activity, "done", span.is_slow, start_s, span, span.num_bytes, span.flops)
                self._has_received = self._has_received or span.activity == "download"
                self._dispatch.now_s = self._now_s
                continue
            for attempt in attempts(span, self._world, self._dispatch.client, self._dispatch.window):
                is_over = not (yield from self._spend(attempt.span, attempt.outcome))
                if is_over or attempt.ends_by is not None:
                    self._reason = self._reason or attempt.ends_by
                    return self._ending(None)
            if span.activity == "download":
                self._has_received, self._bytes_not_received = True, 0
            update = span.update or update
            self._dispatch.now_s = self._now_s
        return self._ending(update)

    def _ending(self, update: PendingUpdate | None) -> Ending:
        return Ending(update, self._reason, self._off_s, self._bytes_not_received, self._has_received, self._now_s)

    def _spend(self, span: Span, outcome: Outcome) -> Generator[SpanRow | Crossing, Transfer | None, bool]:
        """Yield the pieces of one span; returns whether the day continues."""
        activity, duration_s, num_bytes = span.activity, span.duration_s, span.num_bytes
        passes = activity in _PASSES_BY_ITSELF
        direction = _DIRECTIONS.get(activity)
        link = self._links.get(direction) if direction else None
        latency_s, bytes_left, limit = 0.0, float(num_bytes), math.inf
        if link is not None and direction is not None:
            limit = self._world.links.bytes_per_s(self._dispatch.client, direction, self._dispatch.window)
            latency_s = max(0.0, duration_s - num_bytes / limit)
        finish_s, worked_s, share = self._now_s + duration_s, 0.0, 0.0
        while True:
            start_s, noted = self._now_s, share
            hindrance, until_s = self._hindrance(start_s, is_transfer=direction is not None)
            if passes and start_s >= finish_s and hindrance is None:
                return True
            end_s = min(until_s, self._crash_s)
            if hindrance is not None:
                if end_s == math.inf:
                    self._reason = "left"
                    return False
                self._now_s = end_s
                if not passes:
                    finish_s += end_s - start_s
                if hindrance == "off":
                    self._off_s += end_s - start_s
                yield self._held_up(span, hindrance, start_s)
                if self._is_lost(end_s, was_off=hindrance == "off"):
                    return False
                continue
            if link is not None:
                row = self._piece(span, outcome, start_s, 0.0, 0.0)
                transfer = yield Crossing(row, link, latency_s, bytes_left, limit, end_s)
                assert transfer is not None, "the answer to a crossing is its transfer"
                self._now_s = end_s = link.clock.now
                latency_s, bytes_left, is_done = transfer.latency_left_s, transfer.bytes_left, transfer.is_through
                share = 1.0 if is_done else 1.0 - bytes_left / num_bytes
            else:
                is_done = finish_s <= end_s
                self._now_s = end_s = min(finish_s, end_s)
                worked_s += end_s - start_s
                share = 1.0 if is_done else min(1.0, worked_s / duration_s)
            if is_done:
                yield self._piece(span, outcome, start_s, noted, 1.0)
                return True
            is_lost = self._is_lost(end_s)
            yield self._piece(span, "lost" if is_lost else "part", start_s, noted, share)
            if is_lost:
                return False

    def _hindrance(self, at_s: float, *, is_transfer: bool) -> tuple[Literal["off", "stalled"] | None, float]:
        """Return the interruption at a moment and its end, or None and the start of the next one."""
        off_s = math.inf
        if self._world.availability is not None:
            on_s = self._world.availability.next_on(self._dispatch.client, at_s)
            if on_s > at_s:
                return "off", on_s
            off_s = at_s + self._world.availability.remaining_on(self._dispatch.client, at_s)
        outages = self._world.faults.outages
        if not is_transfer or outages is None:
            return None, off_s
        back_s = outages.back_s(at_s)
        if back_s > at_s:
            return "stalled", min(back_s, off_s)
        return None, min(outages.away_s(at_s), off_s)

    def _is_lost(self, at_s: float, *, was_off: bool = False) -> bool:
        """Return whether the local round is abandoned at the end of a piece, and record why."""
        availability = self._world.availability
        if at_s == self._crash_s:
            self._reason = "crashed"
        elif availability is not None and not was_off:
            on_s = availability.next_on(self._dispatch.client, at_s)
            if on_s == math.inf:
                self._reason = "left"
            elif on_s > at_s and availability.policy == "lose":
                self._reason = "went off"
        return self._reason is not None

    def _held_up(self, span: Span, hindrance: Literal["off", "stalled"], start_s: float) -> SpanRow:
        """Return the row of an interruption of a span, which ends now."""
        return self._row(hindrance, "done", False, start_s, span, 0, 0)

    def _piece(self, span: Span, outcome: Outcome, start_s: float, before: float, after: float) -> SpanRow:
        """Return the row of a piece that ends now, between two shares of its span's bytes and FLOPs."""
        moved = int(span.num_bytes * after) - int(span.num_bytes * before)
        if span.activity == "download":
            self._bytes_not_received += moved
        flops = int(span.flops * after) - int(span.flops * before)
        return self._row(span.activity, outcome, span.is_slow, start_s, span, moved, flops)

    def _row(
        self,
        activity: Activity,
        outcome: Outcome,
        is_slow: bool,
        start_s: float,
        span: Span,
        num_bytes: int,
        flops: int,
    ) -> SpanRow:
        dispatch = self._dispatch
        return SpanRow(
            dispatch.client,
            activity,
            outcome,
            is_slow,
            start_s,
            self._now_s,
            dispatch.version if span.version is None else span.version,
            span.modality,
            num_bytes,
            flops,
            None,
        )
