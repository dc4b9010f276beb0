"""The optimiser of a stack: the chain of `optimizer.Sgd` for all rows of a bank at once, in place.

Shapes: G rows (clients), n rows that still take steps, P parameters, S a span of neighbouring parameters.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from interlude.simulator.training.optimizer import add_proximal, add_weight_decay
from interlude.simulator.training.spec import OptimizerSpec
from interlude.simulator.training.stacked.rows import Row


class StackedSgd:
    """Steps the rows of a bank.

    Args:
        spec: learning rate, momentum and weight decay.
        rows: the chains in the bank's rows; their local_steps have one proximal weight and one learning-rate scale.
        bank: [G, P] parameters, changed by every step.
        received: [P] or [G, P] models that the clients downloaded; needed where there is a proximal term.
        rate: the learning rate of all rows, or each row's own [G, 1].
    """

    def __init__(
        self, spec: OptimizerSpec, rows: Sequence[Row], bank: Tensor, received: Tensor | None, rate: float | Tensor
    ) -> None:
        self._spec = spec
        self._mu = rows[0].steps.proximal
        self._bank = bank
        self._received = received
        self._rate = rate
        self.momentum = _momentum(rows, bank) if spec.momentum > 0.0 else None
        """[G, P]; None where the optimiser has none."""

    @torch.no_grad()
    def step(self, num_rows: int, spans: Sequence[slice], gradients: Sequence[Tensor]) -> None:
        """Step the first n rows along their gradients [n, S] of each span; momentum from zeros is that of a start."""
        for span, gradient in zip(spans, gradients, strict=True):
            values = self._bank[:num_rows, span]
            direction = gradient
            if self._mu > 0.0:
                assert self._received is not None, "a proximal term needs the received models"
                received = self._received[span] if self._received.dim() == 1 else self._received[:num_rows, span]
                direction = add_proximal(direction, values, received, self._mu)
            if self._spec.weight_decay > 0.0:
                direction = add_weight_decay(direction, values, self._spec.weight_decay)
            if self.momentum is not None:
                direction = self.momentum[:num_rows, span].mul_(self._spec.momentum).add_(direction)
            if isinstance(self._rate, Tensor):
                values.sub_(self._rate[:num_rows] * direction)
            else:
                values.sub_(direction, alpha=self._rate)


def rate_of(spec: OptimizerSpec, rows: Sequence[Row]) -> float | Tensor:
    """Return the learning rate of all rows, or each row's own [G, 1], on the host."""
    rates = [spec.rate_at(row.task.version) * row.steps.learning_rate_scale for row in rows]
    return rates[0] if len(set(rates)) == 1 else torch.tensor(rates).unsqueeze(1)


def _momentum(rows: Sequence[Row], bank: Tensor) -> Tensor:
    kept = [row.momentum for row in rows]
    return torch.stack([torch.zeros_like(bank[0]) if momentum is None else momentum for momentum in kept])
