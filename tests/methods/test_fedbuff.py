"""FedBuff: theta_g <- theta_g + eta_g / K_g sum_k s(tau_k) (theta_k,g - theta_g^(v_k)), by hand.

K_g, the updates in the buffer that trained the group, divides once; s(tau) = (1 + tau)^-1/2 unless the scenario says
otherwise.
"""

import pandas as pd
import pytest
from updates import merged, model_of, update_of

from interlude import parse_scenario, run_scenario
from interlude.simulator.federation.rules import Buffered
from interlude.simulator.methods.fedbuff import FedBuff, FedBuffOptions

CONSTANT = {"function": "constant"}


def fedbuff(**rule):
    return FedBuff(FedBuffOptions(server=Buffered(**rule)))


@pytest.mark.parametrize(
    ("rule", "updates", "expected"),
    [
        # deltas 1 and 3 - s(3) = (1 + 3)^-1/2 = 1/2: 10 + (1 x 1 + 1/2 x 3) / 2
        ({"size": 2}, [update_of(1.0), update_of(8.0, staleness=3, start=5.0)], 11.25),
        # ten equal deltas of 1 are a step of 1, not of 1/10 and not of 10
        ({"size": 10, "staleness": CONSTANT}, [update_of(1.0)] * 10, 11.0),
        # eta_g multiplies once: 10 + 1/2 (2 + 4) / 2
        ({"size": 2, "learning_rate": 0.5, "staleness": CONSTANT}, [update_of(2.0), update_of(4.0)], 11.5),
        # K = 1, s = 1, eta_g = 1: the model gains the client's full delta
        ({"size": 1, "staleness": CONSTANT}, [update_of(3.5, start=2.0)], 11.5),
        # samples do not matter: 10 + (2 + 4) / 2
        ({"size": 2}, [update_of(2.0, num_samples=1), update_of(4.0, num_samples=99)], 13.0),
    ],
)
def test_deltas_are_weighted_by_their_staleness_and_divided_by_their_number_once(rule, updates, expected):
    assert merged(fedbuff(**rule), model_of(10.0), *updates) == [expected] * 4


def test_a_group_is_divided_by_the_updates_that_trained_it():
    """Deltas of 2 and 6 on head.bias, 10 + (2 + 6) / 2; of 2 alone on encoder.a, 10 + 2; of 6 alone on encoder.b."""
    updates = [
        update_of(2.0, groups=("encoder.a", "head.bias")),
        update_of(6.0, groups=("encoder.b", "head.bias")),
    ]
    assert merged(fedbuff(size=2), model_of(10.0), *updates) == [12.0, 16.0, 10.0, 14.0]


def test_a_full_buffer_makes_one_version_and_staleness_counts_versions_not_updates(scenario_with, tmp_path):
    """Four equal clients and a buffer of two: data after 2 s, no time to compute, an upload of 0.05 s.

    At 2.05 s two fill the buffer for version 1 and two for version 2, which are one version late. The first client of a
    pair is sent out again before the buffer is full, the second after it: from versions 0, 1, 1 and 2. At 4.1 s the
    first pair is merged into version 2, the second into version 3: they are 2, 1, 2 and 1 versions late.
    """
    changes = {
        "clients.count": 4,
        "world.arrival.gray.per_client": {"distribution": "constant", "value_s": 2.0},
        "world.arrival.color.per_client": {"distribution": "constant", "value_s": 2.0},
        "world.compute.throughput_gflops": 1e99,
        "world.network": {"uplink_mbps": 1e99, "downlink_mbps": 1e99, "latency_ms": 50},
        "methods": [{"name": "fedbuff", "server": {"size": 2}}],
        "until": {"versions": 4},
    }
    (record,) = run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, device="cpu", timing_only=True)
    merges = record.timeline.query("activity == 'merge'")
    assert merges["version"].tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert merges["end_s"].tolist() == pytest.approx([2.05] * 4 + [4.1] * 4)
    assert merges["staleness"].tolist() == [0, 0, 1, 1, 2, 1, 2, 1]


def test_a_buffer_of_one_and_one_client_at_a_time_are_sequential_training(scenario_with, tmp_path):
    """The model gains every client's full delta, so it becomes the client's result but for rounding."""
    server = {"size": 1, "concurrency": 1, "staleness": CONSTANT}
    methods = [{"name": "fedbuff", "server": server}, {"name": "fedavg", "server": {"clients_per_round": 1}}]
    changes = {"methods": methods, "until": {"versions": 6}, "evaluate.every_s": 5}
    one, other = run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, device="cpu")
    pd.testing.assert_frame_equal(one.timeline, other.timeline)
    pd.testing.assert_frame_equal(one.metrics, other.metrics, rtol=1e-5)
