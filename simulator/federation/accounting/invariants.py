"""Checks at the end of every run: a record that breaks one of them cannot be trusted.

The timeline is checked part by part, so that memory grows with clients and versions, and not with its rows.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from interlude.simulator.arrays import Floats, Indices
from interlude.simulator.errors import InterludeError
from interlude.simulator.world.availability import Availability

_TRANSFERS = ("download", "upload")
_TRAINING = ("train", "train_unimodal")
_INTERRUPTIONS = ("off", "stalled")
_NOT_WORK = ("off", "wait", "backoff")  # possible while the device is off
_MOST_SPANS = 5_000  # of a part, checked against availability one by one


class BrokenInvariantError(InterludeError):
    """An invariant is broken: a defect of Interlude or of a method, not of the scenario."""


def check(
    parts: Iterable[pd.DataFrame], num_clients: int, end_s: float, availability: Availability | None = None
) -> None:
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
        self._unmerged = pd.DataFrame({"client": [], "end_s": []}).astype({"client": int})  # uploads not merged yet

    def add(self, part: pd.DataFrame) -> None:
        """Check the next rows of the timeline.

        Args:
            part: rows in the timeline's order.

        Raises:
            BrokenInvariantError: naming the first row that breaks an invariant.
        """
        merges = part[part["activity"] == "merge"]
        spans = part[part["activity"] != "merge"].sort_values(["client", "start_s"], kind="stable")
        self._check_causality(spans, merges)
        self._check_each_client(spans)
        _none(spans[(spans["bytes"] < 0) | (spans["flops"] < 0)], "a negative cost")
        is_early = (spans["outcome"] == "cut") & (spans["end_s"] != self.end_s)
        _none(spans[is_early], "a span cut before the end of the run")
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

    def _check_each_client(self, spans: pd.DataFrame) -> None:
        """Check that each client's spans follow each other without holes and that work has costs."""
        client = spans["client"].to_numpy()
        stop_s = spans["end_s"].to_numpy()
        is_interruption = spans["activity"].isin(_INTERRUPTIONS).to_numpy()
        is_first = np.append(True, client[1:] != client[:-1])[: len(client)]
        is_last = np.append(is_first[1:], True)[: len(client)]
        before_s = np.where(is_first, self._until_s[client], np.append(0.0, stop_s[:-1])[: len(client)])
        is_continued = np.where(
            is_first, self._is_interrupted[client], np.append(False, is_interruption[:-1])[: len(client)]
        )
        if self.end_s > 0.0:
            holes = spans["start_s"].to_numpy() != before_s
            _none(spans[holes], "a span that overlaps the one before it or leaves a hole")
        self._until_s[client[is_last]] = stop_s[is_last]
        self._is_interrupted[client[is_last]] = is_interruption[is_last]
        self._is_seen[client] = True
        # A span that was interrupted has its costs in all its pieces; the last of them can be tiny.
        whole = spans[(spans["outcome"] == "done") & (stop_s < self.end_s) & ~is_continued]
        transfers = whole[whole["activity"].isin(_TRANSFERS)]
        _none(transfers[transfers["bytes"] <= 0], "a transfer of no bytes")
        training = whole[whole["activity"].isin(_TRAINING)]
        _none(training[training["flops"] <= 0], "training that costs nothing")

    def _check_causality(self, spans: pd.DataFrame, merges: pd.DataFrame) -> None:
        _none(merges[merges["staleness"] < 0], "an update merged before the version it started from")
        moments_s = merges["end_s"].to_numpy()
        _none(merges[np.diff(moments_s, prepend=self._merged_s) < 0], "a merge that goes back in time")
        if len(merges) > 0:
            self._merged_s = float(moments_s[-1])
            made_s = merges.groupby("version")["start_s"].min()
            self.made_s = _with_values(self.made_s, made_s.index.to_numpy(dtype=int), made_s.to_numpy())
        used = spans[spans["version"].fillna(0) > 0]
        version = used["version"].to_numpy(dtype=int)
        is_made = version < len(self.made_s)
        made_at_use_s = self.made_s[np.where(is_made, version, 0)]
        is_early = ~(is_made & (made_at_use_s <= used["start_s"].to_numpy()))
        _none(used[is_early], "a span on a version that did not exist yet")
        self._check_uploads(spans, merges)

    def _check_uploads(self, spans: pd.DataFrame, merges: pd.DataFrame) -> None:
        """Check that a client's n-th merge never comes before the end of its n-th upload."""
        is_update = (spans["activity"] == "upload") & (spans["outcome"] == "done")
        arrived = spans.loc[is_update, ["client", "end_s"]].sort_values("end_s", kind="stable")
        waiting = pd.concat([self._unmerged, arrived], ignore_index=True)
        turn = waiting.groupby("client").cumcount()
        received_s = waiting.set_index([waiting["client"], turn])["end_s"]
        order = pd.MultiIndex.from_arrays([merges["client"], merges.groupby("client").cumcount()])
        arrived_s = received_s.reindex(order).to_numpy(dtype=float)
        _none(merges[np.isnan(arrived_s)], "more updates merged than uploaded")
        _none(merges[arrived_s > merges["start_s"].to_numpy()], "an update merged before its upload ended")
        num_merged = waiting["client"].map(merges.groupby("client").size()).fillna(0)
        self._unmerged = waiting[turn >= num_merged]


def _with_values(array: Floats, places: Indices, values: Floats) -> Floats:
    """Return an array [V] with values at some places, longer where it must be; places without a value are NaN.

    A place that has a value keeps the smaller one.
    """
    longer = np.full(max(len(array), int(places.max()) + 1), np.nan)
    longer[: len(array)] = array
    longer[places] = np.fmin(longer[places], values)
    return longer


def _check_availability(spans: pd.DataFrame, availability: Availability | None) -> None:
    """Check, in rows evenly spread, that a client is off where the timeline says so and works only where it is on."""
    is_off = spans["activity"] == "off"
    if availability is None:
        _none(spans[is_off], "a client that is off where all are always on")
        return
    _none(_contrary(spans[is_off], availability, is_on=False), "a client that is on where the timeline says off")
    at_work = spans[~spans["activity"].isin(_NOT_WORK)]
    _none(_contrary(at_work, availability, is_on=True), "a client at work while it is off")


def _contrary(rows: pd.DataFrame, availability: Availability, *, is_on: bool) -> pd.DataFrame:
    """Return the rows, of at most `_MOST_SPANS`, in the middle of which availability contradicts `is_on`."""
    some = rows.iloc[:: 1 + len(rows) // _MOST_SPANS]
    middle_s = 0.5 * (some["start_s"] + some["end_s"])
    on = [availability.next_on(c, t) <= t for c, t in zip(some["client"].tolist(), middle_s.tolist(), strict=True)]
    contrary: pd.DataFrame = some[np.array(on, dtype=bool) != is_on]
    return contrary


def _none(broken: pd.DataFrame, what: str) -> None:
    if len(broken) > 0:
        row = broken.iloc[0]
        raise BrokenInvariantError(
            f"the timeline has {what}: client {row['client']}, {row['activity']}, "
            f"{row['start_s']} s to {row['end_s']} s ({len(broken)} such rows)"
        )
