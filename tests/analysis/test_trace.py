"""The trace against the Trace Event Format: keys by phase, order, paired flows; and against the timeline itself."""

import json
from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from interlude.analysis.trace import chrome_trace, to_json

# what the format requires of each phase that is used, beside name, ph, pid and tid
KEYS = {
    "X": {"ts", "dur", "args"},
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
    return json.loads(to_json(chrome_trace(record)))["traceEvents"]


def of(events, phase):
    return [event for event in events if event["ph"] == phase]


def test_every_event_has_the_keys_of_its_phase(events):
    for event in events:
        assert {"name", "ph", "pid", "tid"} | KEYS[event["ph"]] <= event.keys()
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
    for counter in of(events, "C"):
        assert all(isinstance(value, int | float) for value in counter["args"].values())


def test_time_is_monotone_and_no_slice_is_negative(events):
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    assert times[0] >= 0
    assert all(event["dur"] >= 0 for event in of(events, "X"))


def test_every_span_is_a_slice_on_its_clients_track(events, record):
    spans = record.timeline[record.timeline["activity"] != "merge"]
    names = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == "thread_name"}
    slices = Counter(names[event["pid"], event["tid"]] for event in of(events, "X"))
    expected = spans.groupby("client").size()
    assert {f"client {client}": number for client, number in expected.items()}.items() <= slices.items()
    assert slices["global model"] == record.info["totals"]["versions"] + 1


def test_slices_of_a_track_do_not_overlap(events):
    tracks = defaultdict(list)
    for event in of(events, "X"):
        tracks[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for slices in tracks.values():
        assert all(end <= start + 0.01 for (_, end), (start, _) in pairwise(slices))


def test_flows_are_paired_and_lead_forward_from_slice_to_slice(events):
    flows = defaultdict(list)
    for event in events:
        if event["ph"] in "stf":
            flows[event["id"]].append(event)
    slices = defaultdict(list)
    for event in of(events, "X"):
        slices[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for steps in flows.values():
        assert [step["ph"] for step in steps] in (["s", "t", "t", "f"], ["s", "t", "f"])
        for step in steps:
            assert any(start <= step["ts"] <= end for start, end in slices[step["pid"], step["tid"]])


def test_every_merged_update_has_an_arrow_to_the_version_it_made(events, record):
    merges = record.timeline[record.timeline["activity"] == "merge"]
    server = next(
        event["pid"] for event in events if event["args" if "args" in event else "ph"] == {"name": "global model"}
    )
    ends = sorted(event["ts"] for event in of(events, "f") if event["pid"] == server)
    assert ends == pytest.approx(sorted(merges["start_s"] * 1e6), abs=0.01)


def test_counters_show_accuracy_staleness_and_what_waits(events, record):
    counters = {event["name"] for event in of(events, "C")}
    assert counters == {"staleness", "buffer", "accuracy fused", "accuracy gray", "accuracy color"}
    assert all(event["args"]["updates"] >= 0 for event in of(events, "C") if event["name"] == "buffer")
    fused = [event["args"]["accuracy"] for event in of(events, "C") if event["name"] == "accuracy fused"]
    metrics = record.metrics
    assert fused == metrics[(metrics["metric"] == "accuracy") & (metrics["modality"] == "fused")]["value"].tolist()


def test_a_timing_only_run_has_a_trace_without_accuracy(timed):
    events = chrome_trace(timed[0])["traceEvents"]
    assert {event["name"] for event in events if event["ph"] == "C"} == {"staleness", "buffer"}
