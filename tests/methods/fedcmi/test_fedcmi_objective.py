"""Losses and temperatures of FedCMI by hand."""

import math

import pytest
import torch

from interlude.models.decomposed import DecomposedNetwork
from interlude.models.groups import group_of
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.fedcmi.objective import (
    Infiltrated,
    InfiltratedAlone,
    class_temperatures,
    distillation,
)
from interlude.simulator.training.objective import Batch, Context, CrossEntropy
from interlude.simulator.training.values import Named, named

BOTH = ("gray", "color")


def softplus(x):
    """ln(1 + e^x): the cross-entropy of logits (0, x) with label 0."""
    return math.log1p(math.exp(x))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.fixture
def parameters(net):
    """Encoders, self projectors and classifiers pass on what they get; infiltration projectors swap its two numbers.

    The head is the identity on gray and twice the identity on color.
    """
    values = {name: torch.zeros(shape.shape) for name, shape in net.shapes.items()}
    for name in values:
        if name.endswith("weight"):
            values[name] = torch.eye(2)
    for m in BOTH:
        values[f"infiltration_projector.{m}.weight"] = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    values["head.color.weight"] = 2 * torch.eye(2)
    return values


def batch(label, gray=(1.0, 0.0), color=(0.0, 2.0)):
    inputs = {"gray": torch.tensor([gray]), "color": torch.tensor([color])}
    return Batch(inputs, torch.tensor([label]), torch.tensor([0]))


def infiltrated(c1=2.0, c2=1.0, kappa=0.0):
    return Infiltrated(BOTH, c1, c2, kappa)


# --- losses ----------------------------------------------------------------------------------------------------------


def test_loss_by_hand_where_gray_dominates(net, parameters):
    # own: gray (1, 0), color (0, 2). Fused (1, 0) + 2 (0, 2) = (1, 4), label 0: CE = ln(1 + e^3).
    # q_gray (1, 0): CE = ln(1 + e^-1), p = sigmoid(1). q_color (0, 2): CE = ln(1 + e^2), p = sigmoid(-2). rho > 1.
    # Teacher gray: (sigmoid(1), sigmoid(-1)). Student q_color(IP color) = (2, 0): -log p = ln(1 + e^-2) and 2 more.
    kd = softplus(-2) + 2 * sigmoid(-1)
    loss = infiltrated(c1=2.0, c2=3.0).loss(net, parameters, batch(0), Context(parameters))
    assert loss.item() == pytest.approx(softplus(3) + 2 * (softplus(-1) + softplus(2)) + 3 * kd, rel=1e-5)


def test_loss_by_hand_where_color_dominates(net, parameters):
    # label 1: p of gray = sigmoid(-1), of color = sigmoid(2): rho < 1. Fused (1, 4): CE = ln(1 + e^-3).
    # Teacher color: (sigmoid(-2), sigmoid(2)). Student q_gray(IP gray) = (0, 1): -log p = ln(1 + e^-1) for class 1.
    kd = softplus(-1) + 1 * sigmoid(-2)
    loss = infiltrated().loss(net, parameters, batch(1), Context(parameters))
    assert loss.item() == pytest.approx(softplus(-3) + 2 * (softplus(1) + softplus(-2)) + kd, rel=1e-5)


def test_temperature_is_the_samples_class_and_sharpens_teacher_and_student(net, parameters):
    # T_0 = 1/2: teacher logits (2, 0), student (4, 0)
    kd = softplus(-4) + 4 * sigmoid(-2)
    context = Context(parameters, prepared={Named("temperature", "gray+color"): torch.tensor([0.5, 7.0])})
    loss = infiltrated(c1=0.0).loss(net, parameters, batch(0), context)
    assert loss.item() == pytest.approx(softplus(3) + kd, rel=1e-5)


def test_the_teacher_is_the_received_model(net, parameters):
    # an ignorant global gray classifier teaches (1/2, 1/2)
    received = {**parameters, "classifier.gray.weight": torch.zeros(2, 2)}
    loss = infiltrated(c1=0.0).loss(net, parameters, batch(0), Context(received))
    assert loss.item() == pytest.approx(softplus(3) + softplus(-2) + 2 * 0.5, rel=1e-5)


