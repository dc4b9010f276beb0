"""CA2FL: theta_g <- theta_g + eta_g (mean_k h_k,g + mean_S (Delta_k,g - h_k,g)), then h_k <- Delta_k, by hand."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from updates import GROUPS, NAMES, model_of, update_of

from interlude import parse_scenario, run_scenario
from interlude.simulator.federation.rules import Buffered
from interlude.simulator.federation.staleness import ConstantStaleness
from interlude.simulator.methods.ca2fl import CA2FL, CA2FLOptions
from interlude.simulator.methods.fedbuff import FedBuff, FedBuffOptions


def of(client, delta, *, start=5.0, **fields):
    return replace(update_of(start + delta, start=start, **fields), client=client)


def play(*buffers, num_clients, **rule):
    """Return the models of buffer after buffer, from tens, and the last memory."""
    default = CA2FLOptions().server
    method = CA2FL(CA2FLOptions(server=default.model_copy(update=rule)))
    model, memory, models = model_of(10.0), method.initial_memory(None, num_clients), []
    for updates in buffers:
        model, memory = method.advance(model, memory, updates)
        models.append([round(model[name].item(), 5) for name in NAMES])
    return models, memory


def test_a_buffer_is_calibrated_by_the_cache_before_it():
    """Four clients, buffers of two; staleness and samples do not matter.

    1. nothing is known: 10 + (1 + 3) / 2 = 12; h = (1, 3, 0, 0)
    2. mean h = 4/4 = 1, mean difference ((5 - 3) + (2 - 0)) / 2 = 2: 12 + 3 = 15; h = (1, 5, 2, 0).
       A cache that is replaced first would give 8/4 + 0 = 2; a mean over the three heard of, 4/3 + 2; FedBuff, 3.5
    3. a client twice: mean h = 8/4 = 2, ((4 - 1) + (2 - 1)) / 2 = 2: 15 + 4 = 19; its later delta is kept
    4. mean h = 9/4, ((2 - 2) + (5 - 5)) / 2 = 0: 19 + 2.25
    """
    models, memory = play(
        [of(0, 1.0, staleness=3), of(1, 3.0, num_samples=99)],
        [of(1, 5.0), of(2, 2.0, staleness=8)],
        [of(0, 4.0), of(0, 2.0)],
        [of(0, 2.0), of(1, 5.0)],
        num_clients=4,
    )
    assert models == [[12.0] * 4, [15.0] * 4, [19.0] * 4, [21.25] * 4]
    assert [memory.deltas[client][0].item() for client in range(3)] == [2.0, 5.0, 2.0]


def test_the_servers_step_size_multiplies_all_of_it():
    """eta_g = 1/2: 10 + (1 + 3) / 2 / 2 = 11, then 11 + (4/4 + 2) / 2 = 12.5."""
    buffers = [of(0, 1.0), of(1, 3.0)], [of(1, 5.0), of(2, 2.0)]
    models, _ = play(*buffers, num_clients=4, learning_rate=0.5)
    assert [model[0] for model in models] == [11.0, 12.5]


def test_a_staleness_weight_of_the_rules_weighs_the_differences():
    """s(3) = (1 + 3)^-1/2 = 1/2: 10 + (2/2 + 3) / 2 = 12, then h's mean (2 + 3) / 2 whole: 12 + 2.5 + 1/2 (8 - 2)."""
    polynomial = Buffered().staleness
    models, _ = play(
        [of(0, 2.0, staleness=3), of(1, 3.0)], [of(0, 8.0, staleness=3)], num_clients=2, staleness=polynomial
    )
    assert [model[0] for model in models] == [12.0, 17.5]


def test_a_group_counts_the_clients_that_may_have_trained_it():
    """Client 1 never trains b; client 2 is unknown at first.

    1. a: 10 + (2 + 4) / 2 = 13; b: 10 + 2 = 12; the bias as a; c is trained by none
    2. a: mean h = 6/3 = 2, ((6 - 0) + (5 - 4)) / 2 = 3.5: 18.5
       b: mean h = 2/2, client 1 left out; (6 - 0) / 1: 12 + 7 = 19
    3. b is not in the buffer: it stays, and what is known of it. a: mean h = 13/3, 4 - 2 = 2: 18.5 + 6.33333
    """
    both, only_a = ("encoder.a", "encoder.b", "head.bias"), ("encoder.a", "head.bias")
    models, memory = play(
        [of(0, 2.0, groups=both), of(1, 4.0, groups=only_a)],
        [of(2, 6.0, groups=both), of(1, 5.0, groups=only_a)],
        [of(0, 4.0, groups=only_a)],
        num_clients=3,
    )
    assert models == [[13.0, 12.0, 10.0, 13.0], [18.5, 19.0, 10.0, 18.5], [24.83333, 19.0, 10.0, 24.83333]]
    assert memory.deltas[0][:4].tolist() == [4.0, 2.0, 0.0, 4.0]  # in the order of NAMES


def test_all_clients_in_every_buffer_are_fedbuff():
    draw = torch.Generator().manual_seed(0)
    deltas = torch.randn(4, 3, generator=draw).tolist()
    buffers = [[of(client, delta) for client, delta in enumerate(row)] for row in deltas]
    models, memory = play(*buffers, num_clients=3)
    fedbuff = FedBuff(FedBuffOptions(server=Buffered(size=3, staleness=ConstantStaleness())))
    model = model_of(10.0)
    for updates, expected in zip(buffers, models, strict=True):
        model = fedbuff.merge(model, None, updates)
        assert [model[name].item() for name in NAMES] == pytest.approx(expected, abs=1e-5)
    assert memory.groups == dict.fromkeys(range(3), GROUPS)


def test_times_and_payloads_are_fedbuffs(scenario_with, tmp_path):
    changes = {"methods": [{"name": name, "server": {"size": 2}} for name in ("ca2fl", "fedbuff")]}
    one, other = run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, timing_only=True)
    pd.testing.assert_frame_equal(one.timeline, other.timeline)
