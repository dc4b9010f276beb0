"""What a BMSFed client minimises: cross-entropy and the enhancement of the modality that is behind.

Equations: see `interlude.simulator.methods.bmsfed.BMSFed`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.methods.bmsfed.measures import SCORE, Measuring, others_mean
from interlude.simulator.methods.prototypes import PROTOTYPE, enhancement_loss, excess, true_class_scores
from interlude.simulator.training.objective import Batch, Context
from interlude.simulator.training.values import Named, Values, by_modality, named

Source = Literal["global", "local"]

RATIO = Named("ratio")
"""How many times better the others score than the first modality, or at a uni-modal client than its own: broadcast."""
_TARGET = "target"  # name of the prototypes that the enhancement compares with
_WEIGHT = "weight"


@dataclass(frozen=True)
class ModalEnhanced(Measuring):
    """Cross-entropy plus the modal-enhancement loss of the modality that is behind."""

    source: Source = "global"
    """Prototypes that the enhancement compares with: the server's, or the client's own before training."""
    is_weak: bool = False
    """Whether the server told the client how far its only modality is behind."""
    constant: float | None = None
    """Weight of the modality that is behind in a mini-batch (`coefficient: code`); None: weights by eq. 19."""

    @property
    def enhances(self) -> bool:
        """Whether anything is enhanced: one modality alone has no ratio, unless the server says it."""
        return self.constant is not None or self.is_weak or len(self.modalities) > 1

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return each modality's prototypes [K, D] and, by eq. 19, weight, by the parameters before training."""
        own = super().prepare(network, parameters, window, context)
        if not self.enhances:
            return own
        prepared = dict(own)
        compares_scores = self.constant is None and not self.is_weak
        if not own and (compares_scores or self.source == "local"):
            own = self.measure(network, parameters, window)
        target = by_modality(own if self.source == "local" else context.broadcast, PROTOTYPE)
        prepared |= named(_TARGET, {m: target[m].to(window.labels.device) for m in self.modalities})
        if self.constant is None:
            scores = by_modality(own, SCORE)
            ratios = (
                {m: others_mean(scores, m) / score for m, score in scores.items()}
                if compares_scores
                else dict.fromkeys(self.modalities, context.broadcast[RATIO])
            )
            prepared |= named(_WEIGHT, {m: excess(ratio).to(window.labels.device) for m, ratio in ratios.items()})
        return prepared

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return CE + sum_m w_m L_ME^m (eq. 8, 9).

        w_m = clip(s_other / s_m - 1, 0, 1), s_other the mean of all others (eq. 19); or, of `constant`, that number
        for the modality with the least score in the batch and 0 for the others.
        """
        output = network(parameters, batch.only(self.modalities))
        loss = batch.mean(functional.cross_entropy(output.logits, batch.labels, reduction="none"))
        if not self.enhances:
            return loss
        target = by_modality(context.prepared, _TARGET)
        weights = (
            by_modality(context.prepared, _WEIGHT)
            if self.constant is None
            else constant_weights(self.constant, output.features, target, batch)
        )
        for modality, z in output.features.items():
            behind = batch.mean(enhancement_loss(z, batch.labels, target[modality]))
            loss = loss + weights[modality] * behind
        return loss


def constant_weights(
    constant: float, features: Mapping[str, Tensor], prototypes: Mapping[str, Tensor], batch: Batch
) -> dict[str, Tensor]:
    """Return `constant` for the modality whose batch scores least, the first of equals, and 0 for the others (0-d).

    Args:
        constant: MI_alpha of BMSFed's published code.
        features: [B, D] of each modality.
        prototypes: [K, D] of each modality.
        batch: the labels.
    """
    scores = [batch.mean(true_class_scores(z.detach(), batch.labels, prototypes[m])) for m, z in features.items()]
    is_least = torch.arange(len(scores), device=batch.labels.device) == torch.stack(scores).argmin()
    return dict(zip(features, constant * is_least.to(scores[0].dtype), strict=True))
