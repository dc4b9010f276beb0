"""Checks at the end of every run: a record that breaks one of them cannot be trusted.

The timeline is checked part by part, so that memory grows with clients and versions, and not with its rows.
"""

from collections.abc import Iterable

import numpy as np

from interlude.simulator.arrays import Floats, Indices
from interlude.simulator.errors import InterludeError
from interlude.simulator.federation.accounting.rows import ACTIVITIES, Numbers, Rows
from interlude.simulator.world.availability import Availability

_MOST_SPANS = 5_000  # of a part, checked against availability one by one


class BrokenInvariantError(InterludeError):
    """An invariant is broken: a defect of Interlude or of a method, not of the scenario."""


def check(parts: Iterable[Rows], num_clients: int, end_s: float, availability: Availability | None = None) -> None:
    """Check the parts of a timeline, as `Audit` does.

    Raises:
        BrokenInvariantError: naming the first row that breaks an invariant.
    """
    audit = Audit(num_clients, availability)
    audit.end_s = end_s
    for part in parts:
        audit.add(part)
    audit.finish()


class Audit:
    """Checks that time is conserved, causes precede effects, work has costs, and a client that is off does not work.

    Args:
        num_clients: clients in the world.
        availability: when clients are on; None: always.
    """

    def __init__(self, num_clients: int, availability: Availability | None = None) -> None:
        self.end_s = np.inf
        """Simulated seconds at the end of the run; infinite until it is over."""
        self._availability = availability
        self._until_s = np.zeros(num_clients)  # the end of each client's last span
        self._is_seen = np.zeros(num_clients, dtype=bool)
        self._is_interrupted = np.zeros(num_clients, dtype=bool)  # its last span is an interruption
        self._merged_s = 0.0  # the moment of the last merge
        self.made_s: Floats = np.zeros(1)
        """The simulated second at which each version was made, [V]."""
        # uploads not merged yet, by client, and a client's in the order in which they are merged
        self._unmerged_client: Numbers = np.zeros(0, dtype=np.int32)
        self._unmerged_s = np.zeros(0)  # their ends

    def add(self, rows: Rows) -> None:
        """Check the next rows of the timeline.

        Args:
            rows: in the timeline's order.

        Raises:
            BrokenInvariantError: naming the first row that breaks an invariant.
        """
        is_merge = rows.do("merge")
        places = np.flatnonzero(~is_merge)
        places = places[_in_order(rows.client[places], rows.start_s[places])]
        spans, merges = rows.take(places), rows.where(is_merge)
        self._check_causality(spans, merges)
        self._check_each_client(spans)
        _none(spans.where((spans.num_bytes < 0) | (spans.flops < 0)), "a negative cost")
        is_early = spans.ended("cut") & (spans.end_s != self.end_s)
        _none(spans.where(is_early), "a span cut before the end of the run")
        _check_availability(spans, self._availability)

    def finish(self) -> None:
        """Check what only the whole timeline tells.

        Raises:
            BrokenInvariantError: if a client has no timeline, or its time does not end with the run.
        """
        if self.end_s == 0.0:
            return
        num_seen, num_clients = int(self._is_seen.sum()), len(self._is_seen)
        if num_seen != num_clients:
            raise BrokenInvariantError(f"{num_clients} clients exist, {num_seen} have a timeline")
        open_end = np.flatnonzero(self._until_s != self.end_s)
        if len(open_end) > 0:
            raise BrokenInvariantError(
                f"the timeline has a client whose time does not end with the run: client {open_end[0]} ends at "
                f"{self._until_s[open_end[0]]} s of {self.end_s} s ({len(open_end)} such clients)"
            )

    def _check_each_client(self, spans: Rows) -> None:
        """Check that each client's spans follow each other without holes and that work has costs."""
        client, stop_s = spans.client, spans.end_s
        is_interruption = spans.do("off", "stalled")
        is_first = np.append(True, client[1:] != client[:-1])[: len(client)]
        is_last = np.append(is_first[1:], True)[: len(client)]
        before_s = np.where(is_first, self._until_s[client], np.append(0.0, stop_s[:-1])[: len(client)])
        is_continued = np.where(
            is_first, self._is_interrupted[client], np.append(False, is_interruption[:-1])[: len(client)]
        )
        if self.end_s > 0.0:
            _none(spans.where(spans.start_s != before_s), "a span that overlaps the one before it or leaves a hole")
        self._until_s[client[is_last]] = stop_s[is_last]
        self._is_interrupted[client[is_last]] = is_interruption[is_last]
        self._is_seen[client] = True
        # A span that was interrupted has its costs in all its pieces; the last of them can be tiny.
        is_whole = spans.ended("done") & (stop_s < self.end_s) & ~is_continued
        is_transfer, is_training = spans.do("download", "upload"), spans.do("train", "train_unimodal")
        _none(spans.where(is_whole & is_transfer & (spans.num_bytes <= 0)), "a transfer of no bytes")
        _none(spans.where(is_whole & is_training & (spans.flops <= 0)), "training that costs nothing")

    def _check_causality(self, spans: Rows, merges: Rows) -> None:
        _none(merges.where(merges.staleness < 0), "an update merged before the version it started from")
        is_back = np.diff(merges.end_s, prepend=self._merged_s) < 0
        _none(merges.where(is_back), "a merge that goes back in time")
        if len(merges) > 0:
            self._merged_s = float(merges.end_s[-1])
            self.made_s = _with_values(self.made_s, merges.version, merges.start_s)
        is_made = spans.version < len(self.made_s)
        made_s = self.made_s[np.where(is_made, spans.version, 0)]
        is_early = (spans.version > 0) & ~(is_made & (made_s <= spans.start_s))
        _none(spans.where(is_early), "a span on a version that did not exist yet")
        self._check_uploads(spans.where(spans.do("upload") & spans.ended("done")), merges)

    def _check_uploads(self, uploads: Rows, merges: Rows) -> None:
        """Check that a client's n-th merge never comes before the end of its n-th upload."""
        arrived = uploads.take(_in_order(uploads.client, uploads.end_s))
        client = np.append(self._unmerged_client, arrived.client)
        order = _by_client(client)
        client, end_s = client[order], np.append(self._unmerged_s, arrived.end_s)[order]
        order = _by_client(merges.client)
        merged = merges.client[order]
        turn = np.arange(len(merged)) - np.searchsorted(merged, merged)
        place = np.searchsorted(client, merged) + turn
        has_arrived = place < np.searchsorted(client, merged, side="right")
        place, order = place[has_arrived], order[has_arrived]
        arrived_s = np.full(len(merges), np.nan)
        arrived_s[order] = end_s[place]
        _none(merges.where(np.isnan(arrived_s)), "more updates merged than uploaded")
        _none(merges.where(arrived_s > merges.start_s), "an update merged before its upload ended")
        self._unmerged_client, self._unmerged_s = np.delete(client, place), np.delete(end_s, place)


