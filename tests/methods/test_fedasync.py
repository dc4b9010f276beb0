"""FedAsync: theta_g <- (1 - a) theta_g + a theta_k,g, a = alpha s(tau), for the groups that were trained, by hand."""

import pandas as pd
import pytest
from updates import merged, model_of, update_of

from interlude import parse_scenario, run_scenario
from interlude.simulator.federation.rules import OnArrival
from interlude.simulator.methods.fedasync import FedAsync, FedAsyncOptions

INSTANT = {"uplink_mbps": 1e99, "downlink_mbps": 1e99, "latency_ms": 50}


def fedasync(**rule):
    return FedAsync(FedAsyncOptions(server=OnArrival(**rule)))


@pytest.mark.parametrize(
    ("rule", "staleness", "expected"),
    [
        # from 10, the update is 20: 0.4 x 10 + 0.6 x 20
        ({"mixing": 0.6}, 0, 16.0),
        # alpha (1 + 3)^-1/2 = 0.3: 0.7 x 10 + 0.3 x 20
        ({"mixing": 0.6}, 3, 13.0),
        # alpha (1 + 3)^-1 = 0.15: 0.85 x 10 + 0.15 x 20
        ({"mixing": 0.6, "staleness": {"function": "polynomial", "exponent": 1.0}}, 3, 11.5),
        # alpha / (2 (5 - 4) + 1) = 0.2: 0.8 x 10 + 0.2 x 20
        ({"mixing": 0.6, "staleness": {"function": "hinge", "a": 2.0, "b": 4}}, 5, 12.0),
        # s = 1 whatever the age
        ({"mixing": 0.6, "staleness": {"function": "constant"}}, 50, 16.0),
        # alpha = 1, fresh: the update replaces the model
        ({"mixing": 1.0}, 0, 20.0),
    ],
)
def test_an_update_is_mixed_in_by_alpha_times_s_of_its_staleness(rule, staleness, expected):
    # neither its samples nor the model that it started from matter
    update = update_of(20.0, staleness=staleness, num_samples=9, start=5.0)
    assert merged(fedasync(**rule), model_of(10.0), update) == [expected] * 4


def test_only_the_groups_that_were_trained_are_mixed():
    update = update_of(20.0, groups=("encoder.a", "head.bias"))
    assert merged(fedasync(mixing=0.6), model_of(10.0), update) == [16.0, 10.0, 10.0, 16.0]


def test_staleness_counts_the_versions_between_a_clients_download_and_its_merge(scenario_with, tmp_path):
    """Three equal clients: data after 2 s, no time to compute, an upload of 0.05 s.

    All come back at 2.05 s and are merged as versions 1, 2, 3: 0, 1 and 2 versions after the version 0 that they
    started from. Each starts again at once, from the version that its own update made; from then on the two others are
    merged between any client's download and its merge.
    """
    changes = {
        "clients.count": 3,
        "world.arrival.gray.per_client": {"distribution": "constant", "value_s": 2.0},
        "world.arrival.color.per_client": {"distribution": "constant", "value_s": 2.0},
        "world.compute.throughput_gflops": 1e99,
        "world.network": INSTANT,
        "methods": [{"name": "fedasync"}],
        "until": {"versions": 9},
    }
    (record,) = run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, device="cpu", timing_only=True)
    merges = record.timeline.query("activity == 'merge'").sort_values("version")
    assert merges["end_s"].tolist() == pytest.approx([2.05] * 3 + [4.1] * 3 + [6.15] * 3)
    assert merges["staleness"].tolist() == [0, 1, 2] + [2] * 6


def test_one_client_at_a_time_and_alpha_1_are_fedavg_with_one_client_a_round(scenario_with, tmp_path):
    """Both train sequentially: a client, the next from its result, and so on."""
    on_arrival = {"name": "fedasync", "proximal": 0.0, "server": {"concurrency": 1, "mixing": 1.0}}
    rounds = {"name": "fedavg", "server": {"clients_per_round": 1}}
    changes = {"methods": [on_arrival, rounds], "until": {"versions": 6}, "evaluate.every_s": 5}
    one, other = run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, device="cpu")
    pd.testing.assert_frame_equal(one.timeline, other.timeline)
    pd.testing.assert_frame_equal(one.metrics, other.metrics)
