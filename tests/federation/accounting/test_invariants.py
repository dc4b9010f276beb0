"""What holds in every run, whatever the method, the server rule and the world: real short runs, no stubs."""

from itertools import pairwise, product

import pytest
from every_method import EVERY_METHOD
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from interlude import parse_scenario
from interlude.models.network import Network
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.run.build import build_testbed
from interlude.simulator.world.network import Links
from interlude.simulator.world.world import World

RULES = [
    {"rule": "barrier"},
    {"rule": "barrier", "clients_per_round": 2, "over_selection": 1.5, "deadline_s": 6.0},
    {"rule": "on_arrival", "concurrency": 3},
    {"rule": "buffered", "size": 2},
]
BASIC = ("fedavg", "fedasync", "fedbuff", "mba")
ENTRIES = [
    {"name": name, "server": rule, "label": f"{name}-{rule['rule']}-{len(rule)}"}
    for name, rule in product(BASIC, RULES)
]
ENTRIES += [{**entry, "label": name} for name, entry in EVERY_METHOD.items() if name not in BASIC]
DECIDES_BY_VALUES = {"asyncfeded", "bmsfed", "divfl", "pisces", "pow-d"}
"""What was learned reaches the clock; see `Executor.decide`."""
DOWNLOADS_IN_MID_ROUND = {"fedasmu"}
WAITING = ("all", "first", "opportunistic")
WAITS = [
    {"name": name, "waiting": waiting, "label": f"{name}-{waiting}"}
    for name, waiting in product(("fedavg", "fedasync", "mba"), WAITING)
]
TRAINING = ("train", "train_unimodal")


def each(entries):
    return pytest.mark.parametrize("entry", entries, ids=[entry["label"] for entry in entries])


def spans_of(record):
    return record.timeline[record.timeline["activity"] != "merge"]


def files_of(record):
    parts = sorted((record.path / "timeline").iterdir())
    return {path.name: path.read_bytes() for path in [record.path / "metrics.csv", *parts]}


# --- 1. same scenario, same seed: the same bytes ---------------------------------------------------------------------


@each(ENTRIES)
def test_the_same_seed_gives_the_same_bytes(wild, run, entry):
    scenario = wild(entry, until={"simulated_s": 8})
    (first,) = run(scenario, timing_only=False)
    (second,) = run(scenario, timing_only=False, afresh=True)
    assert first.path != second.path
    assert files_of(first) == files_of(second)
    assert len(first.metrics) > 0
    assert first.info["totals"]["order_sha256"] == second.info["totals"]["order_sha256"]


def test_another_seed_gives_another_world(wild, run):
    entry = {"name": "fedasync"}
    (one,), (other,) = run(wild(entry)), run(wild(entry, seed=4))
    assert one.info["totals"]["order_sha256"] != other.info["totals"]["order_sha256"]


# --- 2. common random numbers ----------------------------------------------------------------------------------------


@pytest.fixture
def drawn(run, monkeypatch):
    """Return a function from a scenario to everything its runs asked of the world, by address: per run a dict."""
    asked = {}
    arrivals_s, transfer_s = World.arrivals_s, Links.transfer_s

    def note_arrivals_s(self, client, window, round_start_s, num_samples, modalities):
        answer = arrivals_s(self, client, window, round_start_s, num_samples, modalities)
        for modality in modalities:
            asked["arrival", client, window, modality] = round(answer[modality] - round_start_s, 6)
        asked["compute", client, window] = self.devices.s_per_flop(client, window)
        asked["dropout", client, window] = self.faults.upload_fraction(client, window)
        return answer

    def note_transfer_s(self, client, direction, payload_bytes, window):
        answer = transfer_s(self, client, direction, payload_bytes, window)
        asked["transfer", client, window, direction, payload_bytes] = answer
        return answer

    monkeypatch.setattr(World, "arrivals_s", note_arrivals_s)
    monkeypatch.setattr(Links, "transfer_s", note_transfer_s)

    def draws_of(scenario):
        asked.clear()
        run(scenario, afresh=True)
        return dict(asked)

    return draws_of


def assert_same_where_both_asked(one, other, at_least):
    common = one.keys() & other.keys()
    assert len(common) >= at_least
    different = {address for address in common if one[address] != other[address]}
    assert different == set()


