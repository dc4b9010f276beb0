"""The cases of `interlude calibrate`: a scenario's clients, or two built-in small cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from interlude.models.inputs import Inputs, Samples
from interlude.models.spec import ModelSpec
from interlude.simulator.arrays import Indices
from interlude.simulator.run.build import Testbed
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.training.spec import ExecutorSpec, OptimizerSpec, TrainingSpec
from interlude.simulator.training.task import window_samples

_NUM_CLASSES = 10
_POOL_SAMPLES = 1024
_NUM_CLIENTS = 256
"""Enough clients to fill groups of every size."""
_WINDOW_SAMPLES = 96


@dataclass(frozen=True, eq=False)
class Case:
    """A federation whose joint training is measured."""

    name: str
    model: ModelSpec
    training: TrainingSpec
    executor: ExecutorSpec
    inputs: Inputs
    samples: Samples
    num_classes: int
    windows: Sequence[Indices]
    """Samples of a local round of each client."""
    modalities: Sequence[tuple[str, ...]]
    """The samples and modalities of each client."""


def case_of(testbed: Testbed) -> Case:
    """Return a scenario's clients in their first local round, on its data."""
    scenario, dataset, population = testbed.scenario, testbed.dataset, testbed.population
    return Case(
        name=scenario.name,
        model=scenario.model,
        training=scenario.training,
        executor=scenario.executor,
        inputs=dataset.inputs,
        samples=dataset.train,
        num_classes=dataset.num_classes,
        windows=[window_samples(shard, 0, scenario.training.window_samples) for shard in population.shards],
        modalities=list(population.modalities),
    )


def different_cases(scenarios: Sequence[Scenario]) -> list[Scenario]:
    """Return the scenarios that train differently; variants that differ only in their world are measured once."""
    return [s for i, s in enumerate(scenarios) if not any(is_same_case(s, before) for before in scenarios[:i])]


def is_same_case(one: Scenario, other: Scenario) -> bool:
    """Return whether two scenarios train the same model on the same clients and data."""
    sections = ("seed", "data", "model", "clients", "training", "executor")
    return all(getattr(one, section) == getattr(other, section) for section in sections)


def built_in_cases() -> list[Case]:
    """Return two small cases: many clients with two multi-layer perceptrons, and with two convolutional networks."""
    return [
        _built_in("mlp pair", ModelSpec(encoder="mlp", width=64), {"a": (64,), "b": (192,)}),
        _built_in("conv4 pair", ModelSpec(encoder="conv4", width=128), {"a": (1, 28, 28), "b": (3, 28, 28)}),
    ]


def _built_in(name: str, model: ModelSpec, shapes: Mapping[str, tuple[int, ...]]) -> Case:
    generator = torch.Generator().manual_seed(0)
    inputs = {modality: torch.randn(_POOL_SAMPLES, *shape, generator=generator) for modality, shape in shapes.items()}
    labels = torch.randint(_NUM_CLASSES, (_POOL_SAMPLES,), generator=generator)
    return Case(
        name=name,
        model=model,
        training=TrainingSpec(batch_size=32, optimizer=OptimizerSpec(learning_rate=0.01)),
        executor=ExecutorSpec(),
        inputs=shapes,
        samples=(inputs, labels),
        num_classes=_NUM_CLASSES,
        windows=[(np.arange(_WINDOW_SAMPLES) + client) % _POOL_SAMPLES for client in range(_NUM_CLIENTS)],
        modalities=[tuple(shapes)] * _NUM_CLIENTS,
    )
