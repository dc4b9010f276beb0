"""Anchors, distances and the loss of MBA by hand."""

import math

import pytest
import torch

from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.mba.objective import Anchored, delta
from interlude.simulator.training.objective import Batch, Context
from interlude.simulator.training.profile.costs import CostModel
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.values import Named, by_modality, named


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


@pytest.mark.parametrize(("beta", "weighted"), [(0.0, False), (2.0, False), (2.0, True)])
def test_anchored_loss_by_hand(identity_network, beta, weighted):
    # One sample, gray (1, 0), label 0, logits (1, 0): CE = ln(1 + e^-1) = 0.313262.
    # Anchor of gray (0, 1): delta = 1. E = {gray}: beta / 1 * r * 1 with r = 1, or 1.5 where the server weights it.
    network, parameters = identity_network
    batch = Batch(
        {"gray": torch.tensor([[1.0, 0.0]]), "color": torch.tensor([[0.0, 1.0]])}, torch.tensor([0]), torch.tensor([0])
    )
    objective = Anchored(("gray", "color"), ("gray",), beta, "sample", "cosine", weighted)
    context = Context(
        parameters,
        broadcast=named("imbalance", {"gray": torch.tensor(1.5), "color": torch.tensor(0.5)}),
        prepared={Named("anchor", "gray"): torch.tensor([[0.0, 1.0]])},
    )
    expected = math.log(1 + math.exp(-1)) + beta * (1.5 if weighted else 1.0)
    assert objective.loss(network, parameters, batch, context).item() == pytest.approx(expected, rel=1e-5)


def test_the_anchor_term_is_averaged_over_early_modalities(identity_network):
    # gray drifted by 1, color by 0: beta / 2 * (1 + 0)
    network, parameters = identity_network
    one_zero = torch.tensor([[1.0, 0.0]])
    batch = Batch({"gray": one_zero, "color": one_zero}, torch.tensor([0]), torch.tensor([0]))
    anchors = {"gray": torch.tensor([[0.0, 1.0]]), "color": one_zero}
    context = Context(parameters, prepared=named("anchor", anchors))
    both = Anchored(("gray", "color"), ("gray", "color"), 3.0, "sample", "cosine", weighted=False)
    expected = math.log(1 + math.exp(-1)) + 3.0 / 2
    assert both.loss(network, parameters, batch, context).item() == pytest.approx(expected, rel=1e-5)
    report = by_modality(both.report(network, parameters, batch, context), "distance")
    assert (report["gray"].item(), report["color"].item()) == pytest.approx((1.0, 0.0))


def test_anchors_per_sample_and_per_class(identity_network):
    network, parameters = identity_network
    gray = torch.tensor([[1.0, 0.0], [3.0, 2.0], [0.0, 5.0]])
    window = Batch({"gray": gray, "color": gray}, torch.tensor([0, 0, 1]), torch.arange(3))
    sample = Anchored(("gray", "color"), ("gray",), 1.0, "sample", "cosine", weighted=False)
    torch.testing.assert_close(
        sample.prepare(network, parameters, window, Context(parameters))[Named("anchor", "gray")], gray
    )
    by_class = Anchored(("gray", "color"), ("gray",), 1.0, "class_mean", "cosine", weighted=False)
    # class 0: mean of (1, 0) and (3, 2); class 1: (0, 5)
    expected = torch.tensor([[2.0, 1.0], [0.0, 5.0]])
    prepared = by_class.prepare(network, parameters, window, Context(parameters))[Named("anchor", "gray")]
    torch.testing.assert_close(prepared, expected)


def test_anchor_and_report_are_paid_for():
    network = Network(ModelSpec(encoder="mlp", width=5), {"gray": (6,), "color": (4,)}, num_classes=3)
    costs = CostModel(network, 4, {})
    objective = Anchored(("gray", "color"), ("gray",), 1.0, "sample", "cosine", weighted=False)
    cost = costs.of_task((LocalSteps(objective, 2, "joint"),), 8)
    one_pass = 2 * 8 * (6 * 5 + 5 * 5)  # gray's encoder forward over the window of 8
    assert cost.flops == 2 * costs.step_flops(objective, 4) + 2 * one_pass
    assert cost.report_bytes == 4  # one float32 distance
