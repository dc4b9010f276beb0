"""The optimiser of local training."""

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat
from torch import Tensor

from models.network import Parameters


class OptimizerSpec(BaseModel):
    """Stochastic gradient descent as in `torch.optim.SGD`; its momentum starts anew with every task."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Literal["sgd"] = "sgd"
    learning_rate: PositiveFloat
    momentum: float = Field(0.0, ge=0, lt=1)
    weight_decay: NonNegativeFloat = 0.0


class Sgd:
    """Stochastic gradient descent over named tensors, as `torch.optim.SGD` defines it."""

    def __init__(self, spec: OptimizerSpec) -> None:
        self._spec = spec
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
            stepped[name] = value.detach() - spec.learning_rate * gradient
        return stepped
