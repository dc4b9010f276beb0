"""Server optimisers, by hand: from theta = 10 the method merges to 10 + Delta, and Delta is a pseudo-gradient.

beta1 = 1/2, beta2 = 3/4 and epsilon = 1, so that v_0 = 1, eta = 1; Delta = 2, then 1:

    m          1/2 0 + 1/2 2 = 1                  1/2 1 + 1/2 1 = 1
    adam    v  3/4 1 + 1/4 4 = 1.75               3/4 1.75 + 1/4 1 = 1.5625
    yogi    v  1 - 1/4 4 sign(1 - 4) = 2          2 - 1/4 1 sign(2 - 1) = 1.75
    adagrad v  1 + 4 = 5                          5 + 1 = 6

The step is m / (sqrt(v) + 1). None is corrected for its bias, and m of momentum is a sum: 2, then 1/2 2 + 1 = 2.
"""

from math import sqrt

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from interlude.simulator.training.server_optimizer import ServerOptimizer

NAMES = ("encoder.a.weight", "encoder.b.weight", "head.bias")
GROUPS = ("encoder.a", "encoder.b", "head.bias")
BY_HAND = {"learning_rate": 1.0, "beta1": 0.5, "epsilon": 1.0}
WITH_BETA2 = {**BY_HAND, "beta2": 0.75}
STEPS = {
    "adam": (WITH_BETA2, [1 / (sqrt(1.75) + 1), 1 / (sqrt(1.5625) + 1)]),
    "yogi": (WITH_BETA2, [1 / (sqrt(2) + 1), 1 / (sqrt(1.75) + 1)]),
    "adagrad": (BY_HAND, [1 / (sqrt(5) + 1), 1 / (sqrt(6) + 1)]),
    "momentum": ({"learning_rate": 1.0, "beta1": 0.5}, [2.0, 2.0]),
    "sgd": ({"learning_rate": 1.0}, [2.0, 1.0]),
}


def optimizer(kind, **options):
    return TypeAdapter(ServerOptimizer).validate_python({"kind": kind, **options})


def model_of(value, **others):
    return {name: torch.tensor([others.get(name, value)]) for name in NAMES}


def steps_of(stepper, *merges):
    """Return the moves of every group, merge after merge; a merge is Delta and the groups that were trained."""
    theta, moments, moves = model_of(10.0), (), []
    for delta, groups in merges:
        merged = {
            name: value + delta if group in groups else value
            for (name, value), group in zip(theta.items(), GROUPS, strict=True)
        }
        following, moments = stepper.step(theta, merged, groups, moments)
        moves.append([(following[name] - theta[name]).item() for name in NAMES])
        theta = following
    return moves


@pytest.mark.parametrize("kind", STEPS)
def test_two_steps_by_hand(kind):
    options, expected = STEPS[kind]
    for moves, step in zip(steps_of(optimizer(kind, **options), (2.0, GROUPS), (1.0, GROUPS)), expected, strict=True):
        assert moves == pytest.approx([step] * 3, abs=2e-6)


@pytest.mark.parametrize("kind", STEPS)
def test_the_learning_rate_multiplies_the_step(kind):
    options, expected = STEPS[kind]
    ((move, *_),) = steps_of(optimizer(kind, **{**options, "learning_rate": 0.25}), (2.0, GROUPS))
    assert move == pytest.approx(expected[0] / 4, abs=2e-6)


@pytest.mark.parametrize("kind", STEPS)
def test_a_group_that_was_not_trained_keeps_its_moments(kind):
    """b misses the second merge: it rests, and its second step is the others' second step."""
    options, expected = STEPS[kind]
    merges = (2.0, GROUPS), (1.0, ("encoder.a", "head.bias")), (1.0, GROUPS)
    moves = steps_of(optimizer(kind, **options), *merges)
    assert [move[1] for move in moves] == pytest.approx([expected[0], 0.0, expected[1]], abs=2e-6)
    assert moves[1][0] == pytest.approx(expected[1], abs=2e-6)


@pytest.mark.parametrize("kind", STEPS)
def test_a_group_that_the_method_alone_changed_is_as_it_left_it(kind):
    merged = model_of(12.0, **{"head.bias": 3.0})
    following, _ = optimizer(kind).step(model_of(10.0), merged, GROUPS[:2], ())
    assert following["head.bias"].item() == 3.0


def test_sgd_of_rate_1_is_the_merge_to_the_last_bit():
    draw = torch.Generator().manual_seed(0)
    theta, merged = ({name: torch.randn(999, generator=draw) for name in NAMES} for _ in range(2))
    following, moments = optimizer("sgd").step(theta, merged, GROUPS, ())
    assert all(torch.equal(following[name], merged[name]) for name in NAMES)
    assert moments == ()


def test_a_step_changes_none_of_its_arguments():
    adam = optimizer("adam")
    theta, merged = model_of(10.0), model_of(12.0)
    _, moments = adam.step(theta, merged, GROUPS, ())
    before = [moment.clone() for moment in moments]
    adam.step(theta, merged, GROUPS, moments)
    assert all(torch.equal(was, now) for was, now in zip(before, moments, strict=True))
    assert theta["head.bias"].item() == 10.0
    assert merged["head.bias"].item() == 12.0


def test_defaults_are_the_papers():
    adaptive = {"beta1": 0.9, "beta2": 0.99, "epsilon": 1e-3}
    assert optimizer("adam").model_dump() == {"kind": "adam", "learning_rate": 0.01, **adaptive}
    assert optimizer("yogi").model_dump() == {"kind": "yogi", "learning_rate": 0.01, **adaptive}
    assert optimizer("adagrad").model_dump() == {"kind": "adagrad", "learning_rate": 0.1, "beta1": 0.0, "epsilon": 1e-3}
    assert optimizer("momentum").model_dump() == {"kind": "momentum", "learning_rate": 1.0, "beta1": 0.9}


@pytest.mark.parametrize(("kind", "option"), [("sgd", "beta1"), ("momentum", "beta2"), ("adagrad", "beta2")])
def test_an_option_that_does_nothing_is_refused(kind, option):
    with pytest.raises(ValidationError, match=option):
        optimizer(kind, **{option: 0.5})
