"""FedPMR: loss by hand, fresh prototypes every epoch, and what it equals."""

import math

import pandas as pd
import pytest
import torch

from interlude import parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.fedpmr import Rebalanced
from interlude.simulator.training.evaluation import EvaluationSets
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.objective import Batch, Context
from interlude.simulator.training.profile.costs import CostModel
from interlude.simulator.training.spec import OptimizerSpec, TrainingSpec
from interlude.simulator.training.task import LocalSteps, Task
from interlude.simulator.training.values import named


def batch_of(**inputs):
    """Return two samples of classes 0 and 1."""
    return Batch({m: torch.tensor(x) for m, x in inputs.items()}, torch.tensor([0, 1]), torch.arange(2))


def identity_network(*modalities):
    """Return a network whose encoders return their non-negative input (width 2), and whose head returns the first's."""
    network = Network(ModelSpec(encoder="mlp", width=2), dict.fromkeys(modalities, (2,)), num_classes=2)
    parameters = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
    for name in parameters:
        if name.startswith(("encoder.", f"head.{modalities[0]}.")) and name.endswith("weight"):
            parameters[name] = torch.eye(2)
    return network, parameters


def loss_of(batch, weight=2.0):
    network, parameters = identity_network(*batch.inputs)
    objective = Rebalanced(tuple(batch.inputs), weight)
    prepared = objective.prepare(network, parameters, batch, Context(parameters))
    return objective.loss(network, parameters, batch, Context(parameters, prepared=prepared)).item()


# samples are their own classes' prototypes; FAR's are 2 apart and NEAR's 1, so that NEAR is behind; FAR's logits are
# (1, 0) and (1, 2), NEAR's (1, 0) and (1, 1)
FAR, NEAR = [[1.0, 0.0], [1.0, 2.0]], [[1.0, 0.0], [1.0, 1.0]]
CE_FAR = math.log(1 + math.exp(-1))
CE_NEAR = (math.log(1 + math.exp(-1)) + math.log(2)) / 2


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (batch_of(gray=FAR, color=NEAR), CE_FAR + 2 * math.log(1 + math.exp(-1))),
        (batch_of(gray=NEAR, color=FAR), CE_NEAR + 2 * math.log(1 + math.exp(-1))),
        (batch_of(gray=FAR, color=FAR), CE_FAR),  # no modality is behind
        (batch_of(gray=FAR), CE_FAR),
        (batch_of(a=FAR, b=NEAR, c=FAR), CE_FAR + 2 * math.log(1 + math.exp(-1))),
    ],
)
def test_the_modality_behind_is_pulled(batch, expected):
    assert loss_of(batch) == pytest.approx(expected, rel=1e-5)


def test_who_is_behind_is_seen_in_the_batch_not_in_the_window():
    # one sample of class 1 at gray (1, 2) and color (1, 1)
    network, parameters = identity_network("gray", "color")
    batch = Batch(
        {"gray": torch.tensor([[1.0, 2.0]]), "color": torch.tensor([[1.0, 1.0]])}, torch.tensor([1]), torch.tensor([1])
    )
    prototypes = {"gray": torch.tensor([[1.0, 1.0], [1.0, 4.0]]), "color": torch.tensor([[1.0, 4.0], [1.0, 1.0]])}
    # gray: 1 from class 0, 2 from its own: log(1 + e^1); color: 3 and 0: ahead
    context = Context(parameters, prepared=named("prototype", prototypes))
    loss = Rebalanced(("gray", "color"), 1.0).loss(network, parameters, batch, context)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)) + math.log(1 + math.e), rel=1e-5)


def run(given, tmp_path, *methods, **options):
    return run_scenario(parse_scenario({**given, "methods": list(methods)}), runs=tmp_path, **options)


def by_version(record):
    return (
        record.metrics.drop_duplicates(["version", "metric", "modality"]).drop(columns="time_s").reset_index(drop=True)
    )


