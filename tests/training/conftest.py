"""A small network, and an executor that trains it in batches."""

import pytest
import torch
from tiny_tasks import CPU, SHAPES

from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.training.evaluation import EvaluationSets
from interlude.simulator.training.executors.batched import BatchedExecutor
from interlude.simulator.training.executors.strategy import choose_strategy
from interlude.simulator.training.spec import ExecutorSpec, OptimizerSpec, TrainingSpec


@pytest.fixture
def network():
    return Network(ModelSpec(encoder="mlp", width=5), SHAPES, num_classes=3)


@pytest.fixture
def executor(network):
    generator = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(60, *shape, generator=generator) for m, shape in SHAPES.items()}
    samples = inputs, torch.randint(3, (60,), generator=generator)

    def part(stop):
        return {m: x[:stop] for m, x in inputs.items()}, samples[1][:stop]

    spec = TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=0.1))
    return BatchedExecutor(
        network,
        spec,
        0,
        samples,
        EvaluationSets(samples, validation=part(30), references=part(20)),
        choose_strategy(ExecutorSpec(), network, CPU, 4),
    )
