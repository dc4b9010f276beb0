"""What training costs: FLOPs and bytes counted on the network itself, never guessed.

The counted functions are the ones that run in training, executed once on the meta device (shapes without values) under
`torch.utils.flop_counter`. Matrix products and convolutions count, two FLOPs per multiply-add, forward and backward;
element-wise work does not.
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from models.network import Network, Parameters
from simulator.training.objective import Batch, Context, Objective, Values
from simulator.training.task import Stint, num_reported_bytes, steps_per_epoch


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
        # Objectives are frozen dataclasses and clients few-valued in size, so every count is made once.
        self.stint_flops = cache(self._count_stint_flops)
        self.step_flops = cache(self._count_step_flops)
        self.prepare_flops = cache(self._count_prepare_flops)
        self.report_flops = cache(self._count_report_flops)
        self.report_bytes = cache(self._count_report_bytes)

    def num_steps(self, num_samples: int, epochs: int) -> int:
        """Return the steps of some passes over a window."""
        return epochs * steps_per_epoch(num_samples, self._batch_size)

    def batch_samples(self, step: int, num_samples: int) -> int:
        """Return the samples in the `step`-th mini-batch over a window: full ones, then the rest of each pass."""
        per_epoch = steps_per_epoch(num_samples, self._batch_size)
        is_last = step % per_epoch == per_epoch - 1
        return num_samples - (per_epoch - 1) * self._batch_size if is_last else self._batch_size

    def _count_stint_flops(self, stint: Stint, num_samples: int) -> int:
        """Return the FLOPs of a stint's steps on a window of `num_samples`."""
        steps = range(stint.first_step, stint.first_step + stint.num_steps)
        return sum(self.step_flops(stint.objective, self.batch_samples(s, num_samples)) for s in steps)

    def _count_step_flops(self, objective: Objective, num_samples: int) -> int:
        """Return the FLOPs of one optimiser step (forward and backward) on a mini-batch of `num_samples`."""
        batch, context = self._prepared(objective, num_samples)
        parameters = self._trainable(objective)

        def step() -> None:
            loss = objective.loss(self._network, parameters, batch, context)
            trained = [value for value in parameters.values() if value.requires_grad]
            torch.autograd.grad(loss, trained, allow_unused=True)

        return _flops(step)

    def _count_prepare_flops(self, objective: Objective, num_samples: int) -> int:
        """Return the FLOPs of an objective's preparation on a window of `num_samples`."""
        window, context = self._example(objective, num_samples)
        return _flops(lambda: objective.prepare(self._network, self._network.shapes, window, context))

    def _count_report_flops(self, objective: Objective, num_samples: int) -> int:
        """Return the FLOPs of an objective's report on a window of `num_samples`."""
        window, context = self._prepared(objective, num_samples)
        return _flops(lambda: objective.report(self._network, self._network.shapes, window, context))

    def _count_report_bytes(self, objective: Objective) -> int:
        """Return the payload of an objective's report."""
        window, context = self._prepared(objective, num_samples=1)
        return num_reported_bytes(objective.report(self._network, self._network.shapes, window, context))

    def _prepared(self, objective: Objective, num_samples: int) -> tuple[Batch, Context]:
        window, context = self._example(objective, num_samples)
        prepared = objective.prepare(self._network, self._network.shapes, window, context)
        return window, Context(context.received, context.broadcast, prepared)

    def _example(self, objective: Objective, num_samples: int) -> tuple[Batch, Context]:
        inputs = {
            modality: torch.empty(num_samples, *self._network.input_shapes[modality], device="meta")
            for modality in objective.modalities
        }
        index = torch.empty(num_samples, dtype=torch.long, device="meta")
        return Batch(inputs, index, index), Context(self._network.shapes, self._broadcast)

    def _trainable(self, objective: Objective) -> Parameters:
        trained = {name for group in objective.groups(self._network) for name in self._network.groups[group]}
        shapes: dict[str, Tensor] = self._network.shapes
        return {name: shape.clone().requires_grad_(name in trained) for name, shape in shapes.items()}


def _flops(function: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return int(counter.get_total_flops())
