"""FedFa: theta_g is the mean of the last K results of the clients that trained g, by hand."""

import pandas as pd
import pytest
from updates import NAMES, model_of, update_of

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.simulator.methods.fedfa import FedFa, FedFaOptions


def play(*updates, **options):
    """Return the models of arrival after arrival, from tens."""
    method = FedFa(FedFaOptions(**options))
    model, memory, models = model_of(10.0), method.initial_memory(None, 3), []
    for update in updates:
        model, memory = method.advance(model, memory, [update])
        models.append([round(model[name].item(), 5) for name in NAMES])
    return models


def test_the_queue_fills_and_then_the_oldest_leaves():
    """Neither samples, staleness, start nor the model before matter: (3 + 6) / 2, (6 + 1) / 2, (1 + 2) / 2."""
    arrivals = [update_of(3.0), update_of(6.0, staleness=7, num_samples=99), update_of(1.0, start=5.0), update_of(2.0)]
    assert play(*arrivals, queue_size=2) == [[10.0] * 4, [4.5] * 4, [3.5] * 4, [1.5] * 4]


def test_the_queue_is_divided_by_k_once():
    assert play(*[update_of(4.0)] * 5, queue_size=5)[-1] == [4.0] * 4


def test_every_group_has_a_queue_of_its_own():
    """a: (2, 4), then (4, 8). b: only 6 so far, so it stays at 10. The bias: (2, 6), (6, 4), (4, 8). c is not sent."""
    a, b = ("encoder.a", "head.bias"), ("encoder.b", "head.bias")
    arrivals = [update_of(2.0, groups=a), update_of(6.0, groups=b), update_of(4.0, groups=a), update_of(8.0, groups=a)]
    assert play(*arrivals, queue_size=2)[1:] == [
        [10.0, 10.0, 10.0, 4.0],
        [3.0, 10.0, 10.0, 5.0],
        [6.0, 10.0, 10.0, 6.0],
    ]


def test_alpha_and_a_staleness_weight_of_the_rules_mix_the_mean_in():
    """alpha s(3) = 1/2 1/2: 3/4 10 + 1/4 2; while the queue fills, nothing is mixed in."""
    server = {"rule": "on_arrival", "mixing": 0.5, "staleness": {"function": "polynomial"}}
    stale = update_of(2.0, staleness=3)
    assert play(stale, stale, queue_size=2, server=server) == [[10.0] * 4, [8.0] * 4]


def test_a_queue_of_one_is_fedasync_with_alpha_1(scenario_with, tmp_path):
    plain = {"mixing": 1.0, "staleness": {"function": "constant"}}
    methods = [{"name": "fedfa", "queue_size": 1}, {"name": "fedasync", "proximal": 0.0, "server": plain}]
    changes = {"methods": methods, "until": {"versions": 8}, "evaluate.every_s": 5}
    one, other = run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, device="cpu")
    pd.testing.assert_frame_equal(one.timeline, other.timeline)  # payloads, too
    pd.testing.assert_frame_equal(one.metrics, other.metrics)


@pytest.mark.parametrize("rule", ["barrier", "buffered"])
def test_rules_that_merge_several_at_once_are_refused(rule, scenario_with):
    with pytest.raises(BadInputError, match=rf"methods\.0\.server\.rule: must be 'on_arrival'; given '{rule}'"):
        parse_scenario(scenario_with({"methods": [{"name": "fedfa", "server": {"rule": rule}}]}))
