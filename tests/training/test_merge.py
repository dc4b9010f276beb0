"""Merges against numbers worked out on paper."""

import pytest
import torch

from interlude.simulator.federation.rules import Barrier, Buffered, OnArrival
from interlude.simulator.federation.staleness import ConstantStaleness, HingeStaleness, PolynomialStaleness
from interlude.simulator.methods.base import merge_by_rule
from interlude.simulator.training.merge import ClientUpdate, mix, weighted_mean

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


def test_fedasync_mixes_by_alpha_times_staleness():
    # alpha = 0.6 * (1 + 3)^-0.5 = 0.3; (1 - 0.3) * 10 + 0.3 * 20 = 13
    rule = OnArrival(mixing=0.6, staleness=PolynomialStaleness(function="polynomial", exponent=0.5))
    merged = merge_by_rule(rule, model(10.0), [update(20.0, staleness=3)])
    assert merged[ENCODER].item() == pytest.approx(13.0)


def test_fedbuff_divides_by_the_buffer_size_once():
    # deltas 4 and 8 from their own starts; s(0) = 1, s(3) = 1/2; 10 + 1 * (1/2) (1 * 4 + 0.5 * 8) = 14
    rule = Buffered(size=2)
    updates = [update(6.0, start=2.0), update(11.0, start=3.0, staleness=3)]
    assert merge_by_rule(rule, model(10.0), updates)[ENCODER].item() == pytest.approx(14.0)


def test_fedbuff_steps_by_the_server_learning_rate():
    rule = Buffered(size=1, learning_rate=0.5)
    assert merge_by_rule(rule, model(10.0), [update(6.0, start=2.0)])[ENCODER].item() == pytest.approx(12.0)


def test_barrier_merges_as_fedavg():
    updates = [update(10.0, num_samples=1), update(30.0, num_samples=3)]
    assert merge_by_rule(Barrier(), model(0.0), updates)[BIAS].item() == pytest.approx(25.0)


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
