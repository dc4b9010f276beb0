"""Every method under every way to train: the same results as the plain sequential reference, and the same events."""

import dataclasses

import numpy as np
import pytest
import torch
from every_method import DECIDES, EVERY_METHOD, TRAINS_ITS_OWN_WAY
from tiny_tasks import model_of

import interlude.simulator.run.build
from interlude import parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.scenario.sections import UntilSpec
from interlude.simulator.training.evaluation import EvaluationSets
from interlude.simulator.training.executors import batched
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.executors.strategy import Strategy
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.spec import OptimizerSpec, TrainingSpec
from interlude.simulator.training.stacked import recording
from interlude.simulator.training.stacked.trainer import StackedTrainer
from interlude.simulator.training.task import LocalSteps, Task, resolve

TOLERANCE = 1e-4
"""Largest difference from the reference, relative to what training changed; float32 leaves about 1e-5."""

STACKED = Strategy(stacks=True, group_size=64, reason="test")

STRATEGIES = {
    "stacked": STACKED,
    "recorded": dataclasses.replace(STACKED, records=True),
    "looped": Strategy(stacks=False, group_size=1, reason="test"),
}

VARIANTS = {
    **TRAINS_ITS_OWN_WAY,
    "conv4": {"name": "fedavg", "label": "conv4"},
    "schedule": {"name": "fedasync", "label": "schedule"},
    "mba-class-mean": {"name": "mba", "anchor_form": "class_mean", "imbalance_acts": "both", "unimodal_epochs": 2},
    "mba-displacement": {"name": "mba", "delta": "squared", "distance": "displacement", "proximal": 0.1},
    "mba-input": {
        "name": "mba",
        "anchor": "input",
        "late_term": True,
        "distance": "prediction",
        "imbalance_acts": "client",
        "gamma": 2.0,
    },
    "fedcmi-personal": {"name": "fedcmi", "personalised_branch": True},
    "bmsfed-code": {"name": "bmsfed", "rule": "code", "chi": 1.0, "measures": "held", "coefficient": "code"},
    "fedmchain-ensemble": {"name": "fedmchain", "ec": "ensemble", "phase_epochs": 1},
}


class Witness(SequentialExecutor):
    """The reference, which keeps the tasks that it executed, and their results."""

    seen: list

    def train(self, task):
        trained = super().train(task)
        self.seen.append((dataclasses.replace(task, start=resolve(task.start)), trained))
        Witness.last = self
        return trained


@pytest.fixture(scope="module")
def witnessed(tmp_path_factory, scenario_with):
    """Return a function from a method to the reference executor of a small ragged run and the tasks it executed."""
    runs = tmp_path_factory.mktemp("runs")
    known = {}

    def witness(name):
        if name not in known:
            scenario = ragged(scenario_with, VARIANTS[name], kind="sequential")
            Witness.seen = []
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(interlude.simulator.run.build, "SequentialExecutor", Witness)
                run_scenario(scenario, runs=runs / name, device="cpu")
            known[name] = (Witness.last, Witness.seen)
        return known[name]

    return witness


def ragged(scenario_with, method, **executor):
    """Return a scenario whose clients differ in samples, steps and modalities, some of whose uploads break off."""
    changes = {
        "methods": [method],
        "executor": executor,
        "clients": {"count": 7, "multimodal_fraction": 0.75},
        "data.partition": {"kind": "dirichlet", "alpha": 1.0},
        "world.faults": {"dropout_probability": 0.1},
        "world.arrival.gray.jitter_sigma": 0.5,
        "training": {
            "local_epochs": 1,
            "batch_size": 64,
            "optimizer": {"learning_rate": 0.05, "momentum": 0.5, "weight_decay": 0.001},
        },
        "until": {"simulated_s": 20},
    }
    if method.get("label") == "conv4":
        changes["model"] = {"encoder": "conv4", "width": 8}  # which takes longer
        changes["until"] = {"simulated_s": 45}
    if method.get("label") == "schedule":
        changes["training"]["optimizer"]["schedule"] = {"kind": "linear", "to": 0.005, "over_versions": 20}
    if method["name"] == "pow-d":
        changes["methods"] = [{**method, "candidates": 5, "server": {"rule": "barrier", "clients_per_round": 3}}]
    return parse_scenario(scenario_with(changes))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("method", VARIANTS)
