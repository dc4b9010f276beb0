"""What holds in every world that fails: random ones, timing-only, under every server rule."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from interlude import parse_scenario
from interlude.simulator.world.availability import Availability

UNTIL_S = 30.0

OFTEN = {"kind": "markov", "mean_on_s": 6, "mean_off_s": 3}
RULES = [
    {"name": "fedavg", "server": {"rule": "barrier"}},
    {"name": "fedavg", "server": {"rule": "barrier", "clients_per_round": 2, "over_selection": 1.5, "deadline_s": 4.0}},
    {"name": "fedasync", "server": {"rule": "on_arrival", "concurrency": 3}},
    {"name": "fedasync", "server": {"rule": "on_arrival", "max_staleness": 1}},
    {"name": "fedasync", "server": {"rule": "on_arrival", "max_staleness": 2, "when_stale": "wait"}},
    {"name": "fedbuff", "server": {"rule": "buffered", "size": 2, "timeout_s": 3.0, "max_staleness": 1}},
    {"name": "mba", "server": {"rule": "buffered", "size": 3, "max_staleness": 1, "when_stale": "wait"}},
    {"name": "mba", "waiting": "opportunistic"},
    {"name": "fedmchain", "pipelined": True},
    {"name": "fedmchain", "server": {"rule": "barrier", "clients_per_round": 2, "over_selection": 1.5}},
    {"name": "pow-d", "server": {"rule": "barrier", "clients_per_round": 2}, "candidates": 3},
    {"name": "divfl", "server": {"rule": "barrier", "clients_per_round": 2}},
]

availabilities = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {
            "kind": st.just("markov"),
            "policy": st.sampled_from(["lose", "pause"]),
            "mean_on_s": st.sampled_from([2, 10]),
            "mean_off_s": st.sampled_from([1, 10]),
            "join_s": st.sampled_from([None, {"distribution": "uniform", "low": 0, "high": 10}]),
            "leave_s": st.sampled_from([None, {"distribution": "uniform", "low": 5, "high": 40}]),
        }
    ),
)
outages = st.sampled_from(
    [None, {"kind": "windows", "windows_s": [[0, 1.5], [7, 9]]}, {"kind": "markov", "mean_up_s": 5, "mean_down_s": 1}]
)
faults = st.fixed_dictionaries(
    {
        "dropout_probability": st.sampled_from([0.0, 0.3]),
        "crash_probability": st.sampled_from([0.0, 0.3]),
        "upload_loss": st.sampled_from(
            [None, {"probability": 0.5, "max_attempts": 2, "backoff_s": 0.5}, {"probability": 0.3, "backoff_s": 0}]
        ),
        "outages": outages,
    }
)
shared_links = st.fixed_dictionaries(
    {"uplink_mbps": st.sampled_from([None, 0.05]), "downlink_mbps": st.sampled_from([None, 0.1])}
)
arrivals = st.fixed_dictionaries(
    {"miss_probability": st.sampled_from([0.0, 0.3]), "on_miss": st.sampled_from(["wait", "skip", "uni_modal"])}
)
stragglers = st.sampled_from([None, {"probability": 0.2, "persistence": 0.5, "slowdown": 4}])


def failing(wild, entry, arrival, availability, faults, shared_link, stragglers, **sections):
    scenario = wild(entry, until={"simulated_s": UNTIL_S}, **sections)
    world = scenario["world"]
    for modality in world["arrival"]:
        world["arrival"][modality] = {**world["arrival"][modality], **arrival}
    world |= {"availability": availability, "faults": faults}
    world["network"]["shared_link"] = shared_link
    world["compute"]["stragglers"] = stragglers
    return scenario


def assert_time_is_conserved(spans):
    for _, mine in spans.groupby("client"):
        ordered = mine.sort_values("start_s", kind="stable")
        assert ordered["start_s"].tolist() == [0.0, *ordered["end_s"].tolist()[:-1]]
        assert ordered["end_s"].iloc[-1] == UNTIL_S


def received_bytes(spans):
    """The bytes of uploads that came to their end, their pieces included."""
    total = 0
    for _, mine in spans.groupby("client"):
        on_its_way = 0
        for row in mine.sort_values("start_s", kind="stable").itertuples():
            if row.activity == "upload":
                on_its_way += row.bytes
                total += on_its_way if row.outcome == "done" else 0
            if row.activity == "download" or (row.activity == "upload" and row.outcome != "part"):
                on_its_way = 0
    return total


def assert_bytes_are_conserved(record, spans):
    sent = int(spans.loc[spans["activity"] == "upload", "bytes"].sum())
    totals = record.info["totals"]
    assert totals["lost"]["bytes_up"] + totals["cut"]["bytes_up"] == sent - received_bytes(spans)


def assert_causality(record, spans, merges):
    made_s = {0: 0.0, **merges.groupby("version")["end_s"].min().to_dict()}
    versioned = spans[spans["version"].notna()]
    assert (versioned["version"].map(made_s) <= versioned["start_s"]).all()
    assert set(made_s) == set(range(record.info["totals"]["versions"] + 1))
    assert merges["end_s"].is_monotonic_increasing
    for client, mine in merges.groupby("client"):
        is_update = (spans["client"] == client) & (spans["activity"] == "upload") & (spans["outcome"] == "done")
        arrived_s = spans.loc[is_update, "end_s"].to_numpy()
        assert len(mine) <= len(arrived_s)  # each update is merged at most once ...
        assert (mine["end_s"].to_numpy() >= arrived_s[: len(mine)]).all()  # ... and after it arrived


def most_in_flight(spans):
    """The most clients at work at a time; who is off in a local round is at work and carries its version."""
    at_work = spans[spans["version"].notna()]
    changes = [(s, 1) for s in at_work["start_s"]] + [(s, -1) for s in at_work["end_s"]]
    level, most = 0, 0
    for _, change in sorted(changes):
        level += change
        most = max(most, level)
    return most


def off_s(scenario, count):
    """By client, how long it is off, walked through by hand."""
    spec = parse_scenario(scenario).world.availability
    if spec is None:
        return dict.fromkeys(range(count), 0.0)
    availability, spent_s = Availability(spec, scenario["seed"], count), defaultdict(float)
    for client in range(count):
        at_s = 0.0
        while at_s < UNTIL_S:
            on_s = min(availability.next_on(client, at_s), UNTIL_S)
            spent_s[client] += on_s - at_s
            at_s = on_s + availability.remaining_on(client, on_s)
            if on_s == UNTIL_S:
                break
    return spent_s


@settings(max_examples=60)
@given(
    entry=st.sampled_from(RULES),
    count=st.integers(1, 6),
    arrival=arrivals,
    availability=availabilities,
    faults=faults,
    shared_link=shared_links,
    stragglers=stragglers,
)
def test_what_fails_is_accounted_for(wild, run, entry, count, **world):
    scenario = failing(wild, entry, clients={"count": count}, **world)
    (record,) = run(scenario)
    spans = record.timeline[record.timeline["activity"] != "merge"]
    merges = record.timeline[record.timeline["activity"] == "merge"]
    assert_time_is_conserved(spans)
    assert_bytes_are_conserved(record, spans)
    assert_causality(record, spans, merges)
    server = parse_scenario(scenario).methods[0].server
    bound = getattr(server, "concurrency", None) or count
    assert most_in_flight(spans) <= min(bound, count)
    if getattr(server, "max_staleness", None) is not None:
        assert (merges["staleness"] <= server.max_staleness).all()
    spent_s = (spans["end_s"] - spans["start_s"]).where(spans["activity"] == "off", 0.0).groupby(spans["client"]).sum()
    for client, expected_s in off_s(scenario, count).items():
        assert spent_s[client] == pytest.approx(expected_s, abs=1e-6)


WORST = {
    "arrival": {"miss_probability": 0.3, "on_miss": "uni_modal"},
    "availability": {**OFTEN, "policy": "pause"},
    "faults": {
        "crash_probability": 0.1,
        "upload_loss": {"probability": 0.3, "max_attempts": 2, "backoff_s": 0.5},
        "outages": {"kind": "windows", "windows_s": [[7, 9]]},
    },
    "shared_link": {"uplink_mbps": 0.1},
    "stragglers": {"probability": 0.2, "persistence": 0.5, "slowdown": 4},
}


@pytest.mark.parametrize("entry", [{"name": "mba"}, {"name": "fedbuff", "server": {"size": 2, "timeout_s": 3.0}}])
def test_training_changes_nothing_of_what_happens(wild, run, entry):
    scenario = failing(wild, entry, **WORST) | {"until": {"simulated_s": 12}}
    (timed,), (trained,), (again,) = (
        run(scenario, timing_only=timing_only, afresh=True) for timing_only in (True, False, False)
    )
    assert_frame_equal(timed.timeline, trained.timeline)
    assert (trained.path / "metrics.csv").read_bytes() == (again.path / "metrics.csv").read_bytes()
    assert len(trained.metrics) > 0


def test_training_in_a_slow_mode_is_seen_takes_that_much_longer_and_is_summed_up(wild, run):
    scenario = wild({"name": "mba"}, until={"simulated_s": 40})
    compute = scenario["world"]["compute"] | {"jitter_sigma": 0.0, "overhead_s": 0.0}
    slow = {"stragglers": {"probability": 0.2, "persistence": 0.5, "slowdown": 4}}
    (record,) = run({**scenario, "world": {**scenario["world"], "compute": compute | slow}})
    spans = record.timeline[record.timeline["activity"].str.startswith("train") & (record.timeline["end_s"] < 40)]
    is_slow = spans["is_slow"]
    assert set(spans["outcome"]) == {"done"}
    s_per_flop = (spans["end_s"] - spans["start_s"]) / spans["flops"]
    usual = s_per_flop[~is_slow].groupby(spans["client"]).median()
    assert s_per_flop.to_numpy() == pytest.approx(
        (usual.reindex(spans["client"]) * (1 + 3 * is_slow.values)).to_numpy()
    )
    length_s = record.timeline["end_s"] - record.timeline["start_s"]
    slow_s = length_s[record.timeline["is_slow"]].sum()
    assert record.info["totals"]["lost"]["slow_s"] == pytest.approx(slow_s)
    assert slow_s > 0


def test_what_misses_leaves_the_others_to_train_alone(wild, run):
    """A round whose color misses trains gray alone, sends only gray's groups, and no joint training happens in it."""
    scenario = wild({"name": "fedasync"}, until={"simulated_s": 40})
    arrival = scenario["world"]["arrival"]
    arrival["color"] = {**arrival["color"], "miss_probability": 0.5, "on_miss": "uni_modal"}
    (record,) = run(scenario)
    spans = record.timeline[(record.timeline["activity"] != "merge") & (record.timeline["end_s"] < 40)]
    sent = defaultdict(set)
    for _, mine in spans.groupby("client"):
        trained = None
        for row in mine.sort_values("start_s").itertuples():
            if row.activity in ("train", "train_unimodal"):
                trained = row.activity, row.modality
            elif row.activity == "upload" and row.outcome == "done":
                sent[trained].add(row.bytes)
    assert sent.keys() == {("train", "gray+color"), ("train_unimodal", "gray")}
    (jointly,), (alone,) = sent["train", "gray+color"], sent["train_unimodal", "gray"]
    assert alone < jointly


def test_a_run_that_nobody_will_serve_any_more_ends_though_its_versions_were_not_reached(wild, run):
    scenario = wild({"name": "fedasync"}, until={"versions": 1000})
    scenario["world"]["availability"] = {"kind": "always", "leave_s": {"distribution": "uniform", "low": 3, "high": 6}}
    (record,) = run(scenario)
    assert 0 < record.info["totals"]["versions"] < 1000
    assert 3 < record.info["totals"]["simulated_s"] < 60
