"""G-Blending: weights and probes by hand, who probes what, what it costs, and FedAvg's loss as a limit."""

import math

import numpy as np
import pytest
import torch

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.federation.setting import Population
from interlude.simulator.federation.views import SelectionView
from interlude.simulator.methods.gblending.method import GBlending, GBlendingOptions
from interlude.simulator.methods.gblending.objective import Blended, Probe
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Batch, Context, CrossEntropy
from interlude.simulator.training.profile.costs import CostModel
from interlude.simulator.training.values import Named, named

BOTH = ("gray", "color")
HEADS = ("fused", *BOTH)


@pytest.fixture
def network():
    return Network(ModelSpec(encoder="mlp", width=2), dict.fromkeys(BOTH, (2,)), num_classes=2)


def probed(client, head, gain, overfitting, num_samples=1):
    report = {Named("gain", head): torch.tensor(gain), Named("overfitting", head): torch.tensor(overfitting)}
    return ClientUpdate(client, (), num_samples, 0, {}, {}, report)


def weights_after(network, *updates):
    method = GBlending(GBlendingOptions())
    memory = method.remember(method.initial_memory(network, 4), updates)
    return {head: weight.item() for head, weight in memory.weights.items()}


# --- the server ------------------------------------------------------------------------------------------------------


def test_weights_by_hand(network):
    # fused G = (1 * 0.2 + 3 * 0.6) / 4 = 0.5, O = 0.5: 2; gray G = 0.4, O = -0.2: 10; color G = 0.1, O = 0.5: 0.4
    found = weights_after(
        network,
        probed(0, "fused", 0.2, 0.5),
        probed(1, "fused", 0.6, 0.5, num_samples=3),
        probed(2, "gray", 0.4, -0.2),
        probed(3, "color", 0.1, 0.5),
    )
    assert found == pytest.approx({"fused": 2 / 12.4, "gray": 10 / 12.4, "color": 0.4 / 12.4})


def test_a_head_that_generalises_worse_has_no_weight_and_next_to_no_overfitting_counts_as_a_hundredth(network):
    # fused 0.1 / 0.01^2 = 1000 for an O of 1e-9, gray 0 for a G below 0, color 0.1 / 0.02^2 = 250
    found = weights_after(
        network, probed(0, "fused", 0.1, 1e-9), probed(1, "gray", -5.0, 0.1), probed(2, "color", 0.1, 0.02)
    )
    assert found == pytest.approx({"fused": 0.8, "gray": 0.0, "color": 0.2})


def test_where_no_head_improves_weights_stay_and_a_lost_head_keeps_its_estimate(network):
    method = GBlending(GBlendingOptions())
    start = method.initial_memory(network, 4)
    nothing = method.remember(start, [probed(0, head, -1.0, 1.0) for head in HEADS])
    assert [w.item() for w in nothing.weights.values()] == pytest.approx([1 / 3] * 3)
    first = method.remember(start, [probed(0, "fused", 1.0, 1.0), probed(1, "gray", 1.0, 1.0)])
    assert [w.item() for w in first.weights.values()] == pytest.approx([0.5, 0.5, 0.0])
    second = method.remember(first, [probed(0, "gray", 3.0, 1.0)])
    assert [w.item() for w in second.weights.values()] == pytest.approx([0.25, 0.75, 0.0])
    assert method.remember(second, [ClientUpdate(0, (), 1, 0, {}, {}, {})]) is second


def test_heads_are_dealt_out_in_turns_that_move_on_with_every_super_epoch():
    held = [BOTH, BOTH, ("color",), BOTH, BOTH]
    population = Population([np.arange(1)] * 5, held)
    method = GBlending(GBlendingOptions(super_epoch=4))

    def candidates(version):
        return method.candidates(SelectionView(0, version, 0, [0, 1, 2, 4], population, None), 2)

    assert candidates(0) == {0: "fused", 1: "gray", 2: "color", 4: "fused"}
    assert candidates(4) == {0: "gray", 1: "color", 2: "color", 4: "gray"}
    assert [bool(candidates(version)) for version in range(9)] == [True, *[False] * 3, True, *[False] * 3, True]


@pytest.mark.parametrize("rule", ["on_arrival", "buffered"])
def test_other_server_rules_are_refused(rule, scenario_with):
    with pytest.raises(BadInputError, match=rf"server\.rule: must be 'barrier'; given '{rule}'"):
        parse_scenario(scenario_with({"methods": [{"name": "gblending", "server": {"rule": rule}}]}))


# --- the client ------------------------------------------------------------------------------------------------------


def parameters_of(network, scale=1.0):
    """Encoders that return their non-negative input, and a head that adds both features, times a scale, up."""
    parameters = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
    for name in parameters:
        if name.endswith("weight"):
            parameters[name] = torch.eye(2) * (scale if name.startswith("head") else 1.0)
    return parameters