def _by_client(client: Numbers) -> Indices:
    """Return the places of rows by client, a client's rows in their order, [R]."""
    narrow = np.min_scalar_type(client.max(initial=0))  # of 16 bits or less: NumPy sorts them much faster
    return np.argsort(client.astype(narrow), kind="stable")


def _in_order(client: Numbers, moment_s: Floats) -> Indices:
    """Return the places of rows by client and moment, those that tie in their order, [R]."""
    order = _by_client(client)
    client_before, moment_before_s = client[order], moment_s[order]
    is_back = (client_before[1:] == client_before[:-1]) & (moment_before_s[1:] < moment_before_s[:-1])
    return np.lexsort((moment_s, client)) if is_back.any() else order  # a sound timeline needs no second sort


def _with_values(array: Floats, places: Numbers, values: Floats) -> Floats:
    """Return an array [V] with values at some places, longer where it must be; places without a value are NaN.

    A place that has several values, or one already, keeps the smallest.
    """
    longer = np.full(max(len(array), int(places.max()) + 1), np.nan)
    longer[: len(array)] = array
    np.fmin.at(longer, places, values)
    return longer


def _check_availability(spans: Rows, availability: Availability | None) -> None:
    """Check, in rows evenly spread, that a client is off where the timeline says so and works only where it is on."""
    off = spans.where(spans.do("off"))
    if availability is None:
        _none(off, "a client that is off where all are always on")
        return
    _none(_contrary(off, availability, is_on=False), "a client that is on where the timeline says off")
    at_work = spans.where(~spans.do("off", "wait", "backoff"))  # which are possible while the device is off
    _none(_contrary(at_work, availability, is_on=True), "a client at work while it is off")


def _contrary(rows: Rows, availability: Availability, *, is_on: bool) -> Rows:
    """Return the rows, of at most `_MOST_SPANS`, in the middle of which availability contradicts `is_on`."""
    some = rows.take(np.arange(0, len(rows), 1 + len(rows) // _MOST_SPANS))
    middle_s = 0.5 * (some.start_s + some.end_s)
    on = [availability.next_on(c, t) <= t for c, t in zip(some.client.tolist(), middle_s.tolist(), strict=True)]
    return some.where(np.array(on, dtype=bool) != is_on)


def _none(broken: Rows, what: str) -> None:
    if len(broken) > 0:
        raise BrokenInvariantError(
            f"the timeline has {what}: client {broken.client[0]}, {ACTIVITIES[broken.activity[0]]}, "
            f"{broken.start_s[0]} s to {broken.end_s[0]} s ({len(broken)} such rows)"
        )
