"""A run's timeline in the Trace Event Format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

A track per client, with a slice per span, and one for the server, with a slice per version of the global model. A flow
arrow leads from the version that a client downloads through its upload to the version that its update made. Counters
show accuracy, the staleness of merged updates and the number of arrived updates not merged, or not yet. Timestamps
are simulated microseconds.

The timeline is read part by part and events are passed on as they are found, so that the memory needed does not grow
with the run. Events of a track are in the order of time.
"""

import json
import math
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from interlude.analysis.activities import activity_label
from interlude.analysis.recorded import num_recorded
from interlude.simulator.record.reader import RunRecord

Event = dict[str, Any]
Row = Mapping[Any, Any]
"""A row of the timeline, by column."""

_SERVER, _CLIENTS = 1, 2  # process ids
_SERVER_TRACK = 1
_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Excerpt:
    """The part of a run that a trace shows; the counters of the server are those of all clients."""

    num_clients: int | None = None
    """The first so many clients; None: all."""
    start_s: float = 0.0
    end_s: float = math.inf
    """Simulated seconds; a span that lies partly inside is shown whole."""

    def shows(self, client: int, start_s: float, end_s: float) -> bool:
        """Return whether a client's span is shown."""
        return self.shows_time(start_s, end_s) and (self.num_clients is None or client < self.num_clients)

    def shows_time(self, start_s: float, end_s: float) -> bool:
        """Return whether something between two moments is shown."""
        return end_s >= self.start_s and start_s <= self.end_s


def trace_file(record: RunRecord, excerpt: Excerpt | None = None) -> Iterator[bytes]:
    """Yield the pieces of a trace's file, an event a line: the JSON object of the Trace Event Format.

    Args:
        record: the run; without accuracies (timing-only) there is no accuracy counter.
        excerpt: the part that is shown; None: all.
    """
    run = _name_of(record)
    head = json.dumps({"displayTimeUnit": "ms", "otherData": {"run": run, "clock": "simulated"}})
    yield f'{head[:-1]}, "traceEvents": [\n'.encode()
    separator = ""
    for event in trace_events(record, excerpt or Excerpt()):
        yield f"{separator}{json.dumps(event, separators=(',', ':'), allow_nan=False)}".encode()
        separator = ",\n"
    yield b"\n]}\n"


def trace_events(record: RunRecord, excerpt: Excerpt) -> Iterator[Event]:
    """Yield the events of a run: names of tracks, then slices, flows and counters."""
    num_clients = int(record.scenario["clients"]["count"])
    shown = [num_clients, excerpt.num_clients, num_recorded(record)]
    yield from _tracks(min(count for count in shown if count is not None), _name_of(record))
    yield from _accuracy(record.metrics, excerpt)
    server, flows = _Server(excerpt), _Flows()
    yield from server.begins()
    for part in record.timeline_parts():
        needed = _needed(part, excerpt)
        for first in range(0, len(needed), _ROWS_AT_ONCE):
            for row in needed.iloc[first : first + _ROWS_AT_ONCE].to_dict("records"):
                if row["activity"] == "merge":
                    yield from server.merges(row)
                    yield from flows.merged(row)
                    continue
                if row["activity"] == "upload" and row["outcome"] == "done":
                    yield from server.receives(row["end_s"])
                if excerpt.shows(row["client"], row["start_s"], row["end_s"]):
                    yield _client_slice(row)
                    yield from flows.continued(row)
    yield from server.ends(float(record.info["totals"]["simulated_s"]))
    yield from flows.unmerged()


def _needed(part: pd.DataFrame, excerpt: Excerpt) -> pd.DataFrame:
    """Return the rows that are shown, or that the server's counters count."""
    activity, outcome = part["activity"], part["outcome"]
    is_shown = (part["end_s"] >= excerpt.start_s) & (part["start_s"] <= excerpt.end_s)
    if excerpt.num_clients is not None:
        is_shown &= part["client"] < excerpt.num_clients
    found: pd.DataFrame = part[is_shown | (activity == "merge") | ((activity == "upload") & (outcome == "done"))]
    return found


def _name_of(record: RunRecord) -> str:
    return f"{record.scenario['name']}, {record.label}, seed {record.seed}"


def _tracks(num_clients: int, run: str) -> Iterator[Event]:
    yield _name("process_name", _SERVER, 0, f"server ({run})")
    yield _name("thread_name", _SERVER, _SERVER_TRACK, "global model")
    yield _name("process_name", _CLIENTS, 0, "clients")
    for client in range(num_clients):
        yield _name("thread_name", _CLIENTS, client + 1, f"client {client}")
        yield _event("thread_sort_index", "M", _CLIENTS, client + 1, args={"sort_index": client})


def _client_slice(row: Row) -> Event:
    args = {key: _plain(row[key]) for key in ("version", "modality", "bytes", "flops") if _has_value(key, row[key])}
    start_us, end_us = _microseconds(row["start_s"]), _microseconds(row["end_s"])
    duration_us = round(end_us - start_us, 3)
    return _event(_slice_name(row), "X", _CLIENTS, row["client"] + 1, ts=start_us, dur=duration_us, args=args)


def _slice_name(row: Row) -> str:
    """Return the name of a span, with its outcome where it was interrupted."""
    ending = {"done": "", "part": " (part)", "lost": " lost", "cut": " cut by the end"}[row["outcome"]]
    return activity_label(row["activity"], is_slow=row["is_slow"]) + ending


