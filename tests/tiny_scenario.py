"""One small valid scenario, which tests change."""

from typing import Any

TINY: dict[str, Any] = {
    "name": "tiny",
    "seed": 0,
    "data": {"dataset": "cg-digits", "partition": {"kind": "dirichlet", "alpha": 2.0}},
    "model": {"encoder": "mlp", "width": 16},
    "clients": {"count": 4},
    "world": {
        "arrival": {
            "gray": {"per_client": {"distribution": "lognormal", "median_s": 2.0, "sigma": 0.5}},
            "color": {"per_client": {"distribution": "constant", "value_s": 3.0}},
        },
        "compute": {"throughput_gflops": 0.05},
        "network": {"uplink_mbps": 2.0, "downlink_mbps": 8.0, "latency_ms": 50.0},
    },
    "training": {"batch_size": 32, "window_samples": 32, "optimizer": {"name": "sgd", "learning_rate": 0.05}},
    "methods": [{"name": "fedavg"}],
    "until": {"simulated_s": 30},
    "evaluate": {"every_s": 10},
}