def test_a_probe_by_hand(network):
    # one in two is held out: samples 0 and 2, classes 0 and 1, at feature (1, 0); trained on is sample 1, class 0.
    # margin 1: L_held = (log(1 + e^-1) + log(1 + e)) / 2, L_trained = log(1 + e^-1); margin 3 afterwards. The last
    # sample is padding.
    inputs = {"gray": torch.tensor([[1.0, 0.0]] * 4)}
    window = Batch(inputs, torch.tensor([0, 0, 1, 1]), torch.arange(4), torch.tensor([1.0, 1.0, 1.0, 0.0]))
    before, after = parameters_of(network), parameters_of(network, 3.0)
    probe = Probe(("gray",), "gray", 2)
    prepared = probe.prepare(network, before, window, Context(before))
    report = probe.report(network, after, window, Context(before, prepared=prepared))

    def losses(margin):
        right, wrong = math.log(1 + math.exp(-margin)), math.log(1 + math.exp(margin))
        return (right + wrong) / 2, right

    (held, trained), (held_after, trained_after) = losses(1.0), losses(3.0)
    assert report[Named("gain", "gray")].item() == pytest.approx(held - held_after)  # below 0
    overfitting = (held_after - trained_after) - (held - trained)
    assert report[Named("overfitting", "gray")].item() == pytest.approx(overfitting)
    assert probe.loss(network, before, window, Context(before)).item() == pytest.approx(trained)


def test_a_single_sample_is_held_out_and_trains_nothing(network):
    window = Batch({"gray": torch.tensor([[1.0, 0.0]])}, torch.tensor([0]), torch.tensor([0]))
    assert Probe(("gray",), "gray", 10).loss(network, parameters_of(network), window, Context({})).item() == 0.0


def test_the_blended_loss_by_hand_and_the_fused_head_alone(network):
    # gray (2, 0), color (0, 1), class 0: margins 2 - 1 fused, 2 gray, -1 color
    parameters = parameters_of(network)
    inputs = {"gray": torch.tensor([[2.0, 0.0]]), "color": torch.tensor([[0.0, 1.0]])}
    batch = Batch(inputs, torch.tensor([0]), torch.tensor([0]))

    def loss(*weights):
        broadcast = named("head_weight", dict(zip(HEADS, map(torch.tensor, weights), strict=True)))
        objective = Blended(BOTH)
        prepared = objective.prepare(network, parameters, batch, Context(parameters, broadcast))
        return objective.loss(network, parameters, batch, Context(parameters, broadcast, prepared)).item()

    fused, gray, color = (math.log(1 + math.exp(-margin)) for margin in (1.0, 2.0, -1.0))
    assert loss(0.5, 0.2, 0.3) == pytest.approx(0.5 * fused + 0.2 * gray + 0.3 * color)
    assert loss(0.0, 0.0, 0.0) == pytest.approx((fused + gray + color) / 3)
    assert loss(1.0, 0.0, 0.0) == CrossEntropy(BOTH).loss(network, parameters, batch, Context(parameters)).item()


# --- whole runs ------------------------------------------------------------------------------------------------------


def test_what_a_super_epoch_costs(scenario_with, tmp_path):
    methods = [{"name": "fedavg"}, {"name": "gblending", "super_epoch": 2}]
    given = scenario_with({"methods": methods, "until": {"versions": 3}})
    fedavg, blended = run_scenario(parse_scenario(given), runs=tmp_path, timing_only=True)

    def sent(record, activity):
        return sorted(record.timeline.query(f"activity == '{activity}'")["bytes"])

    (down,), (up,) = ({*sent(fedavg, activity)} for activity in ("download", "upload"))
    network = Network(ModelSpec(encoder="mlp", width=16), {"gray": (1, 8, 8), "color": (3, 8, 8)}, 10)
    of_head = {m: network.num_bytes(network.groups_of((m,))) for m in BOTH}
    # two super-epochs: heads fused, gray, color, fused, then gray, color, fused, gray; three floats down, two up
    probes = [down + 12] * 3 + [of_head["gray"] + 12] * 3 + [of_head["color"] + 12] * 2
    assert sent(blended, "download") == sorted([*probes, *[down + 12] * 12])
    assert sent(blended, "upload") == sorted([*[2 * 4 + 8] * 8, *[up] * 12])


def test_a_probe_pays_for_its_steps_and_two_passes_over_the_window(network):
    costs = CostModel(network, 4, {})
    probe, plain = Probe(("gray",), "gray", 10), CrossEntropy(("gray",))
    assert costs.step(probe, 4).flops == costs.step(plain, 4).flops
    forward = 2 * 8 * (2 * 2 + 2 * 2 + 2 * 2)
    assert costs.profile(probe, 8).prepare.flops == costs.profile(probe, 8).report.flops == forward


def test_weights_are_those_of_probes(scenario_with, tmp_path):
    given = scenario_with({"clients.multimodal_fraction": 0.5, "training.window_samples": 64, "until": {"versions": 4}})
    (record,) = run_scenario(
        parse_scenario({**given, "methods": [{"name": "gblending", "super_epoch": 2}]}), runs=tmp_path
    )
    weights = record.metrics.query("metric == 'head_weight'").pivot_table("value", "version", "modality")
    assert weights.sum(axis=1).to_numpy() == pytest.approx(1.0)
    assert (weights.iloc[-1] != weights.iloc[0]).any()
