"""Ten thousand clients, few of which are at work: a run that trains, resumed."""

import pandas as pd
import pytest

DELAY = {"per_client": {"distribution": "lognormal", "median_s": 1.5, "sigma": 0.8}}
SCENARIO = {
    "name": "pool",
    "data": {
        "dataset": "synthetic",
        "modalities": {"audio": {"shape": [6]}, "video": {"shape": [4]}},
        "samples_per_client": {"distribution": "uniform", "low": 8, "high": 40},
        "test_samples": 50,
    },
    "model": {"encoder": "mlp", "width": 4},
    "clients": {"count": 10_000},
    "world": {
        "arrival": {"audio": DELAY, "video": DELAY},
        "compute": {"throughput_gflops": 0.001},
        "network": {"uplink_mbps": 1, "downlink_mbps": 4, "latency_ms": 50},
    },
    "training": {"batch_size": 16, "window_samples": 16, "optimizer": {"learning_rate": 0.05}},
    "until": {"versions": 120},
    "evaluate": {"every_s": 2},
    "record": {"clients": 200},
}


@pytest.mark.parametrize(
    "method",
    [
        {"name": "fedasync", "server": {"rule": "on_arrival", "concurrency": 40}},
        {"name": "fedavg", "server": {"rule": "barrier", "clients_per_round": 40}},
    ],
    ids=lambda method: method["name"],
)
def test_a_run_with_a_large_pool_goes_on_where_it_was(tmp_path, stopped_and_resumed, files_of, method):
    versions = 120 if method["name"] == "fedasync" else 3
    scenario = {**SCENARIO, "methods": [method], "until": {"versions": versions}}
    calm = stopped_and_resumed(scenario, tmp_path / "calm")
    stormy = stopped_and_resumed(scenario, tmp_path / "stormy", calm.info["totals"]["events"] // 2)
    assert files_of(stormy) == files_of(calm)
    assert calm.info["totals"]["local_rounds"] >= 120
    recorded = pd.read_csv(calm.path / "partition.csv")["client"]
    assert sorted(set(recorded)) == list(range(200))  # the labels of the others are not drawn
