"""Checks at the end of every run: a record that breaks one of them cannot be trusted."""

import numpy as np
import pandas as pd

from interlude.simulator.errors import InterludeError
from interlude.simulator.world.availability import Availability

_TRANSFERS = ("download", "upload")
_TRAINING = ("train", "train_unimodal")
_INTERRUPTIONS = ("off", "stalled")
_NOT_WORK = ("off", "wait", "backoff")  # possible while the device is off
_MOST_SPANS = 20_000  # checked against availability, one by one


class BrokenInvariantError(InterludeError):
    """An invariant is broken: a defect of Interlude or of a method, not of the scenario."""


def check(timeline: pd.DataFrame, num_clients: int, end_s: float, availability: Availability | None = None) -> None:
    """Check that time is conserved, causes precede effects, work has costs, and a client that is off does not work.

    Args:
        timeline: all rows of a run.
        num_clients: clients in the world.
        end_s: simulated seconds at the end of the run.
        availability: when clients are on; None: always.

    Raises:
        BrokenInvariantError: naming the first row that breaks an invariant.
    """
    merges = timeline[timeline["activity"] == "merge"]
    spans = timeline[timeline["activity"] != "merge"]
    if end_s > 0.0:
        _check_time_is_conserved(spans, num_clients, end_s)
    _check_causality(spans, merges)
    # A span that was interrupted has its costs in all its pieces; the last of them can be tiny.
    before = spans.sort_values(["client", "start_s"], kind="stable").groupby("client")["activity"].shift()
    is_continued = before.reindex(spans.index).isin(_INTERRUPTIONS)
    whole = spans[(spans["outcome"] == "done") & (spans["end_s"] < end_s) & ~is_continued]
    transfers = whole[whole["activity"].isin(_TRANSFERS)]
    _none(transfers[transfers["bytes"] <= 0], "a transfer of no bytes")
    training = whole[whole["activity"].isin(_TRAINING)]
    _none(training[training["flops"] <= 0], "training that costs nothing")
    _none(spans[(spans["bytes"] < 0) | (spans["flops"] < 0)], "a negative cost")
    _check_availability(spans, availability)


def _check_time_is_conserved(spans: pd.DataFrame, num_clients: int, end_s: float) -> None:
    ordered = spans.sort_values(["client", "start_s"], kind="stable")
    client = ordered["client"].to_numpy()
    start_s, stop_s = ordered["start_s"].to_numpy(), ordered["end_s"].to_numpy()
    if len(np.unique(client)) != num_clients:
        raise BrokenInvariantError(f"{num_clients} clients exist, {len(np.unique(client))} have a timeline")
    is_first = np.append(True, client[1:] != client[:-1])
    is_last = np.append(is_first[1:], True)
    expected_start_s = np.where(is_first, 0.0, np.append(0.0, stop_s[:-1]))
    _none(ordered[start_s != expected_start_s], "a span that overlaps the one before it or leaves a hole")
    _none(ordered[is_last & (stop_s != end_s)], "a client whose time does not end with the run")


def _check_causality(spans: pd.DataFrame, merges: pd.DataFrame) -> None:
    _none(merges[merges["staleness"] < 0], "an update merged before the version it started from")
    _none(merges[merges["end_s"].diff() < 0], "a merge that goes back in time")
    made_s = merges.groupby("version")["start_s"].min()
    used = spans[spans["version"].fillna(0) > 0]
    made_at_use_s = made_s.reindex(used["version"]).to_numpy(dtype=float)
    _none(used[~(made_at_use_s <= used["start_s"].to_numpy())], "a span on a version that did not exist yet")
    is_update = (spans["activity"] == "upload") & (spans["outcome"] == "done")
    uploads = spans[is_update].sort_values("end_s", kind="stable")
    # An update is merged once, after its upload: a client's n-th merge never comes before the end of its n-th upload.
    received_s = uploads.set_index([uploads["client"], uploads.groupby("client").cumcount()])["end_s"]
    order = pd.MultiIndex.from_arrays([merges["client"], merges.groupby("client").cumcount()])
    arrived_s = received_s.reindex(order).to_numpy(dtype=float)
    _none(merges[np.isnan(arrived_s)], "more updates merged than uploaded")
    _none(merges[arrived_s > merges["start_s"].to_numpy()], "an update merged before its upload ended")


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
