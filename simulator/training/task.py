"""Tasks: one piece of training dispatched at one client, and the promise of its result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor

from interlude.models.network import Parameters
from interlude.simulator.arrays import Indices
from interlude.simulator.randomness import Stream, torch_seed
from interlude.simulator.training.objective import Objective, Values
from interlude.simulator.training.optimizer import OptimizerSpec


class TrainingSpec(BaseModel):
    """The ``training`` section of a scenario: what every method's local training shares."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    local_epochs: PositiveInt = Field(1, description="passes over the window in joint training")
    batch_size: PositiveInt = 32
    window_samples: PositiveInt | None = Field(
        None,
        description="samples of one local round, taken in turn from the client's shard; unset: the whole shard",
    )
    optimizer: OptimizerSpec
    on_divergence: Literal["stop", "reject"] = Field(
        "stop", description="an update with NaN or infinity ends the run, or is left out of the merge and counted"
    )


@dataclass(frozen=True, slots=True)
class LocalSteps:
    """Consecutive optimiser steps on one objective."""

    objective: Objective
    num_steps: int
    phase: str
    """Names the stream that orders the batches, e.g. ``joint`` or ``unimodal-gray``."""
    first_step: int = 0
    """Steps of this phase that the local round has already done; they go on in the same batch order."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a task."""

    parameters: Parameters
    """All parameters: the trained groups changed, the others as they were at the start."""
    report: Values = field(default_factory=dict)
    """What the objective reports for upload."""
    loss: float | Tensor = 0.0
    """Mean loss over the task's steps; 0-d on its device where nobody has read it back yet."""


class Deferred(Protocol):
    """The result of a task, computed when somebody first asks for it."""

    received: Parameters
    """The model that the task's client had downloaded."""

    def result(self) -> Trained:
        """Return the result, computing it if nobody has yet."""
        ...


Start = Parameters | Deferred
"""Where training starts: a model that exists, or another task's result."""


@dataclass(slots=True, eq=False)
class Task:
    """One piece of training; everything that decides its result is in here.

    Not frozen, because one is made per training and a frozen one takes three times as long.
    """

    client: int
    window: int
    version: int
    """Version of the global model that the client downloaded."""
    stints: tuple[LocalSteps, ...]
    samples: Indices
    """[W] indices of the window's samples in the training set."""
    start: Start
    received: Parameters
    """The global model that the client downloaded."""
    broadcast: Values = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Who trains what, for messages."""
        phases = ", ".join(dict.fromkeys(stint.phase for stint in self.stints))
        return f"client {self.client}, local round {self.window}, task '{phases}' from model version {self.version}"


def resolve(start: Start) -> Parameters:
    """Return the parameters behind a start, computing them if need be."""
    return start if isinstance(start, Mapping) else start.result().parameters


def diverged(label: str, loss: float) -> str:
    """Return what to say of a task whose loss is not finite."""
    return f"the training loss of {label} is {loss}; a smaller learning rate may help"


def noise_generator(seed: int, task: Task, stint: LocalSteps, step: int) -> torch.Generator:
    """Return the source, on the CPU, of the normal numbers that belong to the `step`-th step of a stint's phase."""
    stream = Stream(seed, "noise", task.client, stint.phase)
    return torch.Generator().manual_seed(torch_seed(stream, task.window, step))


def steps_per_epoch(num_samples: int, batch_size: int) -> int:
    """Return the number of mini-batches in one pass; the last one may be smaller."""
    return -(-num_samples // batch_size)


def window_samples(shard: Indices, window: int, num_samples: int | None) -> Indices:
    """Return the samples of a client's `window`-th local round, taken in turn from its shard.

    Args:
        shard: [n_k] indices of the client's samples.
        window: index of the window.
        num_samples: samples in a window; None: the whole shard.
    """
    if num_samples is None or num_samples >= len(shard):
        return shard
    return shard[(window * num_samples + np.arange(num_samples)) % len(shard)]


def batch_positions(seed: int, task: Task, stint: LocalSteps, batch_size: int) -> list[Indices]:
    """Return the positions in the window of each step's mini-batch.

    The order belongs to (client, phase, window, epoch), so that the joint phase sees the same batches whatever
    happened before it, and under every method.
    """
    num_samples = len(task.samples)
    per_epoch = steps_per_epoch(num_samples, batch_size)
    stream = _batch_stream(seed, task.client, stint.phase)
    batches: list[Indices] = []
    last_step = stint.first_step + stint.num_steps
    for epoch in range(stint.first_step // per_epoch, -(-last_step // per_epoch)):
        order = stream.generator(task.window, epoch).permutation(num_samples)
        batches += [order[i : i + batch_size] for i in range(0, num_samples, batch_size)]
    skipped = stint.first_step % per_epoch
    return batches[skipped : skipped + stint.num_steps]


@lru_cache(maxsize=1 << 16)
def _batch_stream(seed: int, client: int, phase: str) -> Stream:
    return Stream(seed, "batches", client, phase)


def num_reported_bytes(report: Mapping[str, Mapping[str, Tensor]]) -> int:
    """Return the payload of a report: sum of numel x itemsize."""
    return sum(value.numel() * value.itemsize for values in report.values() for value in values.values())
