"""FedAT: mirrored weights by hand, tiers that do not wait for each other, and FedProx with one tier."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from paper_world import play
from updates import NAMES, model_of, update_of

from interlude import parse_scenario, run_scenario
from interlude.simulator.methods.fedat import FedAT, FedATOptions, Tier, TieredBarrier

ABC = ("a", "b", "c")


def reports(*rounds, held=(ABC, ABC)):
    """Return the model's numbers after rounds of tiers, ``(tier, update, ...)`` each, from version 0 of 10."""
    method, model, memory, seen = FedAT(FedATOptions()), model_of(10.0), None, []
    memory = method.initial_memory(None, 0)
    for tier, *updates in rounds:
        told = [replace(update, message=Tier(tier, held)) for update in updates]
        model, memory = method.advance(model, memory, told)
        seen.append([round(model[name].item(), 5) for name in NAMES])
    return seen


def test_the_weights_of_two_tiers_are_mirrored():
    """Tier 1 reports 20, 30 and 40, then tier 2 reports 50.

    T = (1, 0), (2, 0), (3, 0): tier 1 weighs T_2 = 0, tier 2 all, and its model is still version 0. T = (3, 1): 1/4 of
    40 and 3/4 of 50; with the weights the other way it would be 42.5, by the newest report alone 50.
    """
    rounds = [(0, update_of(20.0)), (0, update_of(30.0)), (0, update_of(40.0)), (1, update_of(50.0))]
    assert reports(*rounds) == [[10.0] * 4, [10.0] * 4, [10.0] * 4, [47.5] * 4]


def test_the_middle_of_three_tiers_keeps_its_own_count():
    # T = (1, 2, 1): 1/4 of 20, 2/4 of 60, 1/4 of 40
    rounds = [(0, update_of(20.0)), (1, update_of(30.0)), (1, update_of(60.0)), (2, update_of(40.0))]
    assert reports(*rounds, held=(ABC,) * 3)[-1] == [45.0] * 4


def test_a_tiers_model_is_the_mean_of_its_rounds_clients_by_their_samples():
    # 20 of 1 sample and 40 of 3: 35, not mixed with what the tier or the server had before
    rounds = [(0, update_of(99.0)), (0, update_of(20.0, num_samples=1), update_of(40.0, num_samples=3))]
    assert reports(*rounds, held=(ABC,)) == [[99.0] * 4, [35.0] * 4]


def test_a_group_is_of_the_tiers_that_hold_it_and_counts_the_rounds_that_trained_it():
    """Tier 1 holds a alone, tier 2 holds a and b; c is held by nobody.

    a: T = (1, 2), so 2/3 of 40 and 1/3 of 60; b: of tier 2 alone, which trained it in one of two rounds; head.bias: as
    a.
    """
    a, ab = ("encoder.a", "head.bias"), ("encoder.a", "encoder.b", "head.bias")
    rounds = [(0, update_of(40.0, groups=a)), (1, update_of(50.0, groups=ab)), (1, update_of(60.0, groups=a))]
    assert reports(*rounds, held=(("a",), ("a", "b")))[-1] == [46.66667, 50.0, 10.0, 46.66667]


def test_a_group_that_a_round_did_not_train_stays_where_a_server_optimiser_took_it():
    """Both tiers hold a, tier 1 alone b: its round makes 20 of b, a step of half of it leaves 15, and tier 2 comes."""
    held, a = (("a", "b"), ("a",)), ("encoder.a", "head.bias")
    method, told = FedAT(FedATOptions()), replace(update_of(20.0), message=Tier(0, held))
    merged, memory = method.advance(model_of(10.0), method.initial_memory(None, 0), [told])
    assert merged["encoder.b.weight"].item() == 20.0
    stepped = {**merged, "encoder.b.weight": merged["encoder.b.weight"] - 5.0}
    merged, _ = method.advance(stepped, memory, [replace(update_of(30.0, groups=a), message=Tier(1, held))])
    assert merged["encoder.b.weight"].item() == 15.0
    assert merged["encoder.a.weight"].item() == 25.0


