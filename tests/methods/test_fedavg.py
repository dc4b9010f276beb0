"""FedAvg: theta_g <- sum_k n_k theta_k,g / sum_k n_k over the clients that trained the group g, by hand.

Three clients with n = 1, 3 and 4 samples have trained to 10, 30 and 2 from a model of sevens:

* encoder.a, trained by the first two:     (1 x 10 + 3 x 30) / 4         = 25
* encoder.b, trained by the last two:      (3 x 30 + 4 x 2) / 7          = 14
* encoder.c, trained by none:              stays                           7
* head.bias, trained by all:               (1 x 10 + 3 x 30 + 4 x 2) / 8 = 13.5
"""

import pytest
from updates import merged, model_of, update_of

from interlude import parse_scenario, run_scenario
from interlude.simulator.methods.fedavg import FedAvg, FedAvgOptions

UPDATES = (
    update_of(10.0, num_samples=1, groups=("encoder.a", "head.bias")),
    update_of(30.0, num_samples=3, groups=("encoder.a", "encoder.b", "head.bias")),
    update_of(2.0, num_samples=4, groups=("encoder.b", "head.bias")),
)
EXPECTED = [25.0, 14.0, 7.0, 13.5]


def test_a_group_is_averaged_by_samples_over_the_clients_that_trained_it():
    assert merged(FedAvg(FedAvgOptions()), model_of(7.0), *UPDATES) == EXPECTED


def test_the_order_of_updates_and_the_models_they_started_from_do_not_matter():
    moved = [update_of(6.0, num_samples=3, start=5.0), update_of(2.0, num_samples=1, start=-1.0)]
    assert merged(FedAvg(FedAvgOptions()), model_of(7.0), *moved) == [5.0] * 4  # (3 x 6 + 1 x 2) / 4
    assert merged(FedAvg(FedAvgOptions()), model_of(7.0), *reversed(UPDATES)) == EXPECTED


def test_one_update_replaces_what_it_trained():
    one = update_of(3.0, groups=("encoder.a", "head.bias"))
    assert merged(FedAvg(FedAvgOptions()), model_of(7.0), one) == [3.0, 7.0, 7.0, 3.0]


def test_rounds_close_with_the_last_client_and_no_update_is_stale(scenario_with, tmp_path):
    """The later modality is there 2 s after the dispatch, computing takes no time, an upload has 0.05 s of latency.

    A round takes 2.05 s, so that the models of three rounds are made at 2.05, 4.1 and 6.15 s.
    """
    changes = {
        "clients.count": 3,
        "world.arrival.gray.per_client": {"distribution": "constant", "value_s": 1.0},
        "world.arrival.color.per_client": {"distribution": "constant", "value_s": 2.0},
        "world.compute.throughput_gflops": 1e99,
        "world.network": {"uplink_mbps": 1e99, "downlink_mbps": 1e99, "latency_ms": 50},
        "until": {"versions": 3},
    }
    (record,) = run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, device="cpu", timing_only=True)
    merges = record.timeline.query("activity == 'merge'")
    assert merges.groupby("version")["client"].apply(sorted).tolist() == [[0, 1, 2]] * 3
    assert merges["end_s"].unique() == pytest.approx([2.05, 4.1, 6.15])
    assert (merges["staleness"] == 0).all()
