"""What a G-Blending client minimises, and what a probe of one head reports."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.training.objective import Batch, Context, CrossEntropy
from interlude.simulator.training.values import FUSED, Named, Values, by_modality, named

WEIGHT = "head_weight"
"""Name of w_h, broadcast and recorded of each head."""
GAIN = "gain"
"""Name of G_h, reported."""
OVERFITTING = "overfitting"
"""Name of O_h, reported."""
_TRAINED, _HELD_OUT = Named("trained_loss"), Named("held_out_loss")


@dataclass(frozen=True)
class Probe(CrossEntropy):
    """Trains one head alone on most of the window, and reports how its losses moved there and on the rest."""

    head: str
    held_out: int

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return both losses of the received model."""
        del context
        return self._losses(network, parameters, window)

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return CE over the samples that are trained on."""
        del context
        return self._losses(network, parameters, batch)[_TRAINED]

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return G and O of the head."""
        before, after = context.prepared, self._losses(network, parameters, window)
        gain = before[_HELD_OUT] - after[_HELD_OUT]
        overfitting = (after[_HELD_OUT] - after[_TRAINED]) - (before[_HELD_OUT] - before[_TRAINED])
        return {Named(GAIN, self.head): gain, Named(OVERFITTING, self.head): overfitting}

    def _losses(self, network: Network, parameters: Parameters, batch: Batch) -> dict[Named, Tensor]:
        logits = network(parameters, batch.only(self.modalities)).logits
        losses = functional.cross_entropy(logits, batch.labels, reduction="none")
        held = (batch.positions % self.held_out == 0).to(losses.dtype)
        counted = torch.ones_like(held) if batch.mask is None else batch.mask
        of = {_TRAINED: counted * (1.0 - held), _HELD_OUT: counted * held}
        return {part: (losses * share).sum() / share.sum().clamp(min=1.0) for part, share in of.items()}


@dataclass(frozen=True)
class Blended(CrossEntropy):
    """The weighted sum of the cross-entropies of all heads at hand."""

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return w_h of the heads at hand, which sum to 1."""
        del network, parameters
        weights = by_modality(context.broadcast, WEIGHT)
        heads = (FUSED, *self.modalities)
        at_hand = {head: weights[head].to(window.labels.device) for head in heads}
        return named(WEIGHT, normalised(at_hand, {head: torch.ones_like(w) for head, w in at_hand.items()}))

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return sum_h w_h CE(f_h)."""
        output = network(parameters, batch.only(self.modalities))
        logits = {FUSED: output.logits}
        logits |= {m: network.classify(parameters, {m: z}) for m, z in output.features.items()}
        losses = [
            context.prepared[Named(WEIGHT, head)]
            * batch.mean(functional.cross_entropy(of_head, batch.labels, reduction="none"))
            for head, of_head in logits.items()
        ]
        return torch.stack(losses).sum()


def normalised(weights: Mapping[str, Tensor], otherwise: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights (0-d each) that sum to 1; those of `otherwise`, where all are 0."""
    total = torch.stack(list(weights.values())).sum()
    instead = torch.stack(list(otherwise.values())).sum()
    return {
        head: torch.where(total > 0.0, weight / total.clamp(min=torch.finfo().tiny), otherwise[head] / instead)
        for head, weight in weights.items()
    }
