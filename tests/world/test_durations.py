"""Durations of the world, worked out by hand: arrivals, misses, queues, computing, transfers, dropout."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlude.simulator.world.arrivals import ModalityArrivals, PerRound, StreamOfWindows
from interlude.simulator.world.compute import ComputeSpec, Devices
from interlude.simulator.world.faults import Faults, FaultSpec
from interlude.simulator.world.network import Links, NetworkSpec
from interlude.simulator.world.world import World, WorldSpec

THREE_SECONDS = {"distribution": "constant", "value_s": 3.0}
NUM_WINDOWS = 4000


def per_round(seed=0, num_clients=4, **options):
    spec = PerRound.model_validate({"per_client": THREE_SECONDS, **options})
    return ModalityArrivals(spec, seed, "gray", num_clients)


def stream(seed=0, num_clients=4, **options):
    """Return windows of a sample every 0.5 s that take 2 s to reach the client."""
    spec = StreamOfWindows.model_validate({"kind": "stream", "sample_period_s": 0.5, "transfer_s": 2.0, **options})
    return ModalityArrivals(spec, seed, "gray", num_clients)


def world(arrival, **sections):
    spec = {
        "arrival": arrival,
        "compute": {"throughput_gflops": 1.0},
        "network": {"uplink_mbps": 1.0, "downlink_mbps": 1.0, "latency_ms": 0},
        **sections,
    }
    return World(WorldSpec.model_validate(spec), 0, 4, tuple(arrival))


@pytest.mark.parametrize("window", [0, 5])
@pytest.mark.parametrize("start_s", [0.0, 100.0])
def test_per_round_data_are_there_a_delay_after_the_round_starts(window, start_s):
    assert per_round().arrival_s(1, window, start_s, 32) == start_s + 3.0


def test_per_round_delay_is_a_clients_own_and_jitters_every_round():
    arrivals = per_round(
        per_client={"distribution": "lognormal", "median_s": 4.0, "sigma": 1.0}, jitter_sigma=0.3, num_clients=50
    )
    delays = np.array([[arrivals.arrival_s(k, w, 0.0, 32) for w in range(60)] for k in range(50)])
    logs = np.log(delays)
    # within a client the logarithm spreads by the jitter's 0.3; between clients by about 1.0
    assert logs.std(axis=1) == pytest.approx(0.3, abs=0.12)
    assert logs.mean(axis=1).std() == pytest.approx(1.0, abs=0.35)


@pytest.mark.parametrize(("window", "expected_s"), [(0, 7.0), (1, 12.0), (3, 22.0)])
@pytest.mark.parametrize("start_s", [0.0, 9.0, 1000.0])
def test_a_stream_window_is_there_when_it_is_full_whenever_the_round_starts(window, expected_s, start_s):
    # 0.5 s x 10 samples = 5 s a window, then 2 s to the client
    assert stream().arrival_s(0, window, start_s, 10) == expected_s


def test_a_window_that_queued_while_the_client_was_busy_arrived_before_the_round():
    round_start_s = 50.0
    assert stream().arrival_s(0, 1, round_start_s, 10) == 12.0


def test_jitter_of_a_stream_is_the_transfers_not_the_sensors():
    arrivals = stream(jitter_sigma=0.5)
    transfers_s = [arrivals.arrival_s(0, w, 0.0, 10) - 5.0 * (w + 1) for w in range(NUM_WINDOWS)]
    # mean-one jitter: deviation sqrt(e^0.25 - 1) = 0.53, over 4000 windows 0.0084 of the mean
    assert min(transfers_s) > 0.0
    assert np.mean(transfers_s) == pytest.approx(2.0, abs=0.08)
    assert np.std(transfers_s) > 0.5


@pytest.mark.parametrize(
    ("at_s", "oldest"),
    [
        (0.0, 0),
        (9.9, 0),  # window 0 is full
        (10.0, 0),  # windows 0 and 1 are
        (14.9, 0),
        (15.0, 1),  # window 2 is full: window 0 goes
        (27.0, 3),  # windows 0 to 4 are full: 3 and 4 stay
    ],
)
def test_a_bounded_queue_drops_the_oldest_window(at_s, oldest):
    assert stream(queue_windows=2).oldest_kept(0, at_s, 10) == oldest


@given(
    period_s=st.floats(1e-3, 10.0),
    num_samples=st.integers(1, 500),
    window=st.integers(0, 5000),
    queue=st.integers(1, 9),
)
@example(period_s=0.7, num_samples=32, window=2, queue=1)  # 0.7 x 32 x 3 / (0.7 x 32) is just below 3
def test_at_the_moment_a_window_is_full_the_queue_ends_with_it(period_s, num_samples, window, queue):
    arrivals = stream(sample_period_s=period_s, transfer_s=0.0, queue_windows=queue)
    full_s = arrivals.arrival_s(0, window, 0.0, num_samples)
    assert arrivals.oldest_kept(0, full_s, num_samples) == max(0, window + 1 - queue)


def test_nothing_is_dropped_without_a_bound_or_without_a_stream():
    assert stream().oldest_kept(0, 1e6, 10) == 0
    assert per_round().oldest_kept(0, 1e6, 10) == 0
    assert not stream().drops_windows
    assert not per_round().drops_windows
    assert stream(queue_windows=1).drops_windows


def test_a_window_is_gone_once_any_modality_dropped_it():
    quick = {"kind": "stream", "sample_period_s": 0.5, "transfer_s": 0, "queue_windows": 2}
    slow = {**quick, "sample_period_s": 1.0}
    both = world({"quick": quick, "slow": slow})
    assert both.drops_windows
    # at 30 s, 10 samples a window: quick has 6 full and keeps 4 and 5, slow has 3 and keeps 1 and 2
    assert both.oldest_window(0, 30.0, 10, ("quick", "slow")) == 4
    assert both.oldest_window(0, 30.0, 10, ("slow",)) == 1


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_a_miss_costs_one_more_collection(probability):
    arrivals = per_round(miss_probability=probability)
    collections = np.array([arrivals.arrival_s(0, w, 100.0, 32) - 100.0 for w in range(NUM_WINDOWS)]) / 3.0
    assert (collections == np.round(collections)).all()
    assert collections.min() == 1.0
    # geometric: P(k collections) = (1 - p) p^(k - 1)
    for k in (1, 2, 3):
        assert (collections == k).mean() == pytest.approx((1 - probability) * probability ** (k - 1), abs=0.03)
    assert collections.mean() == pytest.approx(1 / (1 - probability), rel=0.1)


def test_a_missed_stream_window_takes_the_next_windows_time():
    sure, unsure = stream(), stream(miss_probability=0.5)
    late_s = [unsure.arrival_s(0, w, 0.0, 10) - sure.arrival_s(0, w, 0.0, 10) for w in range(200)]
    assert set(late_s) >= {0.0, 5.0, 10.0}
    assert all(late % 5.0 == 0.0 for late in late_s)


@pytest.mark.parametrize("make", [per_round, stream])
def test_a_modality_that_may_be_absent_is_absent_exactly_where_it_would_have_missed(make):
    sure, waiting = make(), make(miss_probability=0.3)
    absent = make(miss_probability=0.3, on_miss="absent")
    num_absent = 0
    for window in range(NUM_WINDOWS):
        arrival_s = absent.arrival_s(0, window, 0.0, 10)
        if waiting.arrival_s(0, window, 0.0, 10) > sure.arrival_s(0, window, 0.0, 10):
            assert arrival_s is None
            num_absent += 1
        else:
            assert arrival_s == sure.arrival_s(0, window, 0.0, 10)
    assert num_absent / NUM_WINDOWS == pytest.approx(0.3, abs=0.03)


def test_the_world_leaves_an_absent_modality_out():
    sometimes = {"per_client": THREE_SECONDS, "miss_probability": 0.5, "on_miss": "absent"}
    always = {"per_client": THREE_SECONDS}
    both = world({"gray": sometimes, "color": always})
    rounds = [both.arrivals_s(0, w, 10.0, 32, ("gray", "color")) for w in range(100)]
    assert {tuple(arrivals) for arrivals in rounds} == {("gray", "color"), ("color",)}
    assert all(arrivals["color"] == 13.0 for arrivals in rounds)


def test_the_world_asks_only_for_the_modalities_a_client_has():
    both = world({"gray": {"per_client": THREE_SECONDS}, "color": {"per_client": THREE_SECONDS}})
    assert both.arrivals_s(0, 0, 0.0, 32, ("color",)) == {"color": 3.0}


def test_computing_takes_flops_over_throughput_plus_overhead():
    devices = Devices(ComputeSpec.model_validate({"throughput_gflops": 2.0, "overhead_s": 0.1}), 0, 3)
    # 4 x 10^9 FLOPs at 2 x 10^9 FLOP/s
    assert devices.overhead_s(2) + 4e9 * devices.s_per_flop(2, 0) == pytest.approx(2.1)
    assert Devices(ComputeSpec.model_validate({"throughput_gflops": 2.0}), 0, 3).overhead_s(0) == 0.0


def test_operations_take_as_long_as_so_many_flops():
    compute = {"throughput_gflops": 2.0, "operations": {"flops_each": 1e5, "per_task": 30}}
    devices = Devices(ComputeSpec.model_validate(compute), 0, 3)
    work_flops = devices.task_flops + 4e9 + devices.operation_flops * 10_000
    assert work_flops * devices.s_per_flop(1, 0) == pytest.approx((30 * 1e5 + 4e9 + 1e9) / 2e9)


def test_devices_differ_between_clients_and_jitter_between_rounds_only():
    spec = {"throughput_gflops": {"distribution": "lognormal", "median": 2.0, "sigma": 0.5}}
    steady = Devices(ComputeSpec.model_validate(spec), 0, 4)
    jittery = Devices(ComputeSpec.model_validate({**spec, "jitter_sigma": 0.5}), 0, 4)
    assert len({steady.s_per_flop(k, 0) for k in range(4)}) == 4
    assert len({steady.s_per_flop(0, w) for w in range(50)}) == 1
    ratios = [jittery.s_per_flop(0, w) / steady.s_per_flop(0, w) for w in range(NUM_WINDOWS)]
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.04)


def links(**options):
    spec = {"uplink_mbps": 2.0, "downlink_mbps": 8.0, "latency_ms": 50.0, **options}
    return Links(NetworkSpec.model_validate(spec), 0, 4)


@pytest.mark.parametrize(
    ("direction", "num_bytes", "expected_s"),
    [
        ("up", 0, 0.05),  # latency alone
        ("up", 1_000_000, 4.05),  # 8 Mbit at 2 Mbit/s
        ("down", 1_000_000, 1.05),  # 8 Mbit at 8 Mbit/s
        ("down", 2_000_000, 2.05),
    ],
)
def test_a_transfer_takes_latency_plus_bits_over_bandwidth_up_and_down_apart(direction, num_bytes, expected_s):
    assert links().transfer_s(3, direction, num_bytes, 7) == pytest.approx(expected_s)


def test_up_and_down_jitter_apart_each_with_mean_one():
    jittery = links(jitter_sigma=0.5)
    up, down = (
        np.array([jittery.transfer_s(0, d, 1_000_000, w) for w in range(NUM_WINDOWS)])
        / links().transfer_s(0, d, 10**6, 0)
        for d in ("up", "down")
    )
    assert up.mean() == pytest.approx(1.0, abs=0.04)
    assert down.mean() == pytest.approx(1.0, abs=0.04)
    assert abs(np.corrcoef(up, down)[0, 1]) < 0.06  # independent: deviation 1 / sqrt(4000) = 0.016


def test_up_and_down_bandwidths_are_drawn_apart():
    spread = {"distribution": "lognormal", "median": 2.0, "sigma": 0.5}
    both = links(uplink_mbps=spread, downlink_mbps=spread)
    assert all(both.transfer_s(k, "up", 1000, 0) != both.transfer_s(k, "down", 1000, 0) for k in range(4))


def fractions(probability, addresses, seed=0):
    faults = Faults(FaultSpec(dropout_probability=probability), seed)
    return {address: faults.upload_fraction(*address) for address in addresses}


ADDRESSES = [(client, window) for client in range(50) for window in range(80)]


@pytest.mark.parametrize("probability", [0.05, 0.3, 0.9])
def test_the_share_of_dropped_uploads_is_the_probability(probability):
    drawn = np.array(list(fractions(probability, ADDRESSES).values()))
    # 4000 draws: deviation of the share at most sqrt(0.25 / 4000) = 0.008
    assert (drawn < 1.0).mean() == pytest.approx(probability, abs=0.03)
    assert ((drawn > 0.0) & (drawn <= 1.0)).all()


def test_a_dropped_upload_breaks_off_at_a_uniform_fraction():
    broken = np.array([f for f in fractions(0.5, ADDRESSES).values() if f < 1.0])
    assert broken.mean() == pytest.approx(0.5, abs=0.03)
    assert broken.std() == pytest.approx(12**-0.5, abs=0.03)


def test_without_dropout_every_upload_arrives():
    assert set(fractions(0.0, ADDRESSES[:100]).values()) == {1.0}


def test_dropout_does_not_depend_on_the_order_of_asking():
    assert fractions(0.3, ADDRESSES) == fractions(0.3, ADDRESSES[::-1])
    shuffled = np.random.default_rng(0).permutation(ADDRESSES).tolist()
    assert fractions(0.3, ADDRESSES) == fractions(0.3, [tuple(address) for address in shuffled])


def test_arrivals_do_not_depend_on_the_order_of_asking():
    forwards, backwards = (stream(jitter_sigma=0.3, miss_probability=0.3) for _ in range(2))
    ahead = [forwards.arrival_s(1, w, 0.0, 10) for w in range(200)]
    assert ahead == [backwards.arrival_s(1, w, 0.0, 10) for w in reversed(range(200))][::-1]


@pytest.mark.parametrize("probability", [-0.1, 1.0, float("nan")])
def test_a_probability_that_is_none_is_refused(probability):
    with pytest.raises(ValueError, match="probability"):
        FaultSpec(dropout_probability=probability)
    with pytest.raises(ValueError, match="probability"):
        per_round(miss_probability=probability)
