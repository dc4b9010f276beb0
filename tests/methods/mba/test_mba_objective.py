"""Anchors, distances and losses of MBA's readings by hand."""

import math

import pytest
import torch

from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.mba.distances import delta
from interlude.simulator.methods.mba.objective import Joint
from interlude.simulator.training.objective import Batch, Context
from interlude.simulator.training.profile.costs import CostModel
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.values import Named, by_modality, named

BOTH = ("gray", "color")
GRAY = torch.tensor([[1.0, 0.0]])
UP = torch.tensor([[0.0, 1.0]])


def test_cosine_distance_by_hand():
    # equal direction 0, orthogonal 1, opposite 2
    u = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
    v = torch.tensor([[1.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    torch.testing.assert_close(delta(u, v, "cosine"), torch.tensor([0.0, 1.0, 2.0]))


def test_squared_distance_is_per_dimension():
    # ((1 - 0)^2 + (2 - 4)^2) / 2 = 2.5
    torch.testing.assert_close(
        delta(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]]), "squared"), torch.tensor([2.5])
    )


@pytest.fixture
def identity_network():
    """Encoders that return their non-negative input (width 2) and a head that returns gray's feature."""
    network = Network(ModelSpec(encoder="mlp", width=2), {"gray": (2,), "color": (2,)}, num_classes=2)
    parameters = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
    for name in parameters:
        if name.endswith("weight") and name != "head.color.weight":
            parameters[name] = torch.eye(2)
    return network, parameters


def one_sample(gray, color):
    return Batch({"gray": gray, "color": color}, torch.tensor([0]), torch.tensor([0]))


@pytest.mark.parametrize(("beta", "exponent", "weight"), [(2.0, 0.0, 1.0), (2.0, 1.0, 1.5), (2.0, 2.0, 2.25)])
def test_the_loss_of_anchors_as_targets_by_hand(identity_network, beta, exponent, weight):
    # One sample, gray (1, 0), label 0, logits (1, 0): CE = ln(1 + e^-1) = 0.313262.
    # Anchor of gray (0, 1): delta = 1. E = {gray}: beta / 1 * r^gamma * 1, r = 1.5 where it acts.
    network, parameters = identity_network
    context = Context(
        parameters,
        broadcast=named("imbalance", {"gray": torch.tensor(1.5), "color": torch.tensor(0.5)}),
        prepared={Named("anchor", "gray"): UP},
    )
    objective = Joint(BOTH, ("gray",), anchor="target", beta=beta, exponent=exponent)
    expected = math.log(1 + math.exp(-1)) + beta * weight
    loss = objective.loss(network, parameters, one_sample(GRAY, UP), context)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_anchor_term_is_averaged_over_early_modalities(identity_network):
    # gray drifted by 1, color by 0: beta / 2 * (1 + 0)
    network, parameters = identity_network
    batch = one_sample(GRAY, GRAY)
    context = Context(parameters, prepared=named("anchor", {"gray": UP, "color": GRAY}))
    both = Joint(BOTH, BOTH, anchor="target", distance="drift", beta=3.0)
    expected = math.log(1 + math.exp(-1)) + 3.0 / 2
    assert both.loss(network, parameters, batch, context).item() == pytest.approx(expected, rel=1e-5)
    report = by_modality(both.report(network, parameters, batch, context), "distance")
    assert (report["gray"].item(), report["color"].item()) == pytest.approx((1.0, 0.0))


def test_the_late_modality_is_trained_alone_too(identity_network):
    # gray (1, 0), color (0, 2), head the sum: logits (1, 2), CE = ln(1 + e); color alone (0, 2): ln(1 + e^2).
    # beta 0.5, r_color^gamma = 4^0.5 = 2.
    network, parameters = identity_network
    parameters["head.color.weight"] = torch.eye(2)
    objective = Joint(BOTH, ("gray",), late=("color",), beta=0.5, exponent=0.5)
    context = Context(parameters, broadcast=named("imbalance", {"color": torch.tensor(4.0)}))
    expected = math.log(1 + math.e) + 0.5 * 2.0 * math.log(1 + math.exp(2.0))
    loss = objective.loss(network, parameters, one_sample(GRAY, 2.0 * UP), context)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_anchors_as_inputs_stand_in_for_the_early_encoder(identity_network):
    # The window's second sample has the anchor (0, 1): logits (0, 1) whatever the encoder says, label 0: ln(1 + e).
    network, parameters = identity_network
    objective = Joint(BOTH, ("gray",), anchor="input")
    batch = Batch({"gray": GRAY, "color": UP}, torch.tensor([0]), torch.tensor([1]))
    context = Context(parameters, prepared={Named("anchor", "gray"): torch.cat([GRAY, UP])})
    assert objective.loss(network, parameters, batch, context).item() == pytest.approx(math.log(1 + math.e), rel=1e-5)
    assert set(network.groups) - set(objective.groups(network)) == {"encoder.gray"}


