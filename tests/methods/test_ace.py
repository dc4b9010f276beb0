"""ACE: theta_g <- theta_g + eta mean_k U_k,g, U_k the last update of client k, by hand; ACED leaves old ones out."""

from dataclasses import replace

import pandas as pd
import pytest
from updates import NAMES, model_of, update_of

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.simulator.federation.rules import Buffered
from interlude.simulator.federation.staleness import ConstantStaleness
from interlude.simulator.methods.ace import ACE, ACEOptions
from interlude.simulator.methods.fedbuff import FedBuff, FedBuffOptions


def of(client, delta, *, start=5.0, **fields):
    return replace(update_of(start + delta, start=start, **fields), client=client)


def play(*updates, mixing=1.0, **options):
    """Return the models of arrival after arrival, from tens."""
    server = ACEOptions().server.model_copy(update={"mixing": mixing})
    method = ACE(ACEOptions(server=server, **options))
    model, memory, models = model_of(10.0), method.initial_memory(None, 9), []
    for update in updates:
        model, memory = method.advance(model, memory, [update])
        models.append([round(model[name].item(), 5) for name in NAMES])
    return models


def test_every_arrival_replaces_its_clients_cache_and_adds_the_mean_of_all():
    """Steps 2, (2 + 4) / 2, (6 + 4) / 2 and (6 + 4 - 1) / 3; the new update alone would add 2, 4, 6 and -1.

    Neither samples nor staleness matter.
    """
    arrivals = [of(0, 2.0), of(1, 4.0, staleness=1), of(0, 6.0, num_samples=99), of(2, -1.0, staleness=3)]
    assert [model[0] for model in play(*arrivals)] == [12.0, 15.0, 20.0, 23.0]


def test_the_mean_is_multiplied_by_eta():
    assert play(of(0, 2.0), of(1, 4.0), mixing=0.1)[-1] == [10.5] * 4  # 10 + 0.2 + 0.3


def test_a_group_takes_the_caches_of_those_who_ever_trained_it_and_moves_only_with_its_arrivals():
    """1. a, bias: 2. 2. b: 6 alone; bias (2 + 6) / 2. 3. a alone by client 1: (2 + 4) / 2; its b, 6, is still there.

    4. client 0 trains b: (1 + 6) / 2.
    """
    arrivals = [
        of(0, 2.0, groups=("encoder.a", "head.bias")),
        of(1, 6.0, groups=("encoder.b", "head.bias")),
        of(1, 4.0, groups=("encoder.a",)),
        of(0, 1.0, groups=("encoder.b",)),
    ]
    assert play(*arrivals) == [
        [12.0, 10.0, 10.0, 12.0],
        [12.0, 16.0, 10.0, 16.0],
        [15.0, 16.0, 10.0, 16.0],
        [15.0, 19.5, 10.0, 16.0],
    ]


@pytest.mark.parametrize(
    ("max_age", "expected"),
    # Versions 0, 1, 2, 3; the updates started from 0, 0, 2, 1, so ages in front of each step are
    #   step 1: client 0: 0                       step 2: client 0: 1, client 1: 1
    #   step 3: client 1: 2, client 0: 0          step 4: client 0: 1, client 1: 3, client 2: 2
    [
        (None, [12.0, 15.0, 20.0, 23.0]),
        (2, [12.0, 15.0, 20.0, 22.5]),  # step 4 without client 1: (6 - 1) / 2
        (1, [12.0, 15.0, 21.0, 27.0]),  # step 3: 6; step 4: 6, although client 2 has just arrived
        (0, [12.0, 12.0, 18.0, 18.0]),  # steps 2 and 4 find nothing young enough
    ],
)
def test_aced_leaves_out_what_started_too_many_versions_ago(max_age, expected):
    arrivals = [of(0, 2.0), of(1, 4.0, staleness=1), of(0, 6.0), of(2, -1.0, staleness=2)]
    assert [model[0] for model in play(*arrivals, max_age=max_age)] == expected


def test_one_client_is_fedbuff_with_a_buffer_of_one():
    deltas = [2.0, -3.0, 0.5]
    fedbuff = FedBuff(FedBuffOptions(server=Buffered(size=1, learning_rate=0.5, staleness=ConstantStaleness())))
    model = model_of(10.0)
    for delta in deltas:
        model = fedbuff.merge(model, None, [of(0, delta)])
    assert play(*[of(0, delta) for delta in deltas], mixing=0.5)[-1] == [model[name].item() for name in NAMES]


def test_times_and_payloads_are_fedasyncs(scenario_with, tmp_path):
    changes = {"methods": [{"name": "ace", "max_age": 3}, {"name": "fedasync"}]}
    one, other = run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, timing_only=True)
    pd.testing.assert_frame_equal(one.timeline, other.timeline)


@pytest.mark.parametrize("rule", ["barrier", "buffered"])
def test_rules_that_merge_several_at_once_are_refused(rule, scenario_with):
    with pytest.raises(BadInputError, match=rf"methods\.0\.server\.rule: must be 'on_arrival'; given '{rule}'"):
        parse_scenario(scenario_with({"methods": [{"name": "ace", "server": {"rule": rule}}]}))
