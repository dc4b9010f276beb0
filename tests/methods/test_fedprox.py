"""FedProx: its term by hand, and FedAvg without it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

from interlude import parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.fedprox import FedProx, FedProxOptions
from interlude.simulator.training.evaluation import EvaluationSets
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.executors.strategy import Strategy
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.optimizer import add_proximal
from interlude.simulator.training.spec import OptimizerSpec, TrainingSpec
from interlude.simulator.training.stacked.trainer import StackedTrainer
from interlude.simulator.training.task import LocalSteps, Task

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


MU = 0.7
JOINT = CrossEntropy(("gray", "color"))


@dataclass(frozen=True)
class Penalised(CrossEntropy):
    """The loss as the paper writes it, for autograd: f(w) + (mu / 2) ||w - w^t||^2 over the trained groups."""

    def loss(self, network, parameters, batch, context):
        trained = [name for group in self.groups(network) for name in network.groups[group]]
        distances = [(parameters[name] - context.received[name]).square().sum() for name in trained]
        return super().loss(network, parameters, batch, context) + 0.5 * MU * sum(distances)


def trained_by(executor_class, *steps):
    """Return what six clients of different windows learn from the same model, and that model."""
    network = Network(ModelSpec(encoder="mlp", width=3), {"gray": (2,), "color": (2,)}, num_classes=2)
    generator = torch.Generator().manual_seed(0)
    samples = {m: torch.randn(60, 2, generator=generator) for m in ("gray", "color")}, torch.arange(60) % 2
    model = network.layout.pack(network.initial_parameters(generator, torch.device("cpu")))
    spec = TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=0.1, momentum=0.5, weight_decay=0.01))
    start = {name: value + 0.1 for name, value in model.items()}
    tasks = [Task(c, 0, 0, steps, np.arange(10 * c, 10 * c + 10 - c), start, model) for c in range(6)]
    if executor_class is SequentialExecutor:
        executor = SequentialExecutor(network, spec, 0, samples, EvaluationSets(samples))
        return [executor.train(task).parameters for task in tasks]
    strategy = Strategy(stacks=True, group_size=64, reason="test")
    chains = StackedTrainer(network, spec, 0, samples, strategy).train([[task] for task in tasks])
    return [trained.parameters for (trained,) in chains]


def assert_all_close(some, others):
    for one, other in zip(some, others, strict=True):
        torch.testing.assert_close(dict(one), dict(other), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("executor_class", [SequentialExecutor, StackedTrainer])
def test_the_gradient_is_that_of_the_penalty(executor_class):
    held = trained_by(executor_class, LocalSteps(JOINT, 5, "joint", proximal=MU))
    assert_all_close(held, trained_by(executor_class, LocalSteps(Penalised(("gray", "color")), 5, "joint")))
    assert not torch.allclose(
        held[0]["head.bias"], trained_by(executor_class, LocalSteps(JOINT, 5, "joint"))[0]["head.bias"]
    )


def test_both_ways_to_train_agree_on_the_term_and_on_the_scale_of_the_learning_rate():
    gray = CrossEntropy(("gray",))  # the groups of color are not trained, so not held either
    steps = LocalSteps(gray, 3, "gray", proximal=MU), LocalSteps(JOINT, 5, "joint", learning_rate_scale=0.5)
    assert_all_close(trained_by(SequentialExecutor, *steps), trained_by(StackedTrainer, *steps))


@pytest.mark.parametrize("executor_class", [SequentialExecutor, StackedTrainer])
def test_a_term_without_weight_is_none(executor_class):
    bare, zero = (trained_by(executor_class, LocalSteps(JOINT, 5, "joint", **o)) for o in ({}, {"proximal": 0.0}))
    assert all(torch.equal(one[name], other[name]) for one, other in zip(bare, zero, strict=True) for name in one)


def test_the_term_pulls_by_mu_times_the_distance():
    # every parameter 0.1 away, mu = 4: 0.4 more on each gradient, so with a learning rate of 0.1 a step 0.04 longer
    value, received = torch.full((3,), 0.6), torch.full((3,), 0.5)
    assert add_proximal(torch.ones(3), value, received, 4.0).tolist() == pytest.approx([1.4] * 3)
    assert FedProx(FedProxOptions(proximal=4.0)).proximal == 4.0


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
