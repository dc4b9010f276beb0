"""Faults, outages, stragglers: functions of their address, at the rates that the scenario says."""

import math

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from interlude.simulator.world.arrivals import PerRound
from interlude.simulator.world.compute import ComputeSpec, Devices
from interlude.simulator.world.energy import EnergySpec
from interlude.simulator.world.faults import Faults, FaultSpec, UploadLossSpec
from interlude.simulator.world.outages import Outages, OutageSpec

NUM = 4_000


def faults(**options):
    return Faults(FaultSpec(**options), seed=1)


def test_devices_die_as_often_as_said_and_anywhere_in_the_round():
    made = faults(crash_probability=0.25)
    fractions = np.array([made.crash_fraction(k, r) for k in range(NUM // 20) for r in range(20)])
    died = fractions[fractions < 1.0]
    assert len(died) / NUM == pytest.approx(0.25, abs=0.03)
    assert np.quantile(died, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.06)


def test_the_number_of_lost_attempts_is_geometric():
    made = faults(upload_loss=UploadLossSpec(probability=0.5))
    lost = [made.num_lost_attempts(k, r) for k in range(NUM // 20) for r in range(20)]
    assert [lost.count(n) / NUM for n in (0, 1, 2)] == pytest.approx([1 / 2, 1 / 4, 1 / 8], abs=0.03)


def test_faults_of_one_kind_do_not_move_those_of_another():
    one = faults(crash_probability=0.3, dropout_probability=0.3)
    other = faults(crash_probability=0.3, dropout_probability=0.1, upload_loss=UploadLossSpec(probability=0.9))
    assert [one.crash_fraction(0, r) for r in range(20)] == [other.crash_fraction(0, r) for r in range(20)]


# --- outages ---------------------------------------------------------------------------------------------------------


def outages(**given):
    return Outages(TypeAdapter(OutageSpec).validate_python(given), seed=1)


@pytest.mark.parametrize(
    ("at_s", "back_s", "away_s"),
    [(0, 0, 10), (9.5, 9.5, 10), (10, 20, 30), (19, 20, 30), (20, 20, 30), (35, 40, math.inf), (40, 40, math.inf)],
)
def test_windows_are_open_at_their_end(at_s, back_s, away_s):
    made = outages(kind="windows", windows_s=[[10, 20], [30, 40]])
    assert (made.back_s(at_s), made.away_s(at_s)) == (back_s, away_s)


@pytest.mark.parametrize("windows_s", [[[20, 10]], [[10, 20], [15, 30]], [[10, 20], [20, 30]], [[5, 5]]])
def test_windows_that_overlap_or_are_empty_are_refused(windows_s):
    with pytest.raises(ValidationError, match="before the next one starts"):
        outages(kind="windows", windows_s=windows_s)


def test_random_outages_take_the_share_of_time_that_they_should_whatever_is_asked_first():
    made, again = (outages(kind="markov", mean_up_s=3.0, mean_down_s=1.0) for _ in range(2))
    moments_s = np.linspace(0.0, 5_000.0, 20_001)
    away = [made.back_s(at_s) > at_s for at_s in moments_s]
    assert np.mean(away) == pytest.approx(0.25, abs=0.03) == made.share
    assert [again.back_s(at_s) > at_s for at_s in moments_s[::-1]] == away[::-1]
    starts = [made.away_s(at_s) for at_s in moments_s]
    assert all(start > at_s and made.back_s(start) > start for start, at_s in zip(starts, moments_s, strict=True))


# --- stragglers ------------------------------------------------------------------------------------------------------


def devices(**stragglers):
    return Devices(ComputeSpec(throughput_gflops=1.0, stragglers=stragglers), seed=1, num_clients=40)


def test_a_slow_mode_is_entered_and_kept_as_often_as_said():
    made = devices(probability=0.1, persistence=0.8, slowdown=5)
    slow = np.array([[made.is_slow(k, r) for r in range(200)] for k in range(40)])
    before, after = slow[:, :-1], slow[:, 1:]
    assert after[before].mean() == pytest.approx(0.8, abs=0.04)
    assert after[~before].mean() == pytest.approx(0.1, abs=0.02)
    assert slow[:, 50:].mean() == pytest.approx(1 / 3, abs=0.04)  # 0.1 / (1 - 0.8 + 0.1)


def test_a_slow_device_computes_so_many_times_longer():
    made = devices(probability=0.5, slowdown=5)
    times = {made.is_slow(0, r): made.s_per_flop(0, r) for r in range(20)}
    assert times[True] == 5 * times[False]


def test_whether_a_device_is_slow_does_not_depend_on_what_was_asked():
    made, again = devices(probability=0.1, persistence=0.9, slowdown=2), devices(
        probability=0.1, persistence=0.9, slowdown=2
    )  # fmt: skip
    forwards = [made.is_slow(3, r) for r in range(300)]
    assert [again.is_slow(3, r) for r in reversed(range(300))] == forwards[::-1]


def test_a_slow_device_must_not_be_likelier_to_recover_than_a_normal_one_to_stay_normal():
    with pytest.raises(ValidationError, match="must not be below probability"):
        devices(probability=0.5, persistence=0.1, slowdown=2)


# --- the rest --------------------------------------------------------------------------------------------------------


def test_absent_is_an_old_name_for_skip():
    per_client = {"distribution": "constant", "value_s": 1}
    assert PerRound(per_client=per_client, on_miss="absent").on_miss == "skip"


def test_power_is_drawn_per_client_and_purpose():
    spec = EnergySpec(train_w={"distribution": "uniform", "low": 4, "high": 6}, radio_w=1.5, idle_w=0.5)
    watts, more = spec.watts(seed=1, num_clients=5), spec.watts(seed=1, num_clients=6)
    assert set(watts["radio"]) == {1.5}
    assert len(set(watts["train"])) == 5
    assert watts["train"].tolist() == more["train"][:5].tolist()
