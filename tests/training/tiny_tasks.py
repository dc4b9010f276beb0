"""A network of two modalities, and tasks of a client with a handful of samples."""

import dataclasses

import numpy as np
import torch

from interlude.simulator.training.executors.batched import BatchedExecutor
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.task import LocalSteps, Task

SHAPES = {"a": (6,), "b": (4,)}
JOINT = CrossEntropy(("a", "b"))
CPU = torch.device("cpu")


def model_of(network, seed=1):
    return network.layout.pack(network.initial_parameters(torch.Generator().manual_seed(seed), CPU))


def task_of(model, client=0, start=None, num_steps=2, samples=None):
    return Task(
        client=client,
        window=0,
        version=0,
        local_steps=(LocalSteps(JOINT, num_steps, "joint"),),
        samples=np.arange(client * 5, client * 5 + 5) if samples is None else np.array(samples),
        start=model if start is None else start,
        received=model,
    )


def with_help(executor, pool):
    """Return an executor like this one, whose waves of ten rows make five jobs."""
    strategy = dataclasses.replace(executor.strategy, group_size=2)
    return BatchedExecutor(executor._network, executor._spec, 0, *executor._samples, strategy, pool)
