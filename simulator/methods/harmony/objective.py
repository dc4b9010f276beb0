"""What a Harmony client minimises, in the federation of a modality and in that of the fusion."""

from dataclasses import dataclass

import torch

from interlude.models.groups import ENCODER, part_of
from interlude.models.network import Network, Parameters
from interlude.simulator.training.objective import Batch, Context, CrossEntropy, Noise
from interlude.simulator.training.values import Values, named

DISTANCE = "encoder_distance"
"""Name of d_m, reported of each modality."""


@dataclass(frozen=True)
class Alone(CrossEntropy):
    """Cross-entropy of one modality through its slice of the head, without the shared bias."""

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return the encoder and the slice."""
        return tuple(g for g in network.groups_of(self.modalities) if g not in network.shared_groups)


@dataclass(frozen=True)
class Fused(CrossEntropy):
    """Cross-entropy of the fused logits, encoders at a lower rate; reports how far these have turned."""

    encoder_rate: float

    def modulate(
        self,
        network: Network,
        gradients: Parameters,
        parameters: Parameters,
        batch: Batch,
        context: Context,
        noise: Noise,
    ) -> Parameters:
        """Return the gradients, the encoders' scaled down."""
        del network, parameters, batch, context, noise
        return {name: self.encoder_rate * g if part_of(name) == ENCODER else g for name, g in gradients.items()}

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return 1 - cos of each encoder and the federated one, whose round was the last of its federation."""
        del window
        distances = {}
        for modality in self.modalities:
            names = network.groups[network.encoder_group(modality)]
            own, federated = (torch.cat([of[n].flatten() for n in names]) for of in (parameters, context.received))
            lengths = own.square().sum() * federated.square().sum()
            distances[modality] = 1.0 - (own * federated).sum() / lengths.clamp(min=torch.finfo().tiny).sqrt()
        return named(DISTANCE, distances)
