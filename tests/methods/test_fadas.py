"""FADAS: theta <- theta + eta_t (m / (1 - b1^t)) / (sqrt(vh / (1 - b2^t)) + eps), by hand.

With b1 = 1/2, b2 = 3/4 and no eps, buffers whose mean deltas are 2, 0 and -6 make

    m   1                 0.5                        -2.75
    v   1                 0.75                       9.5625
    vh  1                 1                          9.5625
    m / (1 - b1^t)        1/0.5 = 2       0.5/0.75 = 2/3      -2.75/0.875   = -3.142857
    vh / (1 - b2^t)       1/0.25 = 4      1/0.4375 = 2.285714  9.5625/0.578125 = 16.540541
    step                  2/2 = 1         0.440959             -3.142857/4.066997 = -0.772771
"""

from dataclasses import replace

import pandas as pd
import pytest
from updates import NAMES, model_of, update_of

from interlude import parse_scenario, run_scenario
from interlude.simulator.methods.fadas import FADAS, FADASOptions

BY_HAND = {"beta1": 0.5, "beta2": 0.75, "epsilon": 1e-30}
STEPS = [1.0, 0.440959, -0.772771]


def play(*buffers, learning_rate=1.0, **options):
    """Return the models of buffer after buffer, from zeros."""
    server = FADASOptions().server.model_copy(update={"learning_rate": learning_rate})
    method = FADAS(FADASOptions(server=server, **options))
    model, memory, models = model_of(0.0), method.initial_memory(None, 3), []
    for updates in buffers:
        model, memory = method.advance(model, memory, updates)
        models.append([model[name].item() for name in NAMES])
    return models


def pair(mean, **fields):
    """Return two updates from another model, of 1 and of 99 samples, whose deltas have this mean."""
    first = update_of(8.0 + mean + 1.0, start=8.0, **fields)
    return [first, update_of(8.0 + mean - 1.0, start=8.0, num_samples=99)]


def test_three_steps_by_hand():
    """The second step tells vh from v (0.509175) and bias corrections from none (0.5)."""
    models = play(pair(2.0), pair(0.0), pair(-6.0), **BY_HAND)
    expected = [STEPS[0], STEPS[0] + STEPS[1], sum(STEPS)]
    assert [model[0] for model in models] == pytest.approx(expected, abs=1e-5)
    assert all(model == [model[0]] * 4 for model in models)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_first_step_is_eta_along_the_sign_with_the_papers_numbers(scale):
    models = play([update_of(-scale)], learning_rate=1e-3)
    assert models[0] == pytest.approx([-1e-3] * 4, rel=1e-4)


def test_epsilon_is_added_to_the_root():
    """vh / (1 - b2) = 4: a root of 2, and 2 / (2 + 2)."""
    assert play(pair(2.0), **{**BY_HAND, "epsilon": 2.0})[0] == pytest.approx([0.5] * 4)


@pytest.mark.parametrize(
    ("staleness", "threshold", "rate"),
    # the largest decides, not the mean of it and the other update's 0; at tau_c it does not yet
    [(1, 1, 1.0), (4, 1, 1 / 4), (4, 4, 1.0), (5, 4, 1 / 5), (1, 0, 1.0), (0, 0, 1.0), (4, None, 1.0)],
)
def test_the_largest_staleness_above_the_threshold_divides_the_step(staleness, threshold, rate):
    models = play(pair(2.0, staleness=staleness), delay_threshold=threshold, **BY_HAND)
    assert models[0] == pytest.approx([rate] * 4)


def test_a_group_has_moments_steps_and_a_delay_of_its_own():
    """b is first trained in the second buffer, and fresh: a first step, of 1. a's second is divided by 5; c rests."""
    a, b = ("encoder.a",), ("encoder.b",)
    first = [update_of(2.0, groups=a)]
    second = [update_of(0.0, groups=a, staleness=5), update_of(2.0, groups=b)]
    models = play(first, second, first, **BY_HAND)
    assert models[0] == pytest.approx([1.0, 0.0, 0.0, 0.0])
    assert models[1] == pytest.approx([1.0 + STEPS[1] / 5, 1.0, 0.0, 0.0], abs=1e-6)
    assert models[2][1:] == models[1][1:]  # no momentum carries b on


def test_a_staleness_weight_of_the_rules_weighs_the_deltas():
    """s(3) = 1/2: a mean of (8/2 + 0) / 2 = 2 in place of 4; m is half of it."""
    polynomial = {"function": "polynomial"}
    stale = [update_of(8.0, staleness=3), update_of(0.0)]
    server = {"rule": "buffered", "staleness": polynomial, "learning_rate": 1.0}
    method = FADAS(FADASOptions(server=server, delay_threshold=None, **BY_HAND))
    _, memory = method.advance(model_of(0.0), method.initial_memory(None, 3), stale)
    assert memory.first[0].item() == pytest.approx(1.0)


def test_updates_are_pure():
    method = FADAS(FADASOptions())
    updates = [replace(update_of(1.0), client=1)]
    _, once = method.advance(model_of(0.0), method.initial_memory(None, 3), updates)
    before = once.first.clone(), once.largest.clone()
    method.advance(model_of(0.0), once, updates)
    assert all(bool((was == now).all()) for was, now in zip(before, (once.first, once.largest), strict=True))


def test_times_and_payloads_are_fedbuffs(scenario_with, tmp_path):
    changes = {"methods": [{"name": name, "server": {"size": 2}} for name in ("fadas", "fedbuff")]}
    one, other = run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, timing_only=True)
    pd.testing.assert_frame_equal(one.timeline, other.timeline)
