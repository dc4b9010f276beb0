"""FedProx: its term by hand, and FedAvg without it."""

import pandas as pd
import pytest
import torch

from interlude import parse_scenario, run_scenario
from interlude.models.network import ModelSpec, Network
from interlude.simulator.methods.fedprox import FedProx, FedProxOptions
from interlude.simulator.methods.waiting import Ready
from interlude.simulator.training.objective import Batch, Context, CrossEntropy

SCENARIO = {
    "name": "fedprox",
    "data": {"dataset": "cg-digits"},
    "model": {"encoder": "mlp", "width": 16},
    "clients": {"count": 4, "multimodal_fraction": 0.5},
    "world": {
        "arrival": {
            m: {"per_client": {"distribution": "uniform", "low_s": 1.0, "high_s": 3.0}} for m in ("gray", "color")
        },
        "compute": {"throughput_gflops": 0.1},
        "network": {"uplink_mbps": 2, "downlink_mbps": 8, "latency_ms": 50},
    },
    "training": {"window_samples": 64, "optimizer": {"learning_rate": 0.05}},
    "until": {"versions": 3},
    "evaluate": {"every_s": 4},
}


def run(tmp_path, *methods, timing_only=False):
    return run_scenario(parse_scenario({**SCENARIO, "methods": list(methods)}), runs=tmp_path, timing_only=timing_only)


def test_the_term_is_half_mu_times_the_squared_distance():
    # every parameter 0.1 away; gray alone trains encoder 2*3 + 3 + 3*3 + 3 = 21, its head slice 2*3 and the bias 2: 29.
    # (mu / 2) * 29 * 0.01 with mu = 4: 0.58. Gradient: mu * 0.1 = 0.4 on each.
    network = Network(ModelSpec(encoder="mlp", width=3), {"gray": (2,), "color": (2,)}, num_classes=2)
    received = network.initial_parameters(torch.Generator().manual_seed(0), torch.device("cpu"))
    batch = Batch({"gray": torch.tensor([[1.0, 2.0]])}, torch.tensor([1]), torch.tensor([0]))
    ready = Ready(received, ("gray",))
    found = []
    for objective in (CrossEntropy(("gray",)), FedProx(FedProxOptions(proximal=4.0)).objective(ready)):
        moved = {name: (value + 0.1).requires_grad_() for name, value in received.items()}
        loss = objective.loss(network, moved, batch, Context(received))
        gradients = torch.autograd.grad(loss, list(moved.values()), materialize_grads=True)
        found.append((loss.item(), dict(zip(moved, gradients, strict=True))))
    (plain, plain_gradients), (held, held_gradients) = found
    assert held - plain == pytest.approx(0.58, rel=1e-4)
    for name in received:
        extra = torch.zeros_like(received[name]) if "color" in name else torch.full_like(received[name], 0.4)
        torch.testing.assert_close(held_gradients[name] - plain_gradients[name], extra, rtol=1e-4, atol=1e-5)


def test_without_mu_it_is_fedavg_number_for_number(tmp_path):
    fedavg, fedprox, held = run(
        tmp_path, {"name": "fedavg"}, {"name": "fedprox", "proximal": 0.0}, {"name": "fedprox", "label": "held"}
    )
    pd.testing.assert_frame_equal(fedavg.metrics, fedprox.metrics)
    pd.testing.assert_frame_equal(fedavg.timeline, fedprox.timeline)
    pd.testing.assert_frame_equal(fedavg.timeline, held.timeline)  # element-wise work costs nothing
    assert not fedavg.metrics.equals(held.metrics)


@pytest.mark.parametrize("switch", [{"server": {"rule": "on_arrival"}}, {"server": {"rule": "buffered", "size": 2}},
                                    {"waiting": "first"}, {"waiting": "opportunistic"}])  # fmt: skip
@pytest.mark.parametrize("timing_only", [False, True])
def test_it_runs_under_every_server_and_waiting(switch, timing_only, tmp_path):
    (record,) = run(tmp_path, {"name": "fedprox", **switch}, timing_only=timing_only)
    assert record.info["totals"]["versions"] == 3