@each(ENTRIES + WAITS)
def test_every_method_and_server_rule_meets_the_same_world(wild, drawn, entry):
    reference = drawn(wild({"name": "fedavg"}, until={"versions": 4}))
    assert_same_where_both_asked(reference, drawn(wild(entry)), at_least=20)


def test_one_more_client_moves_nobody_elses_draws(wild, drawn):
    entry = {"name": "fedasync"}
    fewer, more = drawn(wild(entry)), drawn(wild(entry, clients={"count": 5}))
    assert_same_where_both_asked(fewer, more, at_least=40)
    assert {address[1] for address in more} - {address[1] for address in fewer} == {4}


def test_one_more_method_changes_nobody_elses_run(wild, run):
    (alone,) = run(wild({"name": "fedavg"}))
    _, beside = run(wild({"name": "mba"}, {"name": "fedavg"}))
    assert files_of(alone) == files_of(beside)


# --- 3. time is conserved --------------------------------------------------------------------------------------------


def assert_time_is_conserved(record):
    simulated_s = record.info["totals"]["simulated_s"]
    spans = spans_of(record)
    assert sorted(spans["client"].unique()) == list(range(record.scenario["clients"]["count"]))
    for _, mine in spans.groupby("client"):
        ordered = mine.sort_values("start_s")
        assert ordered["start_s"].tolist() == [0.0, *ordered["end_s"].tolist()[:-1]]
        assert ordered["end_s"].iloc[-1] == simulated_s
        assert (ordered["end_s"] - ordered["start_s"]).sum() == pytest.approx(simulated_s)


@each(ENTRIES + WAITS)
def test_spans_tile_each_clients_time(wild, run, entry):
    (record,) = run(wild(entry))
    assert record.info["totals"]["simulated_s"] == 15.0
    assert_time_is_conserved(record)


def test_spans_tile_the_time_of_a_run_that_versions_end(wild, run):
    (record,) = run(wild({"name": "fedasync"}, until={"versions": 5}))
    assert_time_is_conserved(record)


seconds = st.floats(0.125, 4.0, width=32)
spreads = st.floats(0.125, 1.0, width=32)
jitters = st.sampled_from([0.0, 0.5])
misses = {"miss_probability": st.sampled_from([0.0, 0.4]), "on_miss": st.sampled_from(["wait", "absent"])}
quantities = st.one_of(
    st.fixed_dictionaries({"distribution": st.just("constant"), "value_s": seconds}),
    st.fixed_dictionaries({"distribution": st.just("lognormal"), "median_s": seconds, "sigma": spreads}),
)
arrivals = st.one_of(
    st.fixed_dictionaries({"per_client": quantities, "jitter_sigma": jitters, **misses}),
    st.fixed_dictionaries(
        {
            "kind": st.just("stream"),
            "sample_period_s": st.floats(0.0078125, 0.0625, width=32),
            "transfer_s": seconds,
            "jitter_sigma": jitters,
            "queue_windows": st.sampled_from([None, 1, 3]),
            **misses,
        }
    ),
)
worlds = st.fixed_dictionaries(
    {
        "arrival": st.fixed_dictionaries({"gray": arrivals, "color": arrivals}),
        "compute": st.fixed_dictionaries(
            {"throughput_gflops": st.sampled_from([0.0002, 0.001]), "overhead_s": seconds, "jitter_sigma": jitters}
        ),
        "network": st.fixed_dictionaries(
            {
                "uplink_mbps": st.sampled_from([0.02, 1.0]),
                "downlink_mbps": st.sampled_from([0.1, 1.0]),
                "latency_ms": st.sampled_from([0.0, 100.0]),
                "jitter_sigma": jitters,
            }
        ),
        "faults": st.fixed_dictionaries({"dropout_probability": st.sampled_from([0.0, 0.5])}),
    }
)
ends = st.one_of(
    st.fixed_dictionaries({"simulated_s": st.sampled_from([0.5, 7.0, 20.0])}),
    st.fixed_dictionaries({"simulated_s": st.just(20.0), "versions": st.integers(1, 5)}),
)


