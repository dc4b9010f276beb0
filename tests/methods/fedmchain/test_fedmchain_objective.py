"""The regularisers of FedMChain by hand."""

import math

import pytest
import torch

from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.fedmchain.objective import ErrorCompensated
from interlude.simulator.training.objective import Batch, Context, CrossEntropy
from interlude.simulator.training.profile.costs import CostModel
from interlude.simulator.training.task import LocalSteps

LN2, LN3 = math.log(2.0), math.log(3.0)


@pytest.fixture(params=["concat", "late_sum"])
def identity_network(request):
    """Encoders and head slices that hand their non-negative input (width 2) on; a bias (ln 3, 0) of a, the first."""
    network = Network(ModelSpec(encoder="mlp", width=2, fusion=request.param), {"a": (2,), "b": (2,)}, num_classes=2)
    parameters = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
    for name in parameters:
        if name.endswith("weight"):
            parameters[name] = torch.eye(2)
    parameters["head.bias" if request.param == "concat" else "head.a.bias"] = torch.tensor([LN3, 0.0])
    return network, parameters


def one_sample(a=(0.0, 0.0), b=(0.0, 0.0)):
    inputs = {"a": torch.tensor([a]), "b": torch.tensor([b])}
    return Batch(inputs, torch.tensor([0]), torch.tensor([0]))


def loss_of(objective, network, parameters, batch):
    prepared = objective.prepare(network, parameters, batch, Context(parameters))
    return objective.loss(network, parameters, batch, Context(parameters, prepared=prepared)).item()


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.0])
def test_residual_regulariser_by_hand(identity_network, weight):
    # Phase b, label 0. F = f_a = (ln 3, 0): P(y) = 3/4. f_b = (0, 0), without a's bias: CE = ln 2.
    # L = ln 2 (1 + lambda / 4)
    objective = ErrorCompensated("b", ("a",), "a", "residual", weight)
    assert loss_of(objective, *identity_network, one_sample()) == pytest.approx(LN2 * (1 + weight / 4), rel=1e-6)


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.0])
def test_ensemble_regulariser_by_hand(identity_network, weight):
    # F + f_b = (ln 3, ln 3): CE = ln 2 again, beside CE(f_b) with f_b = (0, ln 3): ln 4
    objective = ErrorCompensated("b", ("a",), "a", "ensemble", weight)
    expected = math.log(4.0) + weight * LN2
    assert loss_of(objective, *identity_network, one_sample(b=(0.0, LN3))) == pytest.approx(expected, rel=1e-6)


def test_the_first_modality_owns_the_bias_in_its_own_phase(identity_network):
    # Phase a of a later cycle. F = f_b = (0, ln 3), no bias: P(y) = 1/4. f_a = (ln 3, 0): CE = ln 4/3.
    objective = ErrorCompensated("a", ("b",), "a", "residual", 1.0)
    expected = math.log(4 / 3) * (1 + 3 / 4)
    assert loss_of(objective, *identity_network, one_sample(b=(0.0, LN3))) == pytest.approx(expected, rel=1e-6)


def test_a_modality_with_nothing_earlier_is_plain_cross_entropy(identity_network):
    network, parameters = identity_network
    batch = one_sample(a=(0.5, 2.0))
    expected = CrossEntropy(("a",)).loss(network, parameters, batch, Context(parameters)).item()
    assert loss_of(ErrorCompensated("a", (), "a", "residual", 1.0), network, parameters, batch) == expected


def test_a_phase_trains_its_own_groups_and_a_shared_bias_belongs_to_the_first(identity_network):
    network, _ = identity_network
    bias = {"head.bias"} & set(network.groups)
    assert set(ErrorCompensated("a", ("b",), "a", "residual", 1.0).groups(network)) == {"encoder.a", "head.a", *bias}
    assert set(ErrorCompensated("b", ("a",), "a", "residual", 1.0).groups(network)) == {"encoder.b", "head.b"}


def test_frozen_logits_are_computed_once_and_paid_for():
    network = Network(ModelSpec(encoder="mlp", width=5), {"a": (6,), "b": (4,)}, num_classes=3)
    costs = CostModel(network, 4, {})
    with_a, alone = ErrorCompensated("b", ("a",), "a", "residual", 1.0), ErrorCompensated("b", (), "a", "residual", 1.0)
    frozen = 2 * 8 * (6 * 5 + 5 * 5 + 5 * 3)  # a forward pass of a over the window of 8
    difference = (
        costs.of_task((LocalSteps(with_a, 2, "b"),), 8).flops - costs.of_task((LocalSteps(alone, 2, "b"),), 8).flops
    )
    assert difference == frozen
