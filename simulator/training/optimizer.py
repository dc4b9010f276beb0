"""The optimiser of local training."""

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from interlude.models.network import Parameters


class LinearDecay(BaseModel):
    """Linear from the learning rate to another one: at version v, lr + (to - lr) min(v / over_versions, 1).

    With `constant_versions` the learning rate stays constant before that version, as in BMSFed's code.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["linear"]
    to: PositiveFloat = Field(description="learning rate at the end")
    over_versions: PositiveInt = Field(description="version at which it ends; rounds where there is a barrier")
    constant_versions: NonNegativeInt = Field(0, description="first versions, with a constant learning rate")

    def rate(self, first: float, version: int) -> float:
        """Return the learning rate of a task that starts from a version."""
        if version < self.constant_versions:
            return first
        return first + (self.to - first) * min(version / self.over_versions, 1.0)


class StepDecay(BaseModel):
    """Multiplied by a factor at each of the given versions."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["steps"]
    at_versions: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    factor: float = Field(0.1, gt=0, le=1)

    def rate(self, first: float, version: int) -> float:
        """Return the learning rate of a task that starts from a version."""
        return float(first * self.factor ** sum(version >= at for at in self.at_versions))


class OptimizerSpec(BaseModel):
    """Stochastic gradient descent as in `torch.optim.SGD`; its momentum starts anew with every task."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Literal["sgd"] = "sgd"
    learning_rate: PositiveFloat
    momentum: float = Field(0.0, ge=0, lt=1)
    weight_decay: NonNegativeFloat = 0.0
    schedule: Annotated[LinearDecay | StepDecay, Field(discriminator="kind")] | None = Field(
        None, description="how the learning rate falls with the model version that a client received; unset: constant"
    )

    def rate_at(self, version: int) -> float:
        """Return the learning rate of a task that starts from a version of the global model."""
        return self.learning_rate if self.schedule is None else self.schedule.rate(self.learning_rate, version)


def add_proximal(gradient: Tensor, value: Tensor, received: Tensor, mu: float) -> Tensor:
    """Return g + mu (w - w_received), the gradient with that of (mu / 2) ||w - w_received||^2 (FedProx)."""
    return gradient + mu * (value - received)


def add_weight_decay(gradient: Tensor, value: Tensor, weight_decay: float) -> Tensor:
    """Return g + wd w."""
    return gradient + weight_decay * value


def add_momentum(gradient: Tensor, buffer: Tensor | None, momentum: float) -> Tensor:
    """Return the next buffer m buf + g, along which the step goes; g itself in the first step."""
    return gradient if buffer is None else momentum * buffer + gradient


def scale_by_learning_rate(direction: Tensor, learning_rate: float) -> Tensor:
    """Return lr buf, which is subtracted from the parameters."""
    return learning_rate * direction


class Sgd:
    """Stochastic gradient descent over named tensors, a chain of gradient transformations.

    The chain is proximal term, weight decay, momentum, learning rate; without the first it is `torch.optim.SGD`.

    Args:
        spec: learning rate, momentum and weight decay.
        version: version of the global model from which training starts.
        received: w_received, the model that the client downloaded.
    """

    def __init__(self, spec: OptimizerSpec, version: int, received: Parameters) -> None:
        self._spec = spec
        self._learning_rate = spec.rate_at(version)
        self._received = received
        self._momentum: dict[str, Tensor] = {}

    @torch.no_grad()
    def step(self, parameters: Parameters, gradients: Parameters, *, mu: float, scale: float) -> Parameters:
        """Return the parameters after one step.

        Args:
            parameters: the trained ones.
            gradients: by the names of the parameters.
            mu: weight of the proximal term; 0 for none.
            scale: factor on the learning rate.
        """
        spec = self._spec
        stepped = {}
        for name, value in parameters.items():
            gradient = gradients[name]
            if mu > 0.0:
                gradient = add_proximal(gradient, value, self._received[name], mu)
            if spec.weight_decay > 0.0:
                gradient = add_weight_decay(gradient, value, spec.weight_decay)
            if spec.momentum > 0.0:
                gradient = add_momentum(gradient, self._momentum.get(name), spec.momentum)
                self._momentum[name] = gradient
            stepped[name] = value.detach() - scale_by_learning_rate(gradient, self._learning_rate * scale)
        return stepped