@dataclass
class _Server:
    """The server's slices, a version each, and its counters."""

    excerpt: Excerpt
    version: int = 0
    made_s: float = 0.0
    ages: list[int] = field(default_factory=list)
    """Staleness of the updates that made the version."""
    is_shown: bool = False
    """Whether the slice of the version has begun in the trace."""
    num_waiting: int = 0
    """Updates that have arrived and are not merged."""
    changed_s: float = 0.0

    def begins(self) -> Iterator[Event]:
        yield from self._show(self.made_s)

    def receives(self, at_s: float) -> Iterator[Event]:
        yield from self._passes(at_s)
        self.num_waiting += 1

    def merges(self, row: Row) -> Iterator[Event]:
        at_s = float(row["start_s"])
        yield from self._passes(at_s)
        if int(row["version"]) != self.version:
            yield from self._end_version(at_s)
            self.version, self.made_s, self.ages = int(row["version"]), at_s, []
            yield from self._show(at_s)
        self.ages.append(int(row["staleness"]))
        self.num_waiting -= 1

    def ends(self, end_s: float) -> Iterator[Event]:
        yield from self._passes(math.inf)
        yield from self._end_version(end_s)

    def _passes(self, until_s: float) -> Iterator[Event]:
        """Yield the number of waiting updates once all changes of a moment are known."""
        if until_s > self.changed_s:
            if self.excerpt.shows_time(self.changed_s, self.changed_s):
                yield _counter("buffer", self.changed_s, {"updates": self.num_waiting})
            self.changed_s = until_s

    def _show(self, until_s: float) -> Iterator[Event]:
        self.is_shown = self.made_s <= self.excerpt.end_s and until_s >= self.excerpt.start_s
        if self.is_shown:
            yield self._edge("B", self.made_s, {"version": self.version})

    def _end_version(self, end_s: float) -> Iterator[Event]:
        if not self.is_shown:
            yield from self._show(end_s)
        if self.is_shown:
            yield self._edge("E", end_s, {"updates_merged": len(self.ages)})
        if self.ages and self.excerpt.shows_time(self.made_s, self.made_s):
            yield _counter("staleness", self.made_s, {"versions": sum(self.ages) / len(self.ages)})

    def _edge(self, phase: str, at_s: float, args: Event) -> Event:
        return _event(f"version {self.version}", phase, _SERVER, _SERVER_TRACK, ts=_microseconds(at_s), args=args)


@dataclass
class _Flows:
    """The arrows: server at dispatch, upload at the client, server at the merge, if it was merged."""

    number: int = 0
    downloads: dict[int, Row] = field(default_factory=dict)
    """The last download of each client."""
    open: dict[tuple[int, int], deque[tuple[Event, float]]] = field(default_factory=lambda: defaultdict(deque))
    """Arrows that have reached an upload, by client and start version: what identifies one, and the upload's start."""

    def continued(self, row: Row) -> Iterator[Event]:
        """Yield the arrow of a client's upload."""
        client = int(row["client"])
        if row["outcome"] != "done":
            return
        if row["activity"] == "download":
            self.downloads[client] = row
        elif row["activity"] == "upload" and client in self.downloads:
            download = self.downloads.pop(client)
            self.number += 1
            args = {"id": self.number, "cat": "update"}
            yield _flow("s", _SERVER, _SERVER_TRACK, download["start_s"], args)
            yield _flow("t", _CLIENTS, client + 1, download["start_s"], args)
            self.open[client, int(row["version"])].append((args, float(row["start_s"])))

    def merged(self, row: Row) -> Iterator[Event]:
        """Yield the end of the arrow of a merged update, where it is shown."""
        client, start_version = int(row["client"]), int(row["version"]) - 1 - int(row["staleness"])
        waiting = self.open.get((client, start_version))
        if waiting is not None:
            args, upload_s = waiting.popleft()
            if not waiting:
                del self.open[client, start_version]
            yield _flow("t", _CLIENTS, client + 1, upload_s, args)
            yield _flow("f", _SERVER, _SERVER_TRACK, float(row["start_s"]), args)

    def unmerged(self) -> Iterator[Event]:
        """Yield the ends of the arrows of updates that were not merged, at their uploads."""
        for (client, _), waiting in self.open.items():
            for args, upload_s in waiting:
                yield _flow("f", _CLIENTS, client + 1, upload_s, args)


def _accuracy(metrics: pd.DataFrame, excerpt: Excerpt) -> Iterator[Event]:
    for row in metrics[metrics["metric"] == "accuracy"].to_dict("records"):
        if excerpt.shows_time(row["time_s"], row["time_s"]):
            yield _counter(f"accuracy {row['modality']}", row["time_s"], {"accuracy": float(row["value"])})


def _event(name: str, phase: str, process: int, track: int, **rest: Any) -> Event:
    return {"name": name, "ph": phase, "pid": process, "tid": int(track), **rest}


def _name(name: str, process: int, track: int, value: str) -> Event:
    return _event(name, "M", process, track, args={"name": value})


def _flow(phase: str, process: int, track: int, at_s: float, rest: Event) -> Event:
    bind = {"bp": "e"} if phase == "f" else {}
    return _event("update", phase, process, track, ts=_microseconds(at_s), **rest, **bind)


def _counter(name: str, at_s: float, values: Event) -> Event:
    return _event(name, "C", _SERVER, 0, ts=_microseconds(at_s), args=values)


def _microseconds(seconds: float) -> float:
    return round(float(seconds) * 1e6, 3)


def _has_value(key: str, value: Any) -> bool:
    return not pd.isna(value) and (value != 0 or key == "version")


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else int(value)