def test_tiers_are_formed_by_response_time_and_do_not_wait_for_each_other():
    """Clients 0 to 3, of which a local round takes 12, 4, 12 and 4 s; two tiers of two.

    All are measured until 12 s. From then on tier {1, 3} has a round every 4 s and tier {0, 2} one every 12 s, so that
    the slow tier's updates are two or three versions late, as the fast tier's third comes after or before them.
    """
    entry = {"name": "fedat", "server": {"tiers": 2, "clients_per_round": 2}}
    at_once = {"gray": (0.0,) * 4, "color": (0.0,) * 4}
    played = play(entry, 36.0, delays_s=at_once, step_s=(5.0, 1.0, 5.0, 1.0))
    assert {at_s for _, at_s, *_ in played.merges} == {16.0, 20.0, 24.0, 28.0, 32.0, 36.0}
    by_tier = {tier: [at_s for client, at_s, *_ in played.merges if client == tier[0]] for tier in ((1, 3), (0, 2))}
    assert by_tier == {(1, 3): [16.0, 20.0, 24.0, 28.0, 32.0, 36.0], (0, 2): [24.0, 36.0]}
    together = {}
    for client, _, version, _ in played.merges:
        together.setdefault(version, set()).add(client)
    assert {frozenset(clients) for clients in together.values()} == {frozenset({1, 3}), frozenset({0, 2})}
    slow = [staleness for client, _, _, staleness in played.merges if client == 0]
    assert all(2 <= staleness <= 3 for staleness in slow)


def test_a_client_whose_first_upload_breaks_off_is_of_the_slowest_tier():
    entry = {"name": "fedat", "server": {"tiers": 2, "clients_per_round": 1}}
    at_once = {"gray": (0.0,) * 2, "color": (0.0,) * 2}
    played = play(entry, 24.0, delays_s=at_once, step_s=(1.0, 5.0), lost={(0, 0): 0.5})
    # the fast client 0 would be tier 1; both tiers go at their own pace all the same
    assert [client for client, at_s, *_ in played.merges if at_s < 24.0] == [0, 0]


def run(scenario_with, tmp_path, *methods, **changes):
    changes = {"clients.count": 6, "until": {"versions": 4}, "methods": list(methods), **changes}
    return run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, device="cpu")


def test_one_tier_is_fedprox(scenario_with, tmp_path):
    one, fedprox = run(
        scenario_with, tmp_path, {"name": "fedat", "server": {"tiers": 1}}, {"name": "fedprox", "proximal": 0.4},
        **{"clients.multimodal_fraction": 0.5},
    )  # fmt: skip
    # clients of one speed are drawn, and so arrive, in another order
    by = ["start_s", "end_s", "client", "activity"]
    timelines = [r.timeline.sort_values(by).reset_index(drop=True) for r in (one, fedprox)]
    pd.testing.assert_frame_equal(*timelines)
    pd.testing.assert_frame_equal(one.metrics, fedprox.metrics, rtol=1e-5)


def test_rounds_draw_their_clients_from_the_tier_and_send_what_fedavgs_do(scenario_with, tmp_path):
    server = {"tiers": 3, "clients_per_round": 1}
    (record,) = run(scenario_with, tmp_path, {"name": "fedat", "server": server}, until={"versions": 30})
    (fedavg,) = run(scenario_with, tmp_path, {"name": "fedavg"})
    merged = record.timeline.query("activity == 'merge'")
    assert merged.groupby("version")["client"].nunique().eq(1).all()
    assert merged["client"].nunique() >= 4  # not always the same client of a tier
    per_transfer = [set(r.timeline.query("activity in ('upload', 'download')")["bytes"]) for r in (record, fedavg)]
    assert per_transfer[0] == per_transfer[1]
    assert np.isfinite(record.metrics["value"]).all()


@pytest.mark.parametrize(("tiers", "clients", "expected"), [(5, 100, (50, 5)), (5, 12, (12, 5)), (5, 3, (3, 3))])
def test_as_many_clients_are_in_flight_as_the_tiers_send(tiers, clients, expected):
    assert TieredBarrier(tiers=tiers).in_flight(clients) == expected
