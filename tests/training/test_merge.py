"""The arithmetic of merges against numbers worked out on paper; the rules' formulas are in tests/methods."""

import pytest
import torch

from interlude.simulator.federation.staleness import ConstantStaleness, HingeStaleness
from interlude.simulator.training import merge
from interlude.simulator.training.merge import ClientUpdate, mix, weighted_mean, weighted_sum

ENCODER, BIAS = "encoder.a.weight", "head.bias"


def update(value, *, groups=("encoder.a", "head.bias"), num_samples=1, staleness=0, start=0.0, client=0, report=None):
    return ClientUpdate(
        client=client,
        groups=groups,
        num_samples=num_samples,
        staleness=staleness,
        parameters={ENCODER: torch.tensor([value]), BIAS: torch.tensor([value])},
        start={ENCODER: torch.tensor([start]), BIAS: torch.tensor([start])},
        report=report or {},
    )


def model(value):
    return {ENCODER: torch.tensor([value]), BIAS: torch.tensor([value])}


def test_fedavg_weights_by_samples():
    # (1 * 10 + 3 * 30) / 4 = 25
    merged = weighted_mean(model(7.0), [update(10.0, num_samples=1), update(30.0, num_samples=3)])
    assert merged[ENCODER].item() == pytest.approx(25.0)


def test_a_group_is_averaged_over_those_who_trained_it_and_otherwise_stays():
    merged = weighted_mean(model(7.0), [update(10.0, groups=("head.bias",)), update(30.0, groups=("head.bias",))])
    assert merged[ENCODER].item() == 7.0
    assert merged[BIAS].item() == pytest.approx(20.0)


@pytest.mark.parametrize("num_rows", [1, 2, 3, 5])
def test_a_sum_is_that_of_products_of_blocks_to_the_last_bit(monkeypatch, num_rows):
    """Five rows of 24 bytes, in blocks of 48."""
    monkeypatch.setattr(merge, "_BLOCK_BYTES", 48)
    rows = list(torch.randn(num_rows, 6, generator=torch.Generator().manual_seed(0)))
    weights = [0.1 * (position + 1) for position in range(num_rows)]
    expected = torch.zeros(6)
    for start in range(0, num_rows, 2):
        block = slice(start, start + 2)
        expected.addmv_(torch.stack(rows[block]).T, torch.tensor(weights[block]))
    assert torch.equal(weighted_sum(rows, weights), expected)


def test_mixing_weights_may_differ_by_group():
    merged = mix(model(0.0), update(10.0), {"encoder.a": 0.5, "head.bias": torch.tensor(0.1)})
    assert merged[ENCODER].item() == pytest.approx(5.0)
    assert merged[BIAS].item() == pytest.approx(1.0)


def test_merging_leaves_its_inputs_alone():
    before = model(1.0)
    weighted_mean(before, [update(10.0)])
    mix(before, update(10.0), {"encoder.a": 0.5, "head.bias": 0.5})
    assert before[ENCODER].item() == 1.0


@pytest.mark.parametrize(
    ("staleness", "weight"),
    # the published hinge with a = 1, b = 4: 1 up to 4, then 1 / (tau - 4 + 1)
    [(0, 1.0), (4, 1.0), (5, 0.5), (10, 1 / 7)],
)
def test_hinge_is_the_published_form(staleness, weight):
    assert HingeStaleness(function="hinge", a=1.0, b=4).weight(staleness) == pytest.approx(weight)


def test_constant_staleness_ignores_age():
    assert ConstantStaleness().weight(99) == 1.0