def test_dominance_is_the_sum_over_the_batch(net, parameters):
    # gray is sure of sample 0 and color of sample 1, color more so: sigmoid(1) + 1/2 < 1/2 + sigmoid(3)
    inputs = {"gray": torch.tensor([[1.0, 0.0], [0.0, 0.0]]), "color": torch.tensor([[0.0, 0.0], [0.0, 3.0]])}
    two = Batch(inputs, torch.tensor([0, 1]), torch.arange(2))
    loss = infiltrated(c1=0.0).loss(net, parameters, two, Context(parameters))
    fused = (softplus(-1) + softplus(-6)) / 2
    # teacher color: (1/2, 1/2), then (sigmoid(-3), sigmoid(3)); student IP gray: (0, 1), then (0, 0)
    kd = (softplus(1) * 0.5 + softplus(-1) * 0.5 + math.log(2)) / 2
    assert loss.item() == pytest.approx(fused + kd, rel=1e-5)


def test_padding_counts_for_nothing(net, parameters):
    padded = {m: torch.cat([x, torch.full((1, 2), 9.0)]) for m, x in batch(0).inputs.items()}
    masked = Batch(padded, torch.tensor([0, 1]), torch.arange(2), mask=torch.tensor([1.0, 0.0]))
    objective = infiltrated(kappa=2.0)
    losses = []
    for given in (batch(0), masked):
        prepared = objective.prepare(net, parameters, given, Context(parameters))
        losses.append(objective.loss(net, parameters, given, Context(parameters, prepared=prepared)))
    torch.testing.assert_close(losses[1], losses[0])


@pytest.mark.parametrize(("label", "weak"), [(0, "color"), (1, "gray")])
def test_only_the_weak_modality_learns_from_distillation(net, parameters, label, weak):
    def gradients(c2):
        leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
        loss = infiltrated(c1=0.5, c2=c2).loss(net, leaves, batch(label), Context(parameters))
        return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True), strict=True))

    without, with_it = gradients(0.0), gradients(1.0)
    touched = {group_of(name) for name in without if not torch.equal(without[name], with_it[name])}
    assert touched == {f"encoder.{weak}", f"infiltration_projector.{weak}", f"classifier.{weak}"}


def test_one_modality_stands_in_for_the_other_by_hand(net, parameters):
    # gray alone: own (1, 0) in its slot, infiltration (0, 1) in color's: (1, 0) + 2 (0, 1) = (1, 2), label 0
    # color alone: infiltration (2, 0) in gray's slot, own (0, 2): (2, 0) + 2 (0, 2) = (2, 4), label 0
    for m, margin in (("gray", 1.0), ("color", 2.0)):
        loss = InfiltratedAlone((m,)).loss(net, parameters, batch(0), Context(parameters))
        assert loss.item() == pytest.approx(softplus(margin), rel=1e-5)


# --- temperatures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "v", "present", "expected"),
    [
        # r = 4, 2, 1; rbar = 7/3 > 1; only the first lags more than that
        ([0.8, 0.6, 0.5], [0.2, 0.3, 0.5], [1, 1, 1], [1 / (1 + 2 * math.log(12 / 7)), 1, 1]),
        # r = 1/4, 1/2, 1; rbar = 7/12 <= 1; compared with 1/rbar = 12/7, not with the mean 7/3 of 1/r = 4, 2, 1
        (
            [0.2, 0.3, 0.5],
            [0.8, 0.6, 0.5],
            [1, 1, 1],
            [1 / (1 + 2 * math.log(7 / 3)), 1 / (1 + 2 * math.log(7 / 6)), 1],
        ),
        # the last class is absent: rbar = 3
        ([0.8, 0.6, 0.0], [0.2, 0.3, 0.0], [1, 1, 0], [1 / (1 + 2 * math.log(4 / 3)), 1, 1]),
        ([0.0, 0.0], [0.0, 0.0], [0, 0], [1, 1]),
        ([0.5, 0.5], [0.5, 0.5], [1, 1], [1, 1]),
    ],
)
def test_class_temperatures_by_hand(a, v, present, expected):
    found = class_temperatures(torch.tensor(a), torch.tensor(v), torch.tensor(present, dtype=torch.bool), kappa=2.0)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


def test_a_probability_that_underflows_leaves_a_temperature_above_zero():
    found = class_temperatures(torch.tensor([1.0, 0.5]), torch.tensor([0.0, 0.5]), torch.tensor([True, True]), 2.0)
    assert 0.0 < found[0] < 1.0
    per_sample = distillation(torch.tensor([[100.0, 0.0]]), torch.tensor([[-100.0, 0.0]]), found[:1])
    assert torch.isfinite(per_sample).all()