@settings(max_examples=15)
@given(
    world=worlds,
    count=st.integers(1, 5),
    entry=st.sampled_from(ENTRIES[: len(BASIC) * len(RULES)]),
    waiting=st.sampled_from(WAITING),
    until=ends,
)
def test_time_and_causality_hold_in_any_small_world(wild, run, world, count, entry, waiting, until):
    given_ = wild({**entry, "waiting": waiting}, world=world, clients={"count": count}, until=until)
    (record,) = run(given_)
    assert_time_is_conserved(record)
    assert_causality(record)


# --- 4. causality ----------------------------------------------------------------------------------------------------


def assert_causality(record):
    merges = record.timeline[record.timeline["activity"] == "merge"]
    spans = spans_of(record)
    made_s = {0: 0.0, **merges.groupby("version")["end_s"].min().to_dict()}
    versioned = spans[spans["version"].notna()]
    assert (versioned["version"].map(made_s) <= versioned["start_s"]).all()
    assert set(made_s) == set(range(record.info["totals"]["versions"] + 1))
    assert (merges["staleness"] >= 0).all()
    assert merges["end_s"].is_monotonic_increasing
    for client, mine in merges.groupby("client"):
        is_update = (spans["client"] == client) & (spans["activity"] == "upload") & (spans["outcome"] == "done")
        uploads = spans[is_update]
        # Every merge takes an upload that has ended by then and that no earlier merge took.
        assert len(mine) <= len(uploads)
        assert (mine["end_s"].to_numpy() >= uploads["end_s"].to_numpy()[: len(mine)]).all()


@each(ENTRIES + WAITS)
def test_nothing_is_used_before_it_exists(wild, run, entry):
    (record,) = run(wild(entry))
    assert (record.timeline["activity"] == "merge").any()
    assert_causality(record)


@each(ENTRIES + WAITS)
def test_a_client_has_one_task_in_flight(wild, run, entry):
    (record,) = run(wild(entry))
    order = {"download": 0, "wait": 1, "train_unimodal": 1, "train": 2, "upload": 3}
    for _, mine in spans_of(record).groupby("client"):
        steps = [order[activity] for activity in mine.sort_values("start_s")["activity"] if activity != "idle"]
        # A local round only goes forwards; the next one starts with a download.
        assert all(after >= before or after == 0 for before, after in pairwise(steps))
        lasts = {2, 3} if entry["name"] in DOWNLOADS_IN_MID_ROUND else {3}
        assert all(before in lasts for before, after in pairwise(steps) if after == 0)


@each([entry for entry in ENTRIES if entry.get("server", {}).get("rule") == "barrier"])
def test_a_barrier_never_merges_a_stale_update(wild, run, entry):
    (record,) = run(wild(entry))
    merges = record.timeline[record.timeline["activity"] == "merge"]
    assert set(merges["staleness"]) == {0}


# --- 5. bytes, seconds, observers ------------------------------------------------------------------------------------

PLAIN = {
    "arrival": {
        "gray": {"per_client": {"distribution": "uniform", "low_s": 0.1, "high_s": 3.0}},
        "color": {"per_client": {"distribution": "uniform", "low_s": 0.1, "high_s": 3.0}},
    },
    "compute": {"throughput_gflops": 0.0005, "overhead_s": 0.25},
    "network": {"uplink_mbps": 0.1, "downlink_mbps": 0.2, "latency_ms": 50},
}


def group_bytes(scenario, *modalities):
    """The sum of numel x itemsize, counted on the tensors themselves."""
    dataset = load_dataset(scenario.data, scenario.seed)
    shapes = Network(scenario.model, dataset.inputs, dataset.num_classes).shapes
    named = {name: shape for name, shape in shapes.items() if name == "head.bias" or name.split(".")[1] in modalities}
    return sum(shape.numel() * shape.itemsize for shape in named.values())


DRIFT = {"name": "mba", "label": "mba-drift", "distance": "drift", "imbalance_acts": "server"}


