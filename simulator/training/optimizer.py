"""The optimiser of local training."""

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from interlude.models.network import Parameters


class LinearDecay(BaseModel):
    """From the learning rate in a straight line to another one: at version v, lr + (to - lr) min(v / over_versions, 1).

    With `constant_versions` that is so only from there on, and the learning rate before it, as in BMSFed's code.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["linear"]
    to: PositiveFloat = Field(description="learning rate at the end")
    over_versions: PositiveInt = Field(description="version at which it ends; rounds where there is a barrier")
    constant_versions: NonNegativeInt = Field(0, description="first versions, whose learning rate does not change")

    def rate(self, first: float, version: int) -> float:
        """Return the learning rate of a task that starts from a version."""
        if version < self.constant_versions:
            return first
        return first + (self.to - first) * min(version / self.over_versions, 1.0)


class StepDecay(BaseModel):
    """Multiplied by a factor at every one of some versions."""

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


class Sgd:
    """Stochastic gradient descent over named tensors, as `torch.optim.SGD` defines it.

    Args:
        spec: learning rate, momentum and weight decay.
        version: version of the global model from which training starts.
    """

    def __init__(self, spec: OptimizerSpec, version: int) -> None:
        self._spec = spec
        self._learning_rate = spec.rate_at(version)
        self._momentum: dict[str, Tensor] = {}

    @torch.no_grad()
    def step(self, parameters: Parameters, gradients: Parameters) -> Parameters:
        """Return the parameters after one step: g += wd w; buf = m buf + g; w -= lr buf."""
        spec = self._spec
        stepped = {}
        for name, value in parameters.items():
            gradient = gradients[name]
            if spec.weight_decay > 0.0:
                gradient = gradient + spec.weight_decay * value
            if spec.momentum > 0.0:
                if name in self._momentum:
                    gradient = spec.momentum * self._momentum[name] + gradient
                self._momentum[name] = gradient
            stepped[name] = value.detach() - self._learning_rate * gradient
        return stepped
