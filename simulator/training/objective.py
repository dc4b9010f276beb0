"""Objectives: what a client minimises, as pure functions over explicit parameters.

An objective is a frozen dataclass, so that equal objectives are recognised (their costs are counted once, their tasks
can be stacked). Shapes: B batch, W window (the samples of one local round), D features.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters

Noise = Callable[[Tensor], Tensor]
"""Standard normal numbers in the shape of a tensor."""

Values = Mapping[str, Mapping[str, Tensor]]
"""Named tensors per modality: what is prepared, reported or broadcast, e.g. ``{"distance": {"gray": ...}}``."""


@dataclass(frozen=True)
class Batch:
    """Some samples of a client's window."""

    inputs: Mapping[str, Tensor]
    """[B, *shape] of each modality at hand."""
    labels: Tensor
    """[B] class indices."""
    positions: Tensor
    """[B] positions in the window, to look up what was prepared per sample."""
    mask: Tensor | None = None
    """[B] 1 for samples, 0 for padding; None where nothing is padded."""

    def only(self, modalities: tuple[str, ...]) -> Mapping[str, Tensor]:
        """Return the inputs of the given modalities."""
        return {modality: self.inputs[modality] for modality in modalities}

    def mean(self, per_sample: Tensor) -> Tensor:
        """Return the mean of [B] values over the samples that are not padding."""
        if self.mask is None:
            return per_sample.mean()
        return (per_sample * self.mask).sum() / self.mask.sum()


@dataclass(frozen=True)
class Context:
    """What an objective may look at besides parameters and data."""

    received: Parameters
    """The global model that the client downloaded."""
    broadcast: Values = field(default_factory=dict)
    """What the server sent along."""
    prepared: Values = field(default_factory=dict)
    """What `Objective.prepare` returned."""


class Objective(ABC):
    """Base of all objectives; a subclass is a frozen dataclass with a field ``modalities``.

    Its functions are run for many clients at once, recorded and replayed, so they are pure: everything they depend on
    is a field or an argument, they do not branch on values or read them, they change nothing in place, and what
    concerns samples honours `Batch.mask`. A class in a module, not in a script, can be trained by worker processes too.
    """

    modalities: tuple[str, ...]
    """The modalities the objective reads; the others are zero-filled."""

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return the parameter groups that are trained."""
        return network.groups_of(self.modalities)

    @abstractmethod
    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return the scalar to minimise."""

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return what is computed from the parameters before the first step of every stint."""
        del network, parameters, window, context
        return {}

    def modulate(
        self,
        network: Network,
        gradients: Parameters,
        parameters: Parameters,
        batch: Batch,
        context: Context,
        noise: Noise,
    ) -> Parameters:
        """Return the gradients to step along; `noise` returns standard normal numbers in the shape of a tensor."""
        del network, parameters, batch, context, noise
        return gradients

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return what is computed from the trained parameters and uploaded beside them."""
        del network, parameters, window, context
        return {}


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Cross-entropy of the fused logits, with every modality not named here zero-filled.

    With one modality of several this is uni-modal training through the joint head: only that encoder, its head slice
    and the shared bias get a gradient.
    """

    modalities: tuple[str, ...]

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return the mean cross-entropy."""
        del context
        logits = network(parameters, batch.only(self.modalities)).logits
        return batch.mean(functional.cross_entropy(logits, batch.labels, reduction="none"))


@dataclass(frozen=True)
class Proximal(Objective):
    """Adds (mu / 2) ||w - w_received||^2 over the trained groups to another objective (FedProx, FedAsync)."""

    inner: Objective
    mu: float

    @property
    def modalities(self) -> tuple[str, ...]:  # type: ignore[override]
        """The inner objective's modalities."""
        return self.inner.modalities

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return the inner objective's groups."""
        return self.inner.groups(network)

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return the inner loss plus the proximal term."""
        loss = self.inner.loss(network, parameters, batch, context)
        trained = [name for group in self.groups(network) for name in network.groups[group]]
        drift = torch.cat([(parameters[name] - context.received[name]).flatten() for name in trained])
        return loss + 0.5 * self.mu * drift.square().sum()

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return what the inner objective prepares."""
        return self.inner.prepare(network, parameters, window, context)

    def modulate(
        self,
        network: Network,
        gradients: Parameters,
        parameters: Parameters,
        batch: Batch,
        context: Context,
        noise: Noise,
    ) -> Parameters:
        """Return what the inner objective makes of the gradients."""
        return self.inner.modulate(network, gradients, parameters, batch, context, noise)

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return what the inner objective reports."""
        return self.inner.report(network, parameters, window, context)


def proximal(objective: Objective, mu: float) -> Objective:
    """Return the objective with a proximal term, or itself where `mu` is 0."""
    return Proximal(objective, mu) if mu > 0.0 else objective
