"""Server optimisers: a merge is a pseudo-gradient, and a step along it makes the next model.

Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan, "Adaptive Federated Optimization" (ICLR 2021), whose
algorithms 1 and 2 these are, without bias corrections. Per group that was merged, with Delta = merged - theta, m_0 = 0
and v_0 = epsilon^2:

    sgd       theta <- theta + eta Delta
    momentum  m <- beta1 m + Delta                    theta <- theta + eta m
    adaptive  m <- beta1 m + (1 - beta1) Delta        theta <- theta + eta m / (sqrt(v) + epsilon)
    adam      v <- beta2 v + (1 - beta2) Delta^2
    yogi      v <- v - (1 - beta2) Delta^2 sign(v - Delta^2)
    adagrad   v <- v + Delta^2

A group that no update trained keeps its parameters and its moments: its m does not decay, nor does it move.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat
from torch import Tensor

from interlude.models.network import Parameters
from interlude.models.packed import Packed, pack

Moments = tuple[Tensor, ...]
"""What an optimiser remembers, each [P]: nothing, m, or m and v."""


def running_mean(moment: Tensor, value: Tensor, beta: float) -> Tensor:
    """Return beta m + (1 - beta) x."""
    return beta * moment + (1.0 - beta) * value


class _ServerOptimizer(BaseModel, ABC):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    learning_rate: PositiveFloat

    def step(
        self, model: Parameters, merged: Parameters, groups: Iterable[str], moments: Moments
    ) -> tuple[Packed, Moments]:
        """Return the next model and moments.

        Args:
            model: theta.
            merged: what the method made of it.
            groups: those that the updates trained; every other group is as merged.
            moments: those after the last step; empty before the first.
        """
        theta = pack(model)
        towards = theta.layout.pack(merged).flat
        following = towards.clone()
        kept = tuple(moment.clone() for moment in moments) or self._initial_moments(theta.flat)
        for span in theta.layout.spans(groups):
            before = tuple(moment[span] for moment in kept)
            following[span], after = self._stepped(theta.flat[span], towards[span], before)
            for moment, value in zip(kept, after, strict=True):
                moment[span] = value
        return Packed(theta.layout, following), kept

    @abstractmethod
    def _initial_moments(self, like: Tensor) -> Moments:
        """Return the moments before the first step."""

    @abstractmethod
    def _stepped(self, theta: Tensor, merged: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
        """Return some parameters and their moments after a step."""


class ServerSgd(_ServerOptimizer):
    """theta <- theta + eta Delta; with eta = 1 the merge itself, number for number."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: PositiveFloat = Field(1.0, description="eta")

    def _initial_moments(self, like: Tensor) -> Moments:
        del like
        return ()

    def _stepped(self, theta: Tensor, merged: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
        return torch.lerp(theta, merged, self.learning_rate), moments  # exact at both ends, as a sum is not


class ServerMomentum(_ServerOptimizer):
    """m <- beta1 m + Delta, theta <- theta + eta m (FedAvgM)."""

    kind: Literal["momentum"] = "momentum"
    learning_rate: PositiveFloat = Field(1.0, description="eta, to be tuned: steps add up to eta / (1 - beta1) Delta")
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of m")

    def _initial_moments(self, like: Tensor) -> Moments:
        return (torch.zeros_like(like),)

    def _stepped(self, theta: Tensor, merged: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
        (first,) = moments
        first = self.beta1 * first + (merged - theta)
        return theta + self.learning_rate * first, (first,)


class _Adaptive(_ServerOptimizer):
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of m")
    epsilon: PositiveFloat = Field(1e-3, description="tau, least denominator; v begins with its square")

    def _initial_moments(self, like: Tensor) -> Moments:
        return torch.zeros_like(like), torch.full_like(like, self.epsilon**2)

    def _stepped(self, theta: Tensor, merged: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
        first, second = moments
        delta = merged - theta
        first, second = running_mean(first, delta, self.beta1), self._second(second, delta * delta)
        return theta + self.learning_rate * first / (second.sqrt() + self.epsilon), (first, second)

    @abstractmethod
    def _second(self, second: Tensor, squared: Tensor) -> Tensor:
        """Return the next v from v and Delta^2."""


class ServerAdam(_Adaptive):
    """v <- beta2 v + (1 - beta2) Delta^2 (FedAdam)."""

    kind: Literal["adam"] = "adam"
    learning_rate: PositiveFloat = Field(0.01, description="eta, to be tuned: every parameter moves by about so much")
    beta2: float = Field(0.99, ge=0, lt=1, description="decay of v")

    def _second(self, second: Tensor, squared: Tensor) -> Tensor:
        return running_mean(second, squared, self.beta2)


class ServerYogi(_Adaptive):
    """v <- v - (1 - beta2) Delta^2 sign(v - Delta^2) (FedYogi)."""

    kind: Literal["yogi"] = "yogi"
    learning_rate: PositiveFloat = Field(0.01, description="eta, to be tuned: every parameter moves by about so much")
    beta2: float = Field(0.99, ge=0, lt=1, description="1 - the step of v")

    def _second(self, second: Tensor, squared: Tensor) -> Tensor:
        return second - (1.0 - self.beta2) * squared * torch.sign(second - squared)


class ServerAdagrad(_Adaptive):
    """v <- v + Delta^2 (FedAdagrad)."""

    kind: Literal["adagrad"] = "adagrad"
    learning_rate: PositiveFloat = Field(0.1, description="eta, to be tuned")
    beta1: float = Field(0.0, ge=0, lt=1, description="decay of m")

    def _second(self, second: Tensor, squared: Tensor) -> Tensor:
        return second + squared


ServerOptimizer = Annotated[
    ServerSgd | ServerMomentum | ServerAdam | ServerYogi | ServerAdagrad, Field(discriminator="kind")
]
