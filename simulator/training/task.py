"""Tasks: one piece of training dispatched at one client, and its result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from interlude.models.network import Parameters
from interlude.simulator.arrays import Indices
from interlude.simulator.randomness import Stream, torch_seed
from interlude.simulator.training.executors.future import Future
from interlude.simulator.training.objective import Objective
from interlude.simulator.training.values import Values


class LocalSteps(NamedTuple):
    """Consecutive optimiser steps on one objective."""

    objective: Objective
    num_steps: int
    phase: str
    """Name of the stream that orders the batches, e.g. ``joint`` or ``unimodal-gray``."""
    first_step: int = 0
    """Steps of this phase already done in the local round; the batch order continues after them."""
    proximal: float = 0.0
    """mu of (mu / 2) ||w - w_received||^2 over the trained groups, whose gradient joins the objective's; 0 for none."""
    learning_rate_scale: float = 1.0
    """Factor on the scenario's learning rate."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a task."""

    parameters: Parameters
    """All parameters: the trained groups changed, the others as at the start."""
    received: Parameters
    """The model that the client downloaded; staleness counts from its version."""
    report: Values = field(default_factory=dict)
    """The objective's report, which is uploaded."""
    loss: float | Tensor = 0.0
    """Mean loss of the objective, without proximal terms, over the task's steps; 0-d on its device until it is read."""


Start = Parameters | Future[Trained]
"""Where training starts: a model that exists, or another task's result."""


@dataclass(slots=True, eq=False)
class Task:
    """One piece of training; it holds everything that determines its result.

    Not frozen, because one is made per training and a frozen one takes three times as long to make.
    """

    client: int
    window: int
    version: int
    """Version of the global model that the client downloaded."""
    local_steps: tuple[LocalSteps, ...]
    samples: Indices
    """[W] indices of the window's samples in the training set."""
    start: Start
    received: Parameters
    """The global model that the client downloaded."""
    broadcast: Values = field(default_factory=dict)
    fresh: Parameters | None = None
    """The global model that it downloaded in mid-round, which the objective sees as the received one."""

    @property
    def latest(self) -> Parameters:
        """The global model that the client downloaded last."""
        return self.received if self.fresh is None else self.fresh

    @property
    def label(self) -> str:
        """The task's name in messages."""
        phases = ", ".join(dict.fromkeys(steps.phase for steps in self.local_steps))
        return f"client {self.client}, local round {self.window}, task '{phases}' from model version {self.version}"


def resolve(start: Start) -> Parameters:
    """Return the parameters behind a start, computing them if necessary."""
    return start if isinstance(start, Mapping) else start.result().parameters


def diverged(label: str, loss: float) -> str:
    """Return the message for a task whose loss is not finite."""
    return f"the training loss of {label} is {loss}; a smaller learning rate may help"


def noise_generator(seed: int, task: Task, steps: LocalSteps, step: int) -> torch.Generator:
    """Return the source, on the CPU, of the normal numbers that belong to the `step`-th step of a phase."""
    stream = Stream(seed, "noise", task.client, steps.phase)
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
