"""What training costs: FLOPs and bytes counted on the network itself, never guessed.

The counted functions are the ones that run in training, executed once on the meta device (shapes without values) under
`torch.utils.flop_counter`. Matrix products and convolutions count, two FLOPs per multiply-add, forward and backward;
element-wise work does not.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from interlude.models.network import Network, Parameters
from interlude.simulator.errors import BadInputError
from interlude.simulator.training.objective import Batch, Context, CrossEntropy, Objective, Values
from interlude.simulator.training.task import LocalSteps, num_reported_bytes, steps_per_epoch

MOST_STEPS = 100_000
"""Optimiser steps of one phase of a local round: far more than anybody trains, few enough to be counted one by one."""


@dataclass(frozen=True, slots=True)
class TaskCost:
    """What one task costs and leaves behind."""

    flops: int
    """Preparation, steps and report."""
    report_bytes: int
    """Payload of the report."""
    groups: tuple[str, ...]
    """Parameter groups trained."""
    modality: str
    """The modalities trained, joined by '+'."""


class CostModel:
    """Counts FLOPs and bytes for one network and batch size.

    Args:
        network: the network trained.
        batch_size: samples of a full mini-batch.
        broadcast: an example of what the server sends along; only its shapes matter.
    """

    def __init__(self, network: Network, batch_size: int, broadcast: Values) -> None:
        self._network = network
        self._batch_size = batch_size
        self._broadcast = {
            name: {modality: value.to("meta") for modality, value in values.items()}
            for name, values in broadcast.items()
        }
        # Objectives are frozen dataclasses and windows few-valued in size, so every count is made once.
        self.of_task = cache(self._of_task)
        self.step_flops = cache(self._step_flops)
        self.prepare_flops = cache(self._prepare_flops)

    def num_steps(self, num_samples: int, epochs: int) -> int:
        """Return the steps of some passes over a window.

        Raises:
            BadInputError: if they are more than `MOST_STEPS`.
        """
        num_steps = epochs * steps_per_epoch(num_samples, self._batch_size)
        if num_steps > MOST_STEPS:
            raise BadInputError(
                f"a local round of {num_samples} samples would take {num_steps:.3g} optimiser steps "
                f"({epochs:.3g} passes, batches of {self._batch_size}), but at most {MOST_STEPS:,} are allowed"
            )
        return num_steps

    def batch_samples(self, step: int, num_samples: int) -> int:
        """Return the samples in the `step`-th mini-batch over a window: full ones, then the rest of each pass."""
        per_epoch = steps_per_epoch(num_samples, self._batch_size)
        is_last = step % per_epoch == per_epoch - 1
        return num_samples - (per_epoch - 1) * self._batch_size if is_last else self._batch_size

    def _of_task(self, stints: tuple[LocalSteps, ...], num_samples: int) -> TaskCost:
        """Return the cost of a task on a window of `num_samples`."""
        objectives = list(dict.fromkeys(stint.objective for stint in stints))
        flops = sum(
            num_steps * self.step_flops(stint.objective, size)
            for stint in stints
            for size, num_steps in self._steps_by_size(stint, num_samples)
        )
        flops += sum(self.prepare_flops(stint.objective, num_samples) for stint in stints)
        report_bytes = 0
        for objective in objectives:
            window, context = self._prepared(objective, num_samples)
            flops += _flops(partial(self._report, objective, window, context))
            report_bytes += num_reported_bytes(self._report(objective, window, context))
        groups = tuple(dict.fromkeys(group for o in objectives for group in o.groups(self._network)))
        trained = [modality for modality in self._network.modalities if f"encoder.{modality}" in groups]
        return TaskCost(flops, report_bytes, groups, "+".join(trained))

    def _steps_by_size(self, stint: LocalSteps, num_samples: int) -> list[tuple[int, int]]:
        """Return the sizes of a stint's mini-batches and how many there are of each."""
        per_epoch = steps_per_epoch(num_samples, self._batch_size)
        num_last = (stint.first_step + stint.num_steps) // per_epoch - stint.first_step // per_epoch
        rest = num_samples - (per_epoch - 1) * self._batch_size
        sizes = [(self._batch_size, stint.num_steps - num_last), (rest, num_last)]
        return [(size, num_steps) for size, num_steps in sizes if num_steps > 0]

    def _step_flops(self, objective: Objective, num_samples: int) -> int:
        """Return the FLOPs of one optimiser step (forward and backward) on a mini-batch of `num_samples`."""
        batch, context = self._prepared(objective, num_samples)
        parameters = self._trainable(objective)

        def step() -> None:
            loss = objective.loss(self._network, parameters, batch, context)
            trained = {name: value for name, value in parameters.items() if value.requires_grad}
            gradients = torch.autograd.grad(loss, list(trained.values()), materialize_grads=True)
            named = dict(zip(trained, gradients, strict=True))
            with torch.no_grad():
                objective.modulate(self._network, named, parameters, batch, context, torch.empty_like)

        return _flops(step)

    def _prepare_flops(self, objective: Objective, num_samples: int) -> int:
        """Return the FLOPs of an objective's preparation on a window of `num_samples`."""
        window, context = self._example(objective, num_samples)
        return _flops(partial(objective.prepare, self._network, self._network.shapes, window, context))

    def _prepared(self, objective: Objective, num_samples: int) -> tuple[Batch, Context]:
        window, context = self._example(objective, num_samples)
        prepared = objective.prepare(self._network, self._network.shapes, window, context)
        return window, Context(context.received, context.broadcast, prepared)

    def _report(self, objective: Objective, window: Batch, context: Context) -> Values:
        return objective.report(self._network, self._network.shapes, window, context)

    def _example(self, objective: Objective, num_samples: int) -> tuple[Batch, Context]:
        inputs = self._network.example(objective.modalities, num_samples)
        index = torch.empty(num_samples, dtype=torch.long, device="meta")
        return Batch(inputs, index, index), Context(self._network.shapes, self._broadcast)

    def _trainable(self, objective: Objective) -> Parameters:
        trained = {name for group in objective.groups(self._network) for name in self._network.groups[group]}
        shapes = self._network.shapes
        return {name: shape.clone().requires_grad_(name in trained) for name, shape in shapes.items()}


@dataclass(frozen=True)
class _Counted:
    """A network and batch size whose costs are counted; equal to any other that costs the same."""

    key: tuple[Any, ...]
    network: Network = field(compare=False)
    batch_size: int = field(compare=False)
    broadcast: Values = field(compare=False)


def shared_costs(network: Network, batch_size: int, broadcast: Values) -> CostModel:
    """Return the cost model, the one that an equal network got before: counting takes longer than a short clock.

    Args:
        network: the network trained.
        batch_size: samples of a full mini-batch.
        broadcast: an example of what the server sends along.
    """
    shapes = [
        (name, modality, tuple(value.shape), value.dtype)
        for name, values in broadcast.items()
        for modality, value in values.items()
    ]
    kind, made_of = network.__reduce__()
    return _shared(_Counted((kind, repr(made_of), batch_size, tuple(shapes)), network, batch_size, broadcast))


@lru_cache(maxsize=16)
def _shared(counted: _Counted) -> CostModel:
    return CostModel(counted.network, counted.batch_size, counted.broadcast)


def joint_flops_per_sample(network: Network, batch_size: int) -> float:
    """Return the FLOPs of training on one sample with cross-entropy on all modalities, in a full mini-batch."""
    costs = shared_costs(network, batch_size, {})
    return costs.step_flops(CrossEntropy(network.modalities), batch_size) / batch_size


def _flops(function: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return int(counter.get_total_flops())
