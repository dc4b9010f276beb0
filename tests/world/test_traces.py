"""Traces of devices: hand-made rows through the world's models, and published quantiles in the shipped scenarios."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from interlude.simulator.randomness import Stream
from interlude.simulator.scenario.loading import load_scenarios
from interlude.simulator.world.availability import Availability
from interlude.simulator.world.compute import AnyCompute, Devices
from interlude.simulator.world.distributions import Distribution
from interlude.simulator.world.network import Links, NetworkSpec
from interlude.simulator.world.traces import SLOWEST

COMPUTE = TypeAdapter(AnyCompute)
SCENARIOS = Path(__file__).parents[2] / "scenarios"
MANY = 4000

PHONES = "guid,ms,up,up_std,down\na,10,1000,0,8000\nb,40,2000,0,4000\nc,90,500,0,2000\n"


@pytest.fixture(autouse=True)
def _no_data_directory(monkeypatch):
    monkeypatch.delenv("INTERLUDE_DATA", raising=False)


@pytest.fixture
def phones(tmp_path):
    path = tmp_path / "phones.csv"
    path.write_text(PHONES, encoding="utf-8")
    return path


def trace(path, column, unit, **options):
    return {"distribution": "trace", "file": str(path), "column": column, "unit": unit, **options}


def links(up, down, num_clients=MANY, seed=0):
    given = {"uplink_mbps": up, "downlink_mbps": down, "latency_ms": 0}
    return Links(NetworkSpec.model_validate(given), seed, num_clients)


def problem(model, given):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(model).validate_python(given)
    return caught.value.errors()[0]["msg"]


def test_a_joint_sample_takes_three_times_its_inference_and_all_else_by_its_flops(phones):
    spec = COMPUTE.validate_python({"ms_per_sample": trace(phones, "ms", "ms")})
    devices = Devices(spec, 0, 60, joint_flops_per_sample=5000.0)
    seconds = {32 * 5000 * devices.s_per_flop(k, 0) for k in range(60)}  # a joint step on 32 samples
    assert sorted(seconds) == pytest.approx([32 * 0.030, 32 * 0.120, 32 * 0.270])
    halved = Devices(spec, 0, 60, joint_flops_per_sample=2500.0)
    assert halved.s_per_flop(0, 0) == pytest.approx(2 * devices.s_per_flop(0, 0))


def test_the_training_factor_and_the_unit_are_the_users(phones):
    in_us = {"ms_per_sample": trace(phones, "ms", "us"), "training_factor": 2.0}
    devices = Devices(COMPUTE.validate_python(in_us), 0, 60, joint_flops_per_sample=1.0)
    assert max(devices.s_per_flop(k, 0) for k in range(60)) == pytest.approx(90e-6 * 2)


def test_time_per_sample_can_be_an_ordinary_distribution():
    devices = Devices(COMPUTE.validate_python({"ms_per_sample": 20}), 0, 3, joint_flops_per_sample=1.0)
    assert devices.s_per_flop(2, 7) == pytest.approx(0.060)


def test_time_per_sample_without_flops_is_an_error():
    with pytest.raises(ValueError, match="FLOPs of the joint objective"):
        Devices(COMPUTE.validate_python({"ms_per_sample": 20}), 0, 3)


def test_a_client_is_the_same_device_in_every_trace_of_a_file(phones):
    compute = Devices(COMPUTE.validate_python({"ms_per_sample": trace(phones, "ms", "ms")}), 4, 60, 3000.0)
    link = links(trace(phones, "up", "kbps"), trace(phones, "down", "kbps"), 60, seed=4)
    seen = {
        (
            round(compute.s_per_flop(k, 0) * 1e6),
            round(link.transfer_s(k, "up", 125_000, 0), 6),  # 1 megabit
            round(link.transfer_s(k, "down", 125_000, 0), 6),
        )
        for k in range(60)
    }
    assert seen == {(10, 1.0, 0.125), (40, 0.5, 0.25), (90, 2.0, 0.5)}


def test_a_client_more_changes_nobodys_device_and_a_seed_does(phones):
    few, many, other = (
        links(trace(phones, "up", "kbps"), 1, num_clients, seed) for num_clients, seed in ((20, 0), (30, 0), (20, 1))
    )
    times = [[link.transfer_s(k, "up", 1000, 0) for k in range(20)] for link in (few, many, other)]
    assert times[0] == times[1] != times[2]


def test_a_transfers_speed_has_the_devices_mean_and_deviation(tmp_path):
    path = tmp_path / "links.csv"
    path.write_text("mean,std\n8000,2000\n", encoding="utf-8")
    link = links(trace(path, "mean", "kbps", deviation="std"), 1.0, 2)
    speeds = np.array([1.0 / link.transfer_s(0, "up", 125_000, w) for w in range(3000)])  # mbps
    assert speeds.mean() == pytest.approx(8.0, rel=0.02)
    assert speeds.std() == pytest.approx(2.0, rel=0.05)
    assert link.transfer_s(0, "up", 1000, 7) == link.transfer_s(0, "up", 1000, 7) != link.transfer_s(1, "up", 1000, 7)
    assert link.transfer_s(0, "down", 125_000, 5) == 1.0  # the other direction has its own field


def test_a_wild_links_speed_is_truncated_above_zero(tmp_path):
    path = tmp_path / "links.csv"
    path.write_text("mean,std\n1000,3000\n", encoding="utf-8")
    link = links(trace(path, "mean", "kbps", deviation="std"), 1.0, 1)
    speeds = np.array([1.0 / link.transfer_s(0, "up", 125_000, w) for w in range(3000)])
    assert speeds.min() >= SLOWEST
    assert (speeds < 2 * SLOWEST).mean() < 0.02  # truncated: no heap at the bound
    # E of N(1, 3) above 0.01: 1 + 3 phi(a) / (1 - Phi(a)), a = -0.33
    assert speeds.mean() == pytest.approx(1 + 3 * 0.37780 / 0.62930, rel=0.05)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("up\n1\n0\n", {}, "row 2, column 'up': 0 is no speed"),
        ("up\n1\nfast\n", {}, "line 3, column 'up': 'fast' is not a number"),
        ("other\n1\n", {}, "no column 'up'; its columns are: other"),
        ("up\n1\n", {"deviation": "std"}, "no column 'std'"),
        ("up,std\n1,-2\n", {"deviation": "std"}, "line 2, column 'std': -2.0 is negative"),
        ("up\n", {}, "no values"),
    ],
)
def test_a_bad_trace_is_named_with_its_file(tmp_path, text, options, said):
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    given = {"uplink_mbps": trace(path, "up", "kbps", **options), "downlink_mbps": 1, "latency_ms": 0}
    message = problem(NetworkSpec, given)
    assert said in message
    assert "bad.csv" in message


def test_a_pickle_is_never_opened(tmp_path):
    path = tmp_path / "client_device_capacity"
    path.write_bytes(b"\x80\x04\x95\x1f\x00cos\nsystem\n(S'touch opened'\ntR.")
    message = problem(NetworkSpec, {"uplink_mbps": trace(path, "c", "kbps"), "downlink_mbps": 1, "latency_ms": 0})
    assert "is not UTF-8 text" in message


def test_a_link_needs_both_directions(phones):
    with pytest.raises(ValidationError) as caught:
        NetworkSpec.model_validate({"uplink_mbps": trace(phones, "up", "kbps"), "latency_ms": 0})
    assert caught.value.errors()[0]["loc"] == ("downlink_mbps",)


def test_a_relative_file_is_looked_for_below_the_data_directory_first(phones, tmp_path, monkeypatch):
    given = {"ms_per_sample": trace("phones.csv", "ms", "ms")}
    assert "INTERLUDE_DATA" in problem(AnyCompute, given)
    monkeypatch.setenv("INTERLUDE_DATA", str(tmp_path / "elsewhere"))
    assert "elsewhere" in problem(AnyCompute, given)
    monkeypatch.setenv("INTERLUDE_DATA", str(phones.parent))
    assert COMPUTE.validate_python(given).model_dump(mode="json")["ms_per_sample"]["file"] == "phones.csv"


def test_a_scenarios_files_are_known_and_it_reads_itself_back(phones, tmp_path, monkeypatch):
    ready = tmp_path / "ready.csv"
    ready.write_text("device,on_s,off_s\na,0,50\n", encoding="utf-8")
    monkeypatch.setenv("INTERLUDE_DATA", str(tmp_path))
    given = yaml.safe_load((SCENARIOS / "quickstart.yaml").read_text(encoding="utf-8"))
    given["world"]["compute"] = {"ms_per_sample": trace("phones.csv", "ms", "ms")}
    given["world"]["network"]["uplink_mbps"] = trace("phones.csv", "up", "kbps", deviation="up_std")
    given["world"]["availability"] = {"kind": "intervals", "file": "ready.csv", "policy": "lose"}
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    (scenario,) = load_scenarios(path)
    assert scenario.files() == {Path("phones.csv"): phones, Path("ready.csv"): ready}
    path.write_text(json.dumps(scenario.resolved()), encoding="utf-8")
    (again,) = load_scenarios(path)
    assert again == scenario
    assert again.digest() == scenario.digest()


@pytest.fixture(scope="module")
def synthetic():
    _, when_ready = load_scenarios(SCENARIOS / "phones_synthetic.yaml")
    return when_ready.world


def drawn(distribution: Distribution):
    return distribution.ppf(Stream(0, "test").uniforms(MANY))


def test_synthetic_devices_have_fedscales_quantiles(synthetic):
    ms = np.quantile(drawn(synthetic.compute.ms_per_sample), (0.1, 0.5, 0.9))
    assert ms == pytest.approx([21, 41, 175.4], rel=0.1)
    mbps = np.quantile(drawn(synthetic.network.uplink_mbps), (0.1, 0.5, 0.9))
    assert mbps == pytest.approx([1.863, 5.962, 33.45], rel=0.1)


def test_synthetic_readiness_looks_like_flashs_when_it_is_observed_for_five_days(synthetic):
    ready = Availability(synthetic.availability, 0, 710)
    observed = [_observed(ready, k, 5 * 86_400.0) for k in range(710)]
    counts, shares = np.array([o for o in observed if o[0] > 0]).T  # FLASH's devices were all seen ready
    assert np.quantile(shares, (0.1, 0.5, 0.9)) == pytest.approx([0.001, 0.055, 0.256], rel=0.3)
    assert 10 <= np.median(counts) <= 14
    assert 120 <= max(counts) <= 400
    assert sum(counts) == pytest.approx(14_139, rel=0.2)


def _observed(ready, client, until_s):
    """Return the intervals that begin and the share of time on within a trace."""
    count, on_s, t = 0, 0.0, ready.next_on(client, 0.0)
    while t < until_s:
        off_s = min(t + ready.remaining_on(client, t), until_s)
        count, on_s = count + 1, on_s + off_s - t
        t = ready.next_on(client, off_s)
    return count, on_s / until_s


_FILES = Path(os.environ.get("INTERLUDE_DATA", "")) / "device_traces"
needs_files = pytest.mark.skipif(
    "INTERLUDE_DATA" not in os.environ or not _FILES.is_dir(), reason="INTERLUDE_DATA has no device_traces"
)


@needs_files
def test_the_synthetic_quantiles_are_those_of_the_file(synthetic):
    import pandas as pd

    real = pd.read_csv(_FILES / "fedscale_client_device_capacity_first377.csv")
    for column, factor, given in (
        ("computation_ms_per_sample", 1.0, synthetic.compute.ms_per_sample),
        ("communication_kbps", 1e-3, synthetic.network.uplink_mbps),
    ):
        assert (real[column] * factor).quantile(list(given.probabilities)).tolist() == pytest.approx(
            given.values, rel=1e-3
        )


@needs_files
def test_the_scenario_of_phones_meets_the_real_files(monkeypatch):
    monkeypatch.setenv("INTERLUDE_DATA", str(_FILES.parent))
    (scenario,) = load_scenarios(SCENARIOS / "phones.yaml")
    assert len(scenario.files()) == 2
    link = Links(scenario.world.network, 0, MANY)
    down = [125_000 / 125_000 / link.transfer_s(k, "down", 125_000, 0) for k in range(MANY)]
    assert 3.0 < np.median(down) < 6.0  # mbps; the middle device has 4.3
