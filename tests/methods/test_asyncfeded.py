"""AsyncFedED: theta <- theta + lambda / (gamma_k + eps) Delta_k, gamma_k = ||theta - theta^(v_k)|| / ||Delta_k||.

Parameters are one number in each of four groups, so over g groups a distance is sqrt(g) times that number's.
"""

import math

import pytest
from updates import model_of, update_of

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.simulator.methods.asyncfeded import AsyncFedED, AsyncFedEDOptions, euclidean_staleness


def asyncfeded(**options):
    return AsyncFedED(AsyncFedEDOptions(**options))


def epochs_after(method, gamma, before=None):
    """Return E_k after an update of Delta 1 from version 0 at 0, when the model stands at `gamma`."""
    memory = {} if before is None else {0: before}
    _, after = method.advance(model_of(gamma), memory, [update_of(1.0)])
    return after[0]


@pytest.mark.parametrize(
    ("options", "update", "expected"),
    [
        # the model moved from 4 to 10 and the client from 4 to 7: gamma = 6 / 3 = 2, eta = 1 / (2 + 1): 10 + 3 / 3
        ({}, update_of(7.0, start=4.0, staleness=1), 11.0),
        # eta = 2 / (2 + 4) = 1/3 again, but 1 / (2 + 4) with half the scale: 10 + 3 / 6
        ({"scale": 2.0, "damping": 4.0}, update_of(7.0, start=4.0), 11.0),
        ({"scale": 1.0, "damping": 4.0}, update_of(7.0, start=4.0), 10.5),
        # versions do not count: 20 merges that moved nothing leave an update fresh, added lambda / eps times
        ({}, update_of(13.0, start=10.0, staleness=20), 13.0),
        ({"scale": 0.5}, update_of(13.0, start=10.0), 11.5),
        # the distance counts, not its direction: the model moved 6 ahead of, or 6 behind the start
        ({}, update_of(19.0, start=16.0), 11.0),
        # an update that moved nothing adds nothing
        ({}, update_of(4.0, start=4.0), 10.0),
    ],
)
def test_an_update_counts_by_its_distance_and_not_by_versions(options, update, expected):
    assert merged_by(asyncfeded(**options), 10.0, update) == [expected] * 4


def merged_by(method, value, update):
    """Return the numbers of the next model."""
    following, _ = method.advance(model_of(value), {}, [update])
    return [round(number.item(), 5) for number in following.values()]


def test_the_distance_is_that_of_the_groups_that_were_trained():
    """Group a moved by 3, head.bias by 4, the others, not held, by 100: sqrt(3^2 + 4^2) = 5; Delta is sqrt(2) 2."""
    model = model_of(100.0) | {
        "encoder.a.weight": model_of(3.0)["encoder.a.weight"],
        "head.bias": model_of(4.0)["head.bias"],
    }
    update = update_of(2.0, groups=("encoder.a", "head.bias"))
    gamma = 5 / math.sqrt(8)
    assert euclidean_staleness(model, update) == pytest.approx(gamma)
    following, _ = asyncfeded().advance(model, {}, [update])
    numbers = [number.item() for number in following.values()]
    assert numbers == pytest.approx([3 + 2 / (gamma + 1), 100.0, 100.0, 4 + 2 / (gamma + 1)])


@pytest.mark.parametrize(
    ("gamma", "before", "after"),
    [
        (0.0, None, 7),  # E_0 = 3: 3 + floor(2 (2 - 0))
        (1.75, None, 3),  # 3 + floor(0.5) = 3 + 0
        (2.25, None, 2),  # 3 + floor(-0.5) = 3 - 1: rounded down, not towards zero
        (4.0, 9, 5),  # from the client's own E_k: 9 + floor(2 (2 - 4))
        (50.0, 9, 1),  # never below 1, which the port lacks
        (0.0, 9, 10),  # nor above most_epochs
    ],
)
def test_local_epochs_aim_at_a_staleness(gamma, before, after):
    method = asyncfeded(initial_epochs=3, adaptation=2.0, target_staleness=2.0)
    assert epochs_after(method, gamma, before) == after


def test_epochs_survive_values_that_are_no_numbers():
    assert epochs_after(asyncfeded(), math.nan) == 1
    assert epochs_after(asyncfeded(), math.inf) == 1


def test_without_adaptation_epochs_stay_even_of_an_update_that_moved_nothing():
    _, after = asyncfeded(initial_epochs=3, adaptation=0.0).advance(model_of(10.0), {}, [update_of(4.0, start=4.0)])
    assert after == {0: 3}


def test_a_step_beyond_the_update_is_refused(scenario_with):
    with pytest.raises(BadInputError, match="scale must be at most damping"):
        parse_scenario(scenario_with({"methods": [{"name": "asyncfeded", "scale": 2.0}]}))


def test_a_client_trains_as_long_as_the_server_says(scenario_with, tmp_path):
    """One client at a time is always fresh: E grows by kappa gamma bar = 2 with every version; its bytes do not."""
    entry = {"name": "asyncfeded", "adaptation": 1.0, "server": {"concurrency": 1}}
    changes = {"clients.count": 1, "methods": [entry], "until": {"versions": 3}, "evaluate.every_s": 1000}
    scenario = parse_scenario(scenario_with(changes))
    (record,) = run_scenario(scenario, runs=tmp_path / "trained", device="cpu", workers=1)
    flops = record.timeline.query("activity == 'train'")["flops"]
    assert [each / flops.iloc[0] for each in flops] == [1, 3, 5]
    assert record.metrics.query("metric == 'local_epochs'")["value"].iloc[-1] == 7
    (timed,) = run_scenario(scenario, runs=tmp_path / "timed", device="cpu", timing_only=True)
    assert timed.timeline.query("activity == 'train'")["flops"].nunique() == 1  # E_0: nothing is learned
    model_bytes = 4 * (64 * 16 + 192 * 16 + 2 * (16 + 16 * 16 + 16) + 2 * 160 + 10)
    assert set(record.timeline.query("activity == 'download'")["bytes"]) == {model_bytes}
    assert set(record.timeline.query("activity == 'upload'")["bytes"]) == {model_bytes + 8}
