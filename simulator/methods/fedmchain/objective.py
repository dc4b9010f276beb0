"""What a FedMChain client minimises in a phase: its modality's own cross-entropy, errors of earlier ones compensated.

Formulas: see `interlude.simulator.methods.fedmchain.FedMChain`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.training.objective import Batch, Context, Objective
from interlude.simulator.training.values import Named, Values

Compensation = Literal["residual", "ensemble"]
_FROZEN = Named("frozen_logits")


@dataclass(frozen=True)
class ErrorCompensated(Objective):
    """Cross-entropy of one modality's own logits, compensating for the errors of others."""

    modality: str
    earlier: tuple[str, ...]
    first: str
    ec: Compensation
    weight: float
    """lambda."""

    @property
    def modalities(self) -> tuple[str, ...]:  # type: ignore[override] # derived, where the base has a field
        """What is read: the modality that is trained, and the frozen ones."""
        return (self.modality, *self.earlier)

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return the phase's groups."""
        return groups_of(network, self.modality, self.first)

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return F [W, K], the frozen logits of the other modalities."""
        del context
        if not self.earlier:
            return {}
        return {_FROZEN: chain_logits(network, parameters, window.only(self.earlier), self.first)}

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return the mean of L."""
        own = chain_logits(network, parameters, batch.only((self.modality,)), self.first)
        loss = functional.cross_entropy(own, batch.labels, reduction="none")
        if self.earlier:
            frozen = context.prepared[_FROZEN][batch.positions]
            if self.ec == "residual":
                right = frozen.softmax(dim=1).gather(1, batch.labels[:, None])[:, 0]
                loss = loss * (1.0 + self.weight * (1.0 - right))
            else:
                loss = loss + self.weight * functional.cross_entropy(frozen + own, batch.labels, reduction="none")
        return batch.mean(loss)


def groups_of(network: Network, modality: str, first: str) -> tuple[str, ...]:
    """Return the groups of a modality; a shared bias belongs to the first of the chain."""
    return tuple(g for g in network.groups_of((modality,)) if g not in network.shared_groups or modality == first)


def chain_logits(network: Network, parameters: Parameters, inputs: Mapping[str, Tensor], first: str) -> Tensor:
    """Return sum_m f_m [B, K] over the modalities in `inputs`; a shared bias is part of the first one's."""
    if network.shared_groups and first not in inputs:
        without = {bias: torch.zeros_like(parameters[bias]) for bias in network.shared_groups}
        parameters = {**parameters, **without}
    return network(parameters, inputs).logits
