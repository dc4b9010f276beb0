"""What a FedPAC client minimises, first over its head and then over its encoders, and what it reports."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from interlude.models.groups import HEAD, part_of
from interlude.models.network import Network, Parameters
from interlude.simulator.methods.prototypes import (
    PROTOTYPE,
    class_means,
    known_classes,
    regulariser,
    reported_means,
)
from interlude.simulator.training.objective import Batch, Context, CrossEntropy
from interlude.simulator.training.values import Named, Values, by_modality, named

WEIGHTED_MEAN = "weighted_class_mean"
"""Name of h_k^m [K, D], reported of each modality."""
VARIANCE = Named("feature_variance")
"""v_k, reported."""


@dataclass(frozen=True)
class HeadAlone(CrossEntropy):
    """Cross-entropy over the head's parameters; reports the statistics of the received encoders' features."""

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return the head's groups."""
        return tuple(group for group in network.groups_of(self.modalities) if part_of(group) == HEAD)

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return h [K, D] of each modality and v."""
        del context
        means: dict[str, Tensor] = {}
        variance = torch.zeros((), device=window.labels.device)
        for modality, z in network.features(parameters, window.only(self.modalities)).items():
            mean, counts = class_means(z, window.labels, network.num_classes, window.mask)
            total = counts.sum()
            means[modality] = mean * (counts / total)[:, None]
            spread = window.mean(z.square().sum(dim=1)) - means[modality].square().sum()
            variance = variance + spread.clamp(min=0.0) / total  # of equal samples it rounds to either side of 0
        return {**named(WEIGHTED_MEAN, means), VARIANCE: variance}

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return the statistics."""
        del network, parameters, window
        return dict(context.prepared)


@dataclass(frozen=True)
class EncodersAlone(CrossEntropy):
    """Cross-entropy over the encoders' parameters, and a pull of features towards class means."""

    weight: float

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return the encoders."""
        return tuple(network.encoder_group(modality) for modality in self.modalities)

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return the global class means [K, D] of each modality, the client's own where a class has none yet."""
        features = network.features(parameters, window.only(self.modalities))
        targets: dict[str, Tensor] = {}
        for modality, z in features.items():
            received = context.broadcast[Named(PROTOTYPE, modality)].to(z.device)
            own, _ = class_means(z, window.labels, network.num_classes, window.mask)
            targets[modality] = torch.where(known_classes(received)[:, None], received, own)
        return named(PROTOTYPE, targets)

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return CE + lambda mean_m mean_i ||z_i^m - c_{y_i}^m||^2 / D."""
        output = network(parameters, batch.only(self.modalities))
        loss = batch.mean(functional.cross_entropy(output.logits, batch.labels, reduction="none"))
        targets = by_modality(context.prepared, PROTOTYPE)
        pulls = [batch.mean(regulariser(z, batch.labels, targets[m])) for m, z in output.features.items()]
        return loss + self.weight * torch.stack(pulls).mean()

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return the class means [K, D] of each modality and the class counts [K], after training."""
        del context
        return reported_means(network, parameters, window, self.modalities)