@pytest.mark.parametrize("waiting", WAITING)
@each([{"name": name, "label": name} for name in BASIC] + [DRIFT])
def test_bytes_are_those_of_the_groups_sent_and_durations_the_worlds(wild, run, entry, waiting):
    given_ = wild({**entry, "waiting": waiting}, world=PLAIN, until={"simulated_s": 20})
    scenario = parse_scenario(given_)
    (record,) = run(given_)
    whole = spans_of(record).query("end_s < 20")
    duration_s = whole["end_s"] - whole["start_s"]
    downloads = whole["activity"] == "download"
    ratios_bytes = 4 * 2 if entry["label"] == "mba" else 0
    assert set(whole.loc[downloads, "bytes"]) == {group_bytes(scenario, "gray", "color") + ratios_bytes}
    assert duration_s[downloads].to_numpy() == pytest.approx(0.05 + 8 * whole.loc[downloads, "bytes"] / 0.2e6)
    uploads = (whole["activity"] == "upload") & (whole["outcome"] == "done")
    assert duration_s[uploads].to_numpy() == pytest.approx(0.05 + 8 * whole.loc[uploads, "bytes"] / 0.1e6)
    training = whole["activity"].isin(TRAINING)
    assert duration_s[training].to_numpy() == pytest.approx(0.25 + whole.loc[training, "flops"] / 0.0005e9)
    seen = set()
    for _, mine in whole.groupby("client"):
        trained, early = set(), set()
        for row in mine.sort_values("start_s").itertuples():
            if row.activity == "download":
                trained, early = set(), set()
            elif row.activity in TRAINING:
                trained |= set(row.modality.split("+"))
                early |= {row.modality} if row.activity == "train_unimodal" else set()
            elif row.activity == "upload" and row.outcome == "done":
                reported = {"mba": trained, "mba-drift": early}.get(entry["label"], ())
                assert row.bytes == group_bytes(scenario, *trained) + 8 + 4 * len(reported)
                seen.add((len(trained), len(early)))
    assert seen >= {"all": {(2, 0)}, "first": {(1, 0)}, "opportunistic": {(2, 1)}}[waiting]


def test_an_upload_that_breaks_off_takes_its_share_of_bytes_and_seconds(wild, run):
    world = {**PLAIN, "faults": {"dropout_probability": 0.5}}
    given_ = wild({"name": "fedasync"}, world=world, until={"simulated_s": 40})
    (record,) = run(given_)
    lost = spans_of(record).query("activity == 'upload' and outcome == 'lost' and end_s < 40")
    whole_bytes = group_bytes(parse_scenario(given_), "gray", "color") + 8
    fraction = (lost["end_s"] - lost["start_s"]) / (0.05 + 8 * whole_bytes / 0.1e6)
    assert len(lost) > 5
    assert fraction.between(0, 1, inclusive="neither").all()
    assert lost["bytes"].to_numpy() == pytest.approx((fraction * whole_bytes).to_numpy(), abs=1)


@each(ENTRIES)
def test_evaluating_changes_no_event(wild, run, entry):
    scenario = wild(entry, until={"simulated_s": 8})
    (often,) = run(scenario, timing_only=False)
    (seldom,) = run({**scenario, "evaluate": {**scenario["evaluate"], "every_s": 1000}}, timing_only=False)
    assert_frame_equal(often.timeline, seldom.timeline)
    assert often.metrics["time_s"].nunique() == 9  # 0, 1, ..., 8
    assert seldom.metrics["time_s"].nunique() == 2  # 0, 8
    last = often.metrics[often.metrics["time_s"] == 8.0].reset_index(drop=True)
    assert_frame_equal(last, seldom.metrics[seldom.metrics["time_s"] == 8.0].reset_index(drop=True))


@each([entry for entry in ENTRIES if entry["name"] not in DECIDES_BY_VALUES])
def test_timing_only_and_training_have_the_same_timeline(wild, run, entry):
    scenario = wild(entry, until={"simulated_s": 8})
    (trained,), (timed,) = run(scenario, timing_only=False), run(scenario, timing_only=True)
    assert trained.info["totals"]["order_sha256"] == timed.info["totals"]["order_sha256"]
    assert_frame_equal(trained.timeline, timed.timeline)
    assert len(timed.metrics) == 0


def test_every_sample_belongs_to_one_client(wild):
    testbed = build_testbed(parse_scenario(wild({"name": "fedavg"})))
    held = sorted(sample for shard in testbed.population.shards for sample in shard.tolist())
    assert held == list(range(len(testbed.dataset.train[1])))
