"""Batteries: who has too little energy is not sent out, and what a local round takes is counted by hand."""

import pytest

from interlude.simulator.methods import METHODS
from interlude.simulator.world.energy import purpose_of

WATTS = {"train": 4.0, "radio": 2.0, "idle": 1.0}


@pytest.fixture
def powered(wild):
    """Return a function from a method and a battery to a scenario of 40 s in which nothing fails."""

    def build(method, battery, **sections):
        scenario = wild({"name": method}, **{"until": {"simulated_s": 40}, **sections})
        energy = {f"{purpose}_w": watt for purpose, watt in WATTS.items()}
        scenario["world"] |= {"faults": {}, "energy": energy | ({"battery": battery} if battery else {})}
        return scenario

    return build


def rounds_of(record, client):
    """Return the local rounds of a client: when each began and ended, and its joules."""
    spans = record.timeline[record.timeline["client"] == client].sort_values("start_s", kind="stable")
    rounds = []
    for row in spans[~spans["activity"].isin(["merge", "idle"])].itertuples():
        if row.activity == "download":
            rounds.append([row.start_s, row.end_s, 0.0])
        rounds[-1][1] = row.end_s
        rounds[-1][2] += WATTS[purpose_of(row.activity)] * (row.end_s - row.start_s)
    return rounds


@pytest.mark.parametrize("method", ["fedasync", "fedavg", "mba"])
def test_a_budget_is_spent_once_and_a_local_round_that_has_begun_is_finished(powered, run, method):
    (record,) = run(powered(method, {"capacity_j": 30, "reserve": 0.2}), timing_only=True)
    for client in range(4):
        used_j = [joules for _, _, joules in rounds_of(record, client)]
        left_j = [30.0 - sum(used_j[:i]) for i in range(len(used_j) + 1)]
        assert min(left_j[:-1]) >= 6.0  # whenever it was sent out
        assert left_j[-1] < 6.0  # and then no more
    assert record.info["totals"]["batteries"] == {"out": 4, "level": pytest.approx(0.05, abs=0.1)}


def test_a_battery_that_is_charged_lets_its_client_out_when_there_is_enough(powered, run):
    battery = {"capacity_j": 20, "level": 0.6, "reserve": 0.5, "charge_w": 1.5}
    (record,) = run(powered("fedasync", battery), timing_only=True)
    waited = 0
    for client in range(4):
        level_j, since_s = 12.0, 0.0
        for start_s, end_s, joules in rounds_of(record, client):
            ready_s = since_s if level_j >= 10.0 else since_s + (10.0 - level_j) / 1.5
            assert start_s == pytest.approx(ready_s)
            waited += ready_s > since_s
            level_j = min(20.0, level_j + 1.5 * (start_s - since_s))
            level_j = min(20.0, max(0.0, level_j + 1.5 * (end_s - start_s) - joules))  # it is charged at work, too
            since_s = end_s
    assert waited > 10


@pytest.mark.parametrize("method", ["fedasync", "fedbuff", "bmsfed", "fedmchain", "harmony", "timelyfl"])
def test_a_full_battery_changes_nothing_and_a_small_one_ends_every_rule(powered, run, method):
    assert method in METHODS
    without, full, small = (
        run(powered(method, battery), timing_only=True, afresh=True)[0]
        for battery in (None, {"capacity_j": 1e9}, {"capacity_j": 25})
    )
    assert full.info["totals"]["order_sha256"] == without.info["totals"]["order_sha256"]
    assert small.info["totals"]["local_rounds"] < without.info["totals"]["local_rounds"]
    assert small.info["totals"]["batteries"]["out"] >= 1


def test_batteries_and_availability_go_together(powered, run):
    scenario = powered("fedasync", {"capacity_j": 40, "charge_w": 1.0, "reserve": 0.4})
    scenario["world"]["availability"] = {"kind": "markov", "mean_on_s": 6, "mean_off_s": 3}
    (record,) = run(scenario, timing_only=True)  # its invariants see who works while off
    assert record.info["totals"]["local_rounds"] > 5


def test_a_budget_that_ends_a_run_early_is_no_reason_to_refuse_it(powered, run):
    scenario = powered("fedasync", {"capacity_j": 40}, until={"simulated_s": 1e7}, evaluate={"every_s": 1e6})
    (record,) = run(scenario | {"limits": {"events": 2_000}}, timing_only=True)
    assert record.info["totals"]["events"] < 2_000


def test_a_local_round_that_the_end_cuts_has_used_energy(powered, run):
    (record,) = run(powered("fedasync", {"capacity_j": 50}, until={"simulated_s": 1.0}), timing_only=True)
    used_j = sum(record.info["totals"]["energy_j"].values())
    assert record.info["totals"]["batteries"]["level"] == pytest.approx(1.0 - used_j / 4 / 50)