def test_temperatures_come_from_the_received_model_over_the_window(net, parameters):
    # color knows nothing: P = 1/2. gray: P_0 = (s(1) + s(3)) / 2, P_1 = s(2); r = 1.683633, 1.761594
    gray = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    window = Batch({"gray": gray, "color": torch.zeros(3, 2)}, torch.tensor([0, 0, 1]), torch.arange(3))
    ratios = [sigmoid(1) + sigmoid(3), 2 * sigmoid(2)]
    expected = torch.tensor([1.0, 1 / (1 + 2 * math.log(ratios[1] / (sum(ratios) / 2)))])
    garbage = {name: torch.full_like(value, math.nan) for name, value in parameters.items()}
    prepared = infiltrated(kappa=2.0).prepare(net, garbage, window, Context(parameters))
    torch.testing.assert_close(prepared[Named("temperature", "gray+color")], expected)
    assert infiltrated(kappa=0.0).prepare(net, garbage, window, Context(parameters)) == {}


def test_without_its_terms_the_loss_is_cross_entropy_to_the_last_bit(net):
    random = net.initial_parameters(torch.Generator().manual_seed(0), torch.device("cpu"))
    bare, plain = Infiltrated(BOTH, 0.0, 0.0, 2.0), CrossEntropy(BOTH)
    assert torch.equal(*(o.loss(net, random, batch(0), Context(random)) for o in (bare, plain)))


# --- three modalities ------------------------------------------------------------------------------------------------

THREE = ("gray", "color", "depth")


@pytest.fixture
def three():
    """Three modalities whose parts pass on what they get; infiltration projectors swap its two numbers."""
    net = DecomposedNetwork(ModelSpec(encoder="mlp", width=2), dict.fromkeys(THREE, (2,)), num_classes=2)
    values = {n: torch.eye(2) if n.endswith("weight") else torch.zeros(s.shape) for n, s in net.shapes.items()}
    for m in THREE:
        values[f"infiltration_projector.{m}.weight"] = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    inputs = {"gray": [[1.0, 0.0]], "color": [[0.0, 2.0]], "depth": [[2.0, 0.0]]}
    one = Batch({m: torch.tensor(x) for m, x in inputs.items()}, torch.tensor([0]), torch.tensor([0]))
    return net, values, one


def test_of_three_the_dominant_one_teaches_both_others_by_hand(three):
    # label 0: depth (2, 0) dominates gray (1, 0) and color (0, 2). Fused (3, 2). It teaches (sigmoid(2), sigmoid(-2))
    # to the infiltrations of gray, (0, 1), and of color, (2, 0)
    net, parameters, one = three
    to_gray, to_color = softplus(1) - 1 * sigmoid(-2), softplus(-2) + 2 * sigmoid(-2)
    loss = Infiltrated(THREE, 0.0, 3.0, 0.0).loss(net, parameters, one, Context(parameters))
    assert loss.item() == pytest.approx(softplus(-1) + 3 * (to_gray + to_color) / 2, rel=1e-5)


def test_of_three_each_pair_has_its_own_temperature(three):
    net, parameters, one = three
    cold = dict.fromkeys(("gray+color", "gray+depth", "color+depth"), torch.tensor([1.0, 1.0]))
    cold["gray+depth"] = torch.tensor([0.5, 1.0])  # teacher (4, 0), student (0, 2)
    to_gray, to_color = softplus(2) - 2 * sigmoid(-4), softplus(-2) + 2 * sigmoid(-2)
    context = Context(parameters, prepared=named("temperature", cold))
    loss = Infiltrated(THREE, 0.0, 1.0, 2.0).loss(net, parameters, one, context)
    assert loss.item() == pytest.approx(softplus(-1) + (to_gray + to_color) / 2, rel=1e-5)
    prepared = Infiltrated(THREE, 0.0, 1.0, 2.0).prepare(net, parameters, one, Context(parameters))
    assert prepared.keys() == context.prepared.keys()


def test_the_mean_infiltration_of_two_stands_in_for_the_third(three):
    # gray (1, 0) and depth (2, 0); color's slot: mean of (0, 1) and (0, 2): fused (3, 1.5), label 0
    net, parameters, one = three
    loss = Infiltrated(("gray", "depth"), 0.0, 0.0, 0.0).loss(net, parameters, one, Context(parameters))
    assert loss.item() == pytest.approx(softplus(-1.5), rel=1e-5)