def test_anchors_per_sample_and_per_class(identity_network):
    network, parameters = identity_network
    gray = torch.tensor([[1.0, 0.0], [3.0, 2.0], [0.0, 5.0]])
    window = Batch({"gray": gray, "color": gray}, torch.tensor([0, 0, 1]), torch.arange(3))
    sample = Joint(BOTH, ("gray",), anchor="target")
    torch.testing.assert_close(
        sample.prepare(network, parameters, window, Context(parameters))[Named("anchor", "gray")], gray
    )
    by_class = Joint(BOTH, ("gray",), anchor="target", anchor_form="class_mean")
    # class 0: mean of (1, 0) and (3, 2); class 1: (0, 5)
    expected = torch.tensor([[2.0, 1.0], [0.0, 5.0]])
    prepared = by_class.prepare(network, parameters, window, Context(parameters))
    torch.testing.assert_close(prepared[Named("anchor", "gray")], expected)


@pytest.mark.parametrize("anchor_form", ["sample", "class_mean"])
def test_displacement_is_the_way_of_the_gap(identity_network, anchor_form):
    # Received features (3, 4), (0, 1), after the gap (6, 4), (0, 1): mean(3, 0) / mean(5, 1) = 0.5; padding is none.
    network, received = identity_network
    gray = torch.tensor([[3.0, 4.0], [0.0, 1.0], [9.0, 9.0]])
    window = Batch({"gray": gray, "color": gray}, torch.tensor([0, 1, 0]), torch.arange(3), torch.tensor([1.0, 1, 0]))
    name = [name for name in received if name.startswith("encoder.gray") and name.endswith("weight")][-1]
    after = {**received, name: torch.diag(torch.tensor([2.0, 1.0]))}
    objective = Joint(BOTH, ("gray",), anchor="target", anchor_form=anchor_form, distance="displacement")
    prepared = objective.prepare(network, after, window, Context(received))
    report = objective.report(network, after, window, Context(received, prepared=prepared))
    assert {key: value.item() for key, value in report.items()} == {Named("distance", "gray"): pytest.approx(0.5)}


def test_displacement_of_features_that_are_zero_is_a_number(identity_network):
    network, parameters = identity_network
    window = one_sample(0.0 * GRAY, GRAY)
    (distance,) = (
        Joint(BOTH, ("gray",), distance="displacement")
        .prepare(network, parameters, window, Context(parameters))
        .values()
    )
    assert distance.item() == 0.0


def test_prediction_is_the_loss_of_each_modality_alone_under_the_received_model(identity_network):
    # gray (1, 0): ln(1 + e^-1). color (0, 2) through an identity: ln(1 + e^2). The trained parameters are others.
    network, received = identity_network
    trained = {name: torch.zeros_like(value) for name, value in received.items()}
    received["head.color.weight"] = torch.eye(2)
    objective = Joint(BOTH, ("gray",), distance="prediction")
    window = one_sample(GRAY, 2.0 * UP)
    prepared = objective.prepare(network, trained, window, Context(received))
    report = by_modality(objective.report(network, trained, window, Context(received, prepared=prepared)), "distance")
    assert {m: d.item() for m, d in report.items()} == pytest.approx(
        {"gray": math.log(1 + math.exp(-1)), "color": math.log(1 + math.exp(2))}
    )


# Multiply-adds per sample of the network below: encoders 6*5 + 5*5 = 55 (gray) and 4*5 + 5*5 = 45 (color), a head slice
# 5*3 = 15. A step makes them three times (values, gradients of weights, gradients of inputs), but the first layers have
# no gradient of inputs: 3 * 55 - 30 = 135, 3 * 45 - 20 = 115, 45.
STEP = 135 + 115 + 2 * 45


@pytest.mark.parametrize(
    ("switches", "of_a_step", "of_the_window", "num_reported"),
    [
        ({"anchor": "target", "distance": "drift"}, STEP, 55 + 55, 1),  # anchors; after training
        ({"anchor": "target", "distance": "displacement"}, STEP, 55 + 55, 1),  # anchors; by the received model
        ({"anchor": "target", "distance": "prediction"}, STEP, 55 + (55 + 45 + 2 * 15), 2),
        ({"anchor": "none", "distance": "prediction"}, STEP, 55 + 45 + 2 * 15, 2),
        ({"late": ("color",)}, STEP + 45, 0, 0),
        ({"anchor": "input"}, 115 + 45 + 30, 55, 0),  # gray: its head slice forward, and the gradient of that
    ],
)
def test_every_pass_is_paid_for(switches, of_a_step, of_the_window, num_reported):
    network = Network(ModelSpec(encoder="mlp", width=5), {"gray": (6,), "color": (4,)}, num_classes=3)
    costs = CostModel(network, 4, {})
    cost = costs.of_task((LocalSteps(Joint(BOTH, ("gray",), **switches), 2, "joint"),), 8)
    assert cost.flops == 2 * (2 * 4 * of_a_step + 8 * of_the_window)  # 2 steps of 4 samples; 2 FLOPs per multiply-add
    assert cost.report_bytes == 4 * num_reported
