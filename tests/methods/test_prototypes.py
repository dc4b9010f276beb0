"""Prototypes: every formula by hand, on values, without values, and batched."""

import math

import pytest
import torch

from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods import prototypes as p

# z = (0, 0), c_0 = (3, 4) at distance 5, c_1 = (0, 1) at distance 1, no client holds class 2
PROTOTYPES = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]])
ORIGIN = torch.zeros(1, 2)


def test_class_means_by_hand():
    # class 0: mean of (1, 0) and (3, 2); class 1: (0, 5); class 2: no sample
    features = torch.tensor([[1.0, 0.0], [3.0, 2.0], [0.0, 5.0]])
    means, counts = p.class_means(features, torch.tensor([0, 0, 1]), 3)
    torch.testing.assert_close(means, torch.tensor([[2.0, 1.0], [0.0, 5.0], [0.0, 0.0]]))
    assert counts.tolist() == [2, 1, 0]


def test_padding_is_in_no_class_mean():
    features = torch.tensor([[1.0, 0.0], [3.0, 2.0], [0.0, 5.0]])
    means, counts = p.class_means(features, torch.tensor([0, 0, 0]), 2, mask=torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(means, torch.tensor([[2.0, 1.0], [0.0, 0.0]]))
    assert counts.tolist() == [2, 0]


def test_distances_are_not_squared():
    torch.testing.assert_close(p.distances(ORIGIN, PROTOTYPES), torch.tensor([[5.0, 1.0, 0.0]]))


@pytest.mark.parametrize(("label", "expected"), [(1, math.log(1 + math.exp(-4))), (0, math.log(1 + math.exp(4)))])
def test_enhancement_loss_by_hand(label, expected):
    # label 1: -log e^-1 / (e^-5 + e^-1) = log(1 + e^-4); label 0: log(1 + e^4)
    loss = p.enhancement_loss(ORIGIN, torch.tensor([label]), PROTOTYPES)
    torch.testing.assert_close(loss, torch.tensor([expected]))
    score = p.true_class_scores(ORIGIN, torch.tensor([label]), PROTOTYPES)
    torch.testing.assert_close(score, torch.tensor([math.exp(-expected)]))


def test_a_class_that_no_client_holds_costs_nothing():
    assert p.enhancement_loss(ORIGIN, torch.tensor([2]), PROTOTYPES).tolist() == [0.0]
    assert p.regulariser(ORIGIN + 7.0, torch.tensor([2]), PROTOTYPES).tolist() == [0.0]


@pytest.mark.parametrize("prototypes", [PROTOTYPES, torch.zeros(3, 2)], ids=["known", "before any report"])
def test_gradients_are_finite_on_a_prototype(prototypes):
    features = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]], requires_grad=True)
    p.enhancement_loss(features, torch.tensor([0, 1, 2]), prototypes).sum().backward()
    assert features.grad.isfinite().all()
    if not prototypes.any():
        assert not features.grad.any()


def test_gradient_of_the_enhancement_by_hand():
    # one feature at 0, prototypes at 1 (own) and 3: dL/dz = p_other * (d'_own - d'_other); equal directions cancel.
    # prototypes at 1 (own) and -3: d'_own = -1, d'_other = +1: dL/dz = p_other * (-1 - 1), p_other = 1 / (1 + e^2)
    feature = torch.zeros(1, 1, requires_grad=True)
    p.enhancement_loss(feature, torch.tensor([0]), torch.tensor([[1.0], [-3.0]])).sum().backward()
    assert feature.grad.item() == pytest.approx(-2 / (1 + math.exp(2)))


def test_regulariser_by_hand():
    # ((1 - 3)^2 + (1 - 4)^2) / 2 = 6.5
    torch.testing.assert_close(p.regulariser(ORIGIN + 1.0, torch.tensor([0]), PROTOTYPES), torch.tensor([6.5]))


def test_excess_is_clipped():
    ratios = torch.tensor([0.5, 1.0, 1.25, 3.0, math.inf])
    torch.testing.assert_close(p.excess(ratios), torch.tensor([0.0, 0.0, 0.25, 1.0, 1.0]))


def test_prototypes_are_merged_by_class_counts_and_kept_where_no_client_holds_the_class():
    # class 0: (1 * 2 + 3 * 6) / 4 = 5, not divided by the number of clients; class 1: only the second; class 2: kept
    previous = torch.tensor([[9.0], [9.0], [9.0]])
    first = torch.tensor([[2.0], [0.0], [0.0]]), torch.tensor([1.0, 0.0, 0.0])
    second = torch.tensor([[6.0], [4.0], [0.0]]), torch.tensor([3.0, 5.0, 0.0])
    assert p.merge_prototypes(previous, [first, second]).tolist() == [[5.0], [4.0], [9.0]]


def test_prototypes_are_mixed_on_arrival():
    # class 0: 0.75 * 8 + 0.25 * 4 = 7; class 1: unknown before, so taken as it is; class 2: not held, kept
    previous = torch.tensor([[8.0], [0.0], [9.0]])
    local = torch.tensor([[4.0], [3.0], [0.0]]), torch.tensor([1.0, 1.0, 0.0])
    assert p.mix_prototypes(previous, local, 0.25).tolist() == [[7.0], [3.0], [9.0]]


def test_everything_runs_without_values():
    z = torch.empty(4, 5, device="meta", requires_grad=True)
    labels = torch.empty(4, dtype=torch.long, device="meta")
    means, counts = p.class_means(z, labels, 3)
    assert (means.shape, counts.shape) == ((3, 5), (3,))
    loss = (
        p.enhancement_loss(z, labels, means) + p.regulariser(z, labels, means) + p.true_class_scores(z, labels, means)
    )
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    assert gradient.shape == (4, 5)
    assert p.mix_prototypes(means, (means, counts), 0.5).shape == p.merge_prototypes(means, [(means, counts)]).shape


def test_clients_can_be_batched():
    generator = torch.Generator().manual_seed(0)
    z, labels = torch.rand(3, 6, 4, generator=generator), torch.tensor([[0, 1, 2, 0, 1, 2]] * 3)

    def gradient(z, labels):
        means, _ = p.class_means(z, labels, 4)
        return torch.func.grad(lambda z: p.enhancement_loss(z, labels, means.detach()).mean())(z)

    one_by_one = torch.stack([gradient(z[k], labels[k]) for k in range(3)])
    torch.testing.assert_close(torch.func.vmap(gradient)(z, labels), one_by_one)


def test_there_are_prototypes_of_the_features_width():
    network = Network(ModelSpec(encoder="mlp", width=7), {"gray": (6,), "color": (4,)}, num_classes=3)
    none = p.no_prototypes(network)
    assert {m: tuple(c.shape) for m, c in none.items()} == {"gray": (3, 7), "color": (3, 7)}
    assert not any(p.known_classes(c).any() for c in none.values())
