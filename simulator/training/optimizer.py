"""The optimiser of local training."""

import torch
from torch import Tensor

from interlude.models.network import Parameters
from interlude.simulator.training.spec import OptimizerSpec


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
