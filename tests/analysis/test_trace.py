"""The trace against the Trace Event Format: keys by phase, order, paired flows; and against the timeline itself."""

import json
from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from interlude.analysis.trace import Excerpt, trace_events, trace_file

# what the format requires of each phase that is used, beside name, ph, pid and tid
KEYS = {
    "X": {"ts", "dur", "args"},
    "B": {"ts", "args"},
    "E": {"ts", "args"},
    "M": {"args"},
    "C": {"ts", "args"},
    "s": {"ts", "id", "cat"},
    "t": {"ts", "id", "cat"},
    "f": {"ts", "id", "cat", "bp"},
}


@pytest.fixture(scope="module", params=["fedavg", "mba"])
def record(request, trained):
    return next(record for record in trained if record.label == request.param)


@pytest.fixture(scope="module")
def events(record):
    return json.loads(b"".join(trace_file(record)))["traceEvents"]


def of(events, phase):
    return [event for event in events if event["ph"] == phase]


def test_every_event_has_the_keys_of_its_phase(events):
    for event in events:
        assert {"name", "ph", "pid", "tid"} | KEYS[event["ph"]] <= event.keys()
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
    for counter in of(events, "C"):
        assert all(isinstance(value, int | float) for value in counter["args"].values())


def slices_by_track(events):
    """Return the (start, end) of the slices of each track, in the order of the file."""
    tracks = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            tracks[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    begins, ends = of(events, "B"), of(events, "E")
    assert [event["name"] for event in begins] == [event["name"] for event in ends]
    for begin, end in zip(begins, ends, strict=True):
        tracks[begin["pid"], begin["tid"]].append((begin["ts"], end["ts"]))
    return tracks


def test_no_slice_is_negative_and_counters_are_in_the_order_of_time(events):
    assert all(0 <= start <= end for slices in slices_by_track(events).values() for start, end in slices)
    for name in {event["name"] for event in of(events, "C")}:
        times = [event["ts"] for event in of(events, "C") if event["name"] == name]
        assert times == sorted(times)


def test_every_span_is_a_slice_on_its_clients_track(events, record):
    spans = record.timeline[record.timeline["activity"] != "merge"]
    names = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == "thread_name"}
    slices = Counter({names[track]: len(slices) for track, slices in slices_by_track(events).items()})
    expected = spans.groupby("client").size()
    assert {f"client {client}": number for client, number in expected.items()}.items() <= slices.items()
    assert slices["global model"] == record.info["totals"]["versions"] + 1


def test_slices_of_a_track_do_not_overlap(events):
    for slices in slices_by_track(events).values():
        assert all(end <= start + 0.01 for (_, end), (start, _) in pairwise(slices))


def test_flows_are_paired_and_lead_forward_from_slice_to_slice(events):
    flows = defaultdict(list)
    for event in events:
        if event["ph"] in "stf":
            flows[event["id"]].append(event)
    slices = slices_by_track(events)
    for steps in flows.values():
        assert [step["ph"] for step in steps] in (["s", "t", "t", "f"], ["s", "t", "f"])
        for step in steps:
            assert any(start <= step["ts"] <= end for start, end in slices[step["pid"], step["tid"]])


def ends_at_versions(events):
    """Return the moments at which arrows end at the server, in order."""
    server = next(
        event["pid"] for event in events if event["args" if "args" in event else "ph"] == {"name": "global model"}
    )
    return sorted(event["ts"] for event in of(events, "f") if event["pid"] == server)


def test_every_merged_update_has_an_arrow_to_the_version_it_made(events, record):
    merges = record.timeline[record.timeline["activity"] == "merge"]
    assert ends_at_versions(events) == pytest.approx(sorted(merges["start_s"] * 1e6), abs=0.01)


def test_so_has_one_whose_client_downloaded_a_later_version_in_mid_round(make_runs):
    (record,) = make_runs({"name": "refreshed", "methods": [{"name": "fedasmu"}]})
    merges = record.timeline[record.timeline["activity"] == "merge"]
    assert merges["staleness"].max() > 0
    events = trace_events(record, Excerpt())
    assert ends_at_versions(list(events)) == pytest.approx(sorted(merges["start_s"] * 1e6), abs=0.01)


def test_counters_show_accuracy_staleness_and_what_waits(events, record):
    counters = {event["name"] for event in of(events, "C")}
    assert counters == {"staleness", "buffer", "accuracy fused", "accuracy gray", "accuracy color"}
    assert all(event["args"]["updates"] >= 0 for event in of(events, "C") if event["name"] == "buffer")
    fused = [event["args"]["accuracy"] for event in of(events, "C") if event["name"] == "accuracy fused"]
    metrics = record.metrics
    assert fused == metrics[(metrics["metric"] == "accuracy") & (metrics["modality"] == "fused")]["value"].tolist()


def test_a_timing_only_run_has_a_trace_without_accuracy(timed):
    events = list(trace_events(timed[0], Excerpt()))
    assert {event["name"] for event in events if event["ph"] == "C"} == {"staleness", "buffer"}


def test_an_excerpt_shows_some_clients_and_some_seconds(record):
    whole, some = (list(trace_events(record, excerpt)) for excerpt in (Excerpt(), Excerpt(2, 5.0, 10.0)))
    assert {event["args"]["name"] for event in some if event["name"] == "thread_name"} == {
        "global model",
        "client 0",
        "client 1",
    }
    inside = [e for e in of(whole, "X") if e["tid"] in (1, 2) and e["ts"] <= 10e6 and e["ts"] + e["dur"] >= 5e6]
    assert of(some, "X") == inside
    for event in [*of(some, "C"), *of(some, "B")]:
        assert event in whole
        assert event["ph"] == "B" or 5e6 <= event["ts"] <= 10e6
    assert {step["ph"] for step in some if step["name"] == "update"} <= {"s", "t", "f"}


def test_the_trace_of_part_after_part_is_that_of_all_rows_at_once(record, monkeypatch):
    whole = list(trace_file(record))
    timeline = record.timeline
    parts = [timeline.iloc[first : first + 7] for first in range(0, len(timeline), 7)]
    monkeypatch.setattr(type(record), "timeline_parts", lambda _: iter(parts))
    assert list(trace_file(record)) == whole
