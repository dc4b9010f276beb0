"""What an MFedMC client minimises, reports and sends."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.methods.coalitions import coalitions, shapley_values
from interlude.simulator.training.objective import Batch, Context, CrossEntropy
from interlude.simulator.training.values import Values, named

IMPACT = "impact"
"""Name of phi_m, reported of each modality."""
LOSS = "loss_alone"
"""Name of CE(f_m), reported of each modality."""


def trained_groups(network: Network, modalities: Sequence[str]) -> tuple[str, ...]:
    """Return the groups of some modalities that are trained and travel: encoders and head slices, no shared bias."""
    return tuple(g for g in network.groups_of(tuple(modalities)) if g not in network.shared_groups)


@dataclass(frozen=True)
class Apart(CrossEntropy):
    """The sum of the cross-entropies of each modality alone: each trains as if there were no other."""

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return the encoders and head slices."""
        return trained_groups(network, self.modalities)

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return sum_m CE(f_m)."""
        del context
        return torch.stack(list(self._losses(network, parameters, batch).values())).sum()

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return CE(f_m) and each modality's Shapley value in the mean true-class probability of the sum."""
        del context
        features = network.features(parameters, window.only(self.modalities))
        worth = {}
        for some in coalitions(self.modalities):
            logits = network.classify(parameters, {m: features[m] for m in some})
            worth[some] = window.mean(logits.softmax(dim=1).gather(1, window.labels[:, None])[:, 0])
        impacts = shapley_values(self.modalities, worth)
        return {**named(LOSS, self._losses(network, parameters, window)), **named(IMPACT, impacts)}

    def _losses(self, network: Network, parameters: Parameters, batch: Batch) -> dict[str, Tensor]:
        losses = {}
        for modality, z in network.features(parameters, batch.only(self.modalities)).items():
            logits = network.classify(parameters, {modality: z})
            losses[modality] = batch.mean(functional.cross_entropy(logits, batch.labels, reduction="none"))
        return losses


@dataclass(frozen=True)
class Sent(CrossEntropy):
    """Trains nothing; what is uploaded is what an earlier task has trained."""

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return the groups of the modalities to upload."""
        return trained_groups(network, self.modalities)