def test_every_strategy_equals_the_reference(method, strategy, witnessed, monkeypatch):
    monkeypatch.setattr(recording, "_USES_BEFORE_RECORDING", 0)
    executor, seen = witnessed(method)
    tasks = [task for task, _ in seen][:24]
    trainer = StackedTrainer(
        executor._network, executor._spec, executor._seed, (executor._inputs, executor._labels), STRATEGIES[strategy]
    )
    groups = [tasks] if STRATEGIES[strategy].stacks else [[task] for task in tasks]
    results = [chain[0] for group in groups for chain in trainer.train([[task] for task in group])]
    assert len({len(task.samples) for task in tasks}) > 1
    for task, (_, expected), trained in zip(tasks, seen, results, strict=False):
        start = task.start
        moved = max((expected.parameters[n] - start[n]).abs().max().item() for n in start)
        apart = max((expected.parameters[n] - trained.parameters[n]).abs().max().item() for n in start)
        assert apart <= TOLERANCE * moved, task.label
        assert trained.loss == pytest.approx(expected.loss, rel=1e-4)
        assert trained.report.keys() == expected.report.keys()
        for name, value in expected.report.items():
            torch.testing.assert_close(trained.report[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_series_are_learned_alike_under_every_strategy(strategy):
    network = Network(ModelSpec(encoder="conv1d", width=6), {"a": (3, 20), "b": (2, 17)}, num_classes=3)
    generator = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(30, *given.shape, generator=generator) for m, given in network.inputs.items()}
    samples = inputs, torch.randint(3, (30,), generator=generator)
    spec = TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=0.1, momentum=0.5))
    model = model_of(network)
    tasks = [
        Task(
            client,
            0,
            0,
            (LocalSteps(CrossEntropy(("a", "b")), 3, "joint"),),
            np.arange(10 * client, 10 * client + 9 - client),
            model,
            model,
        )
        for client in range(3)
    ]
    reference = SequentialExecutor(network, spec, 0, samples, EvaluationSets(samples))
    expected = [reference.train(task) for task in tasks]
    trainer = StackedTrainer(network, spec, 0, samples, STRATEGIES[strategy])
    groups = [tasks] if STRATEGIES[strategy].stacks else [[task] for task in tasks]
    results = [chain[0] for group in groups for chain in trainer.train([[task] for task in group])]
    for one, other in zip(expected, results, strict=True):
        for name, value in one.parameters.items():
            torch.testing.assert_close(other.parameters[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", DECIDES)
def test_the_event_log_is_the_same_under_every_executor_and_group_size(method, tmp_path, scenario_with):
    orders = set()
    for number, executor in enumerate([{"kind": "sequential"}, {}, {"group_size": 2}, {"strategy": "looped"}]):
        scenario = ragged(scenario_with, EVERY_METHOD[method], **executor)
        scenario = scenario.model_copy(update={"until": UntilSpec(simulated_s=12)})
        (record,) = run_scenario(scenario, runs=tmp_path / str(number), device="cpu", workers=1)
        orders.add(record.info["totals"]["order_sha256"])
    assert len(orders) == 1


@pytest.mark.parametrize("method", ["mba", "bmsfed", "fedasmu"])
def test_the_number_of_processes_changes_no_byte(method, tmp_path, scenario_with, monkeypatch):
    monkeypatch.setattr(batched, "_STEPS_BEFORE_HELP", 0)
    scenario = ragged(scenario_with, EVERY_METHOD[method], group_size=2)
    written = []
    for workers in (1, 3):
        (record,) = run_scenario(scenario, runs=tmp_path / str(workers), device="cpu", workers=workers)
        written.append((record.path / "metrics.csv").read_bytes())
    assert written[0] == written[1]
