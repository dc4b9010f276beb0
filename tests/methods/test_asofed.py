"""ASO-Fed: zeta, h and the share of the samples by hand; r_k; what travels."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from updates import GROUPS, NAMES, model_of, update_of

from interlude import parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.asofed import ASOFed, ASOFedOptions, attended
from interlude.simulator.training.merge import Holders, add_deltas

ALL = dict.fromkeys(GROUPS, Holders(4, 8))


def aso_fed(**options):
    return ASOFed(ASOFedOptions(**options))


def arrivals(method, *updates, client=0):
    """Return the model's numbers after each arrival, from 10."""
    model, memory, seen = model_of(10.0), {}, []
    for update in updates:
        known = update.holders or ALL
        model, memory = method.advance(model, memory, [replace(update, client=client, holders=known)])
        seen.append([round(model[name].item(), 5) for name in NAMES])
    return seen


def test_three_rounds_of_a_client_by_hand():
    """A quarter of the samples (2 of 8), beta = 1/2; the client descends by 4, 6 and 2.

    zeta: 4 - 0 + 0 = 4; 6 - 4 + 0 = 2; 2 - 6 + 2 = -2.  h: 0 -> 0 -> (0 + 4) / 2 = 2, which enters the third zeta and
    not the second: h_(t-1) is that of before, made from g_(t-2).  The model: 10 - 1 = 9, 9 - 1/2 = 8.5, 8.5 + 1/2 = 9.
    """
    rounds = [update_of(value, num_samples=2, start=20.0) for value in (16.0, 14.0, 18.0)]
    assert arrivals(aso_fed(), *rounds) == [[9.0] * 4, [8.5] * 4, [9.0] * 4]


def test_every_client_has_a_past_of_its_own():
    method, memory = aso_fed(), {}
    model = model_of(10.0)
    for client in (0, 1, 0):
        update = replace(update_of(16.0, num_samples=2, start=20.0), client=client, holders=ALL)
        model, memory = method.advance(model, memory, [update])
    # 4 of client 0, 4 of client 1, 4 - 4 + 0 of client 0
    assert model["encoder.a.weight"].item() == 8.0


def test_a_group_counts_the_samples_of_those_that_hold_it_and_others_stand_still():
    # 4 x 2/8 of head.bias, 4 x 2/4 of encoder.a
    update = update_of(16.0, groups=("encoder.a", "head.bias"), num_samples=2, start=20.0)
    (numbers,) = arrivals(aso_fed(), replace(update, holders={**ALL, "encoder.a": Holders(2, 4)}))
    assert numbers == [8.0, 10.0, 10.0, 9.0]


def test_a_round_without_a_group_leaves_its_past_alone():
    # encoder.b: 4, nothing, 6 - 4 + 0: its h is still of g_0 = 0
    rounds = [update_of(16.0, num_samples=8, start=20.0), update_of(0.0, groups=("encoder.a",), num_samples=8),
              update_of(14.0, num_samples=8, start=20.0)]  # fmt: skip
    assert [numbers[1] for numbers in arrivals(aso_fed(), *rounds)] == [6.0, 6.0, 4.0]


def test_first_rounds_from_one_model_without_balance_and_penalty_are_fedavg():
    method, model, memory = aso_fed(beta=1.0, proximal=0.0), model_of(10.0), {}
    updates = [
        replace(
            update_of(value, num_samples=n, start=10.0), client=client, holders=dict.fromkeys(GROUPS, Holders(3, 6))
        )
        for client, (value, n) in enumerate([(16.0, 1), (4.0, 2), (13.0, 3)])
    ]
    weighted = add_deltas(model, updates, lambda position, _: updates[position].num_samples / 6, 1.0)
    for update in updates:
        model, memory = method.advance(model, memory, [update])
    assert model["head.bias"].item() == pytest.approx(weighted["head.bias"].item())  # 10 + (6 - 12 + 9) / 6
    assert all(not value.any() for past in memory.values() for value in past.balance.values())


def test_attention_weighs_a_row_by_the_softmax_of_its_sizes():
    # |(0, ln 3)|: softmax (1/4, 3/4); a row of equals is divided by its length
    weight = torch.tensor([[0.0, -math.log(3)], [2.0, 2.0]])
    expected = torch.tensor([[0.0, -0.75 * math.log(3)], [1.0, 1.0]])
    torch.testing.assert_close(attended(weight), expected)


def test_feature_learning_changes_first_layers_of_trained_encoders_alone():
    network = Network(ModelSpec(encoder="mlp", width=3), {"gray": (2,), "color": (2,)}, num_classes=2)
    model = network.initial_parameters(torch.Generator().manual_seed(0), torch.device("cpu"))
    groups = network.groups_of(("gray",))
    update = replace(update_of(0.0, groups=groups), parameters=model, start=model)
    update = replace(update, holders=dict.fromkeys(groups, Holders(1, 1)))
    merged, _ = aso_fed(feature_learning=True).advance(model, {}, [update])
    changed = [name for name, value in model.items() if not torch.equal(merged[name], value)]
    assert changed == [next(name for name in network.groups["encoder.gray"] if name.endswith("weight"))]


class Day:
    def __init__(self, mean_round_s):
        self.mean_round_s = mean_round_s


@pytest.mark.parametrize(("mean_round_s", "rate"), [(0.0, 1.0), (2.0, 1.0), (20.0, 3.0), (1000.0, 6.91)])
def test_clients_whose_rounds_take_long_take_larger_steps(mean_round_s, rate):
    # ln 20 = 2.9957, ln 1000 = 6.9078; never below 1
    assert aso_fed().learning_rate_scale(Day(mean_round_s)) == rate
    assert aso_fed(dynamic_rate=False).learning_rate_scale(Day(mean_round_s)) == 1.0


def run(scenario_with, tmp_path, *methods, **changes):
    changes = {"clients.count": 3, "until": {"versions": 9}, "methods": list(methods), **changes}
    return run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, device="cpu")


def test_a_round_takes_and_sends_what_fedasyncs_does_and_the_first_goes_at_its_rate(scenario_with, tmp_path):
    """Rounds of 20 s and more: r_k = 1 in each client's first round and 3 or more in its others."""
    late = {"world.arrival.color.per_client": {"distribution": "constant", "value_s": 20.0}}
    asofed, plain, fedasync = run(
        scenario_with, tmp_path, {"name": "aso-fed"}, {"name": "aso-fed", "dynamic_rate": False, "label": "plain"},
        {"name": "fedasync"}, **late,
    )  # fmt: skip
    pd.testing.assert_frame_equal(asofed.timeline, fedasync.timeline)
    per_version = [r.metrics.query("metric == 'accuracy'").groupby("version")["value"].first() for r in (asofed, plain)]
    first, later = per_version[0].index <= 3, per_version[0].index > 3
    assert (per_version[0][first] == per_version[1][first]).all()
    assert (per_version[0][later] != per_version[1][later]).any()
