"""A run's timeline in the Trace Event Format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

A track per client, with a slice per span, and one for the server, with a slice per version of the global model. A flow
arrow leads from the version that a client downloads through its upload to the version that its update made. Counters
show accuracy, the staleness of merged updates and the number of arrived updates not merged, or not yet. Timestamps
are simulated microseconds.
"""

import json
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

import pandas as pd

from interlude.analysis.activities import activity_label
from interlude.simulator.record.reader import RunRecord

Event = dict[str, Any]

_SERVER, _CLIENTS = 1, 2  # process ids
_SERVER_TRACK = 1


def chrome_trace(record: RunRecord) -> dict[str, Any]:
    """Return a run's timeline as the JSON object of the Trace Event Format; events are in the order of time.

    Args:
        record: the run; without accuracies (timing-only) there is no accuracy counter.
    """
    timeline = record.timeline.sort_values("start_s", kind="stable")
    spans, merges = timeline[timeline["activity"] != "merge"], timeline[timeline["activity"] == "merge"]
    end_s = float(record.info["totals"]["simulated_s"])
    timed = [
        *_client_slices(spans),
        *_version_slices(merges, end_s),
        *_flows(spans, merges),
        *_staleness(merges),
        *_waiting_updates(spans, merges),
        *_accuracy(record.metrics),
    ]
    timed.sort(key=lambda event: event["ts"])  # stable: slices come before the flows that bind to them
    run = f"{record.scenario['name']}, {record.label}, seed {record.seed}"
    return {
        "displayTimeUnit": "ms",
        "otherData": {"run": run, "clock": "simulated"},
        "traceEvents": [*_tracks(sorted(int(client) for client in spans["client"].unique()), run), *timed],
    }


def to_json(trace: dict[str, Any]) -> bytes:
    """Return a trace as a file's bytes, an event a line."""
    head = {key: value for key, value in trace.items() if key != "traceEvents"}
    events = ",\n".join(json.dumps(event, separators=(",", ":"), allow_nan=False) for event in trace["traceEvents"])
    return f'{json.dumps(head)[:-1]}, "traceEvents": [\n{events}\n]}}\n'.encode()


def _tracks(clients: list[int], run: str) -> Iterator[Event]:
    yield _name("process_name", _SERVER, 0, f"server ({run})")
    yield _name("thread_name", _SERVER, _SERVER_TRACK, "global model")
    yield _name("process_name", _CLIENTS, 0, "clients")
    for client in clients:
        yield _name("thread_name", _CLIENTS, client + 1, f"client {client}")
        yield _event("thread_sort_index", "M", _CLIENTS, client + 1, args={"sort_index": client})


def _client_slices(spans: pd.DataFrame) -> Iterator[Event]:
    for row in spans.to_dict("records"):
        args = {key: _plain(row[key]) for key in ("version", "modality", "bytes", "flops") if _has_value(key, row[key])}
        name = _slice_name(row["activity"], row["outcome"], is_slow=row["is_slow"])
        yield _slice(name, _CLIENTS, row["client"] + 1, row["start_s"], row["end_s"], args)


def _slice_name(activity: str, outcome: str, *, is_slow: bool) -> str:
    """Return the name of a span, with its outcome where it was interrupted."""
    ending = {"done": "", "part": " (part)", "lost": " lost"}[outcome]
    return activity_label(activity, is_slow=is_slow) + ending


def _version_slices(merges: pd.DataFrame, end_s: float) -> Iterator[Event]:
    made_s = {0: 0.0, **{int(row["version"]): float(row["start_s"]) for row in merges.to_dict("records")}}
    merged = merges.groupby("version").size()
    versions = sorted(made_s)
    for version, following in zip(versions, [*versions[1:], None], strict=True):
        until_s = end_s if following is None else made_s[following]
        args = {"version": version, "updates_merged": int(merged.get(version, 0))}
        yield _slice(f"version {version}", _SERVER, _SERVER_TRACK, made_s[version], until_s, args)


def _flows(spans: pd.DataFrame, merges: pd.DataFrame) -> Iterator[Event]:
    """Yield the arrows: server at dispatch, upload at the client, server at the merge, if it was merged."""
    merged: dict[tuple[int, int], deque[float]] = defaultdict(deque)
    for row in merges.to_dict("records"):
        start_version = int(row["version"]) - 1 - int(row["staleness"])
        merged[int(row["client"]), start_version].append(float(row["start_s"]))
    downloads: dict[int, Any] = {}
    number = 0
    for row in spans.to_dict("records"):
        client = int(row["client"])
        if row["outcome"] != "done":
            continue
        if row["activity"] == "download":
            downloads[client] = row
        elif row["activity"] == "upload" and client in downloads:
            download = downloads.pop(client)
            number += 1
            args = {"id": number, "cat": "update"}
            yield _flow("s", _SERVER, _SERVER_TRACK, download["start_s"], args)
            yield _flow("t", _CLIENTS, client + 1, download["start_s"], args)
            waiting = merged[client, int(download["version"])]
            if waiting:
                yield _flow("t", _CLIENTS, client + 1, row["start_s"], args)
                yield _flow("f", _SERVER, _SERVER_TRACK, waiting.popleft(), args)
            else:
                yield _flow("f", _CLIENTS, client + 1, row["start_s"], args)


def _staleness(merges: pd.DataFrame) -> Iterator[Event]:
    for at_s, staleness in merges["staleness"].astype(float).groupby(merges["start_s"]).mean().items():
        yield _counter("staleness", float(str(at_s)), {"versions": float(staleness)})


def _waiting_updates(spans: pd.DataFrame, merges: pd.DataFrame) -> Iterator[Event]:
    """Yield the number of arrived updates that are not merged: the level of a buffer, or of a barrier."""
    uploads = spans.loc[(spans["activity"] == "upload") & (spans["outcome"] == "done"), "end_s"]
    changes = pd.concat([pd.Series(1, uploads), pd.Series(-1, merges["start_s"])]).groupby(level=0).sum().cumsum()
    yield _counter("buffer", 0.0, {"updates": 0})
    for at_s, level in changes.items():
        yield _counter("buffer", float(str(at_s)), {"updates": int(level)})


def _accuracy(metrics: pd.DataFrame) -> Iterator[Event]:
    accuracy = metrics[metrics["metric"] == "accuracy"]
    for row in accuracy.to_dict("records"):
        yield _counter(f"accuracy {row['modality']}", row["time_s"], {"accuracy": float(row["value"])})


def _event(name: str, phase: str, process: int, track: int, **rest: Any) -> Event:
    return {"name": name, "ph": phase, "pid": process, "tid": int(track), **rest}


def _name(name: str, process: int, track: int, value: str) -> Event:
    return _event(name, "M", process, track, args={"name": value})


def _slice(name: str, process: int, track: int, start_s: float, end_s: float, args: Event) -> Event:
    start_us, end_us = _microseconds(start_s), _microseconds(end_s)
    return _event(name, "X", process, track, ts=start_us, dur=round(end_us - start_us, 3), args=args)


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