ROUNDS = {"until": {"versions": 2}, "evaluate.every_s": 1, "training.local_epochs": 2}


def test_without_weight_it_is_fedavg_in_fedavgs_batches(scenario_with, tmp_path):
    given = scenario_with({**ROUNDS, "training.batch_size": 10, "training.optimizer.momentum": 0.9})
    fedavg, fedpmr = run(given, tmp_path, {"name": "fedavg"}, {"name": "fedpmr", "weight": 0})
    pd.testing.assert_frame_equal(by_version(fedavg), by_version(fedpmr))


def test_it_ends_as_fedavg(scenario_with, tmp_path):
    methods = [{"name": "fedpmr", "versions": None}, {"name": "fedpmr", "label": "once", "versions": 1}]
    always, once = run(scenario_with(ROUNDS), tmp_path, *methods)
    first, second = by_version(always), by_version(once)
    pd.testing.assert_frame_equal(first[first["version"] < 2], second[second["version"] < 2])
    assert not first.equals(second)
    network = Network(ModelSpec(encoder="mlp", width=16), {"gray": (1, 8, 8), "color": (3, 8, 8)}, 10)
    costs = CostModel(network, 32, {})
    # each of the two epochs of one step pays for the class means of the window before it
    flops = [r.timeline.query("activity == 'train'").groupby("version")["flops"].max() for r in (always, once)]
    means = costs.profile(Rebalanced(("gray", "color"), 1.0), 32).prepare.flops
    assert flops[0][1] - flops[1][1] == 2 * means


def test_prototypes_are_those_of_the_epochs_start():
    # Two epochs in one task equal two tasks of one epoch, the second from where the first ended.
    network = Network(ModelSpec(encoder="mlp", width=4), {"gray": (3,), "color": (2,)}, num_classes=2)
    generator = torch.Generator().manual_seed(0)
    samples = {"gray": torch.rand(8, 3, generator=generator), "color": torch.rand(8, 2, generator=generator)}
    data = samples, torch.tensor([0, 1] * 4)
    spec = TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=0.5))
    executor = SequentialExecutor(network, spec, 0, data, EvaluationSets(data))
    initial = network.initial_parameters(generator, torch.device("cpu"))
    objective = Rebalanced(("gray", "color"), 3.0)
    first, second = LocalSteps(objective, 2, "joint"), LocalSteps(objective, 2, "joint", first_step=2)

    def train(start, *steps):
        index = torch.arange(8).numpy()
        task = Task(client=0, window=0, version=0, local_steps=steps, samples=index, start=start, received=initial)
        return executor.train(task).parameters

    torch.testing.assert_close(train(initial, first, second), train(train(initial, first), second))
    stale = train(initial, LocalSteps(objective, 4, "joint"))
    assert any(not torch.equal(value, stale[name]) for name, value in train(initial, first, second).items())


def test_payload_is_fedavgs(scenario_with, tmp_path):
    records = run(scenario_with(ROUNDS), tmp_path, {"name": "fedavg"}, {"name": "fedpmr"}, timing_only=True)
    for activity in ("download", "upload"):
        whole = f"activity == '{activity}' and outcome == 'done'"
        fedavg, fedpmr = (set(r.timeline.query(whole)["bytes"]) for r in records)
        assert fedavg == fedpmr


@pytest.mark.parametrize(
    "options",
    [{"server": {"rule": "on_arrival"}}, {"server": {"rule": "buffered", "size": 2}}, {"waiting": "first"},
     {"waiting": "opportunistic"}, {"proximal": 0.1}],
    ids=str,
)  # fmt: skip
def test_it_runs_without_rounds_and_with_one_modality(options, scenario_with, tmp_path):
    given = scenario_with({"clients.multimodal_fraction": 0.5, "until": {"versions": 5}})
    (record,) = run(given, tmp_path, {"name": "fedpmr", **options})
    assert record.metrics["value"].notna().all()
