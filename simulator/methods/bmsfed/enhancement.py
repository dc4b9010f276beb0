"""What a BMSFed client minimises and reports: cross-entropy and the enhancement of the modality that is behind.

Equations: see `interlude.simulator.methods.bmsfed.BMSFed`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.methods.prototypes import (
    CLASS_COUNT,
    PROTOTYPE,
    class_means,
    enhancement_loss,
    excess,
    true_class_scores,
)
from interlude.simulator.training.objective import Batch, Context, Objective
from interlude.simulator.training.values import Named, Values, by_modality, named

Source = Literal["global", "local"]

RATIO = Named("ratio")
"""How many times better the others score than the first modality, or at a uni-modal client than its own: broadcast."""
SCORE = "score"
"""Name of s_m, reported for each modality."""


@dataclass(frozen=True)
class ModalEnhanced(Objective):
    """Cross-entropy plus the modal-enhancement loss of the modality that is behind."""

    modalities: tuple[str, ...]
    enhancement: bool = True
    source: Source = "global"
    """Prototypes that the enhancement compares with: the server's, or the client's own before training."""
    shares: bool = True
    """Whether the client's own prototypes are reported."""
    is_weak: bool = False
    """Whether the server told the client how far its only modality is behind."""

    @property
    def enhances(self) -> bool:
        """Whether there is anything to enhance: one modality alone is behind no other, unless the server says so."""
        return self.enhancement and (self.is_weak or len(self.modalities) > 1)

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return each modality's prototypes [K, D] and enhancement weight, by the parameters before training."""
        if not self.enhances:
            return {}
        own: dict[str, Tensor] = {}
        if self.is_weak:
            ratios = dict.fromkeys(self.modalities, context.broadcast[RATIO])
        if self.source == "local" or not self.is_weak:
            features = network.features(parameters, window.only(self.modalities))
            own = {m: class_means(z, window.labels, network.num_classes, window.mask)[0] for m, z in features.items()}
        if not self.is_weak:
            scores = _scores(features, own, window)
            ratios = {m: others_mean(scores, m) / score for m, score in scores.items()}
        prototypes = own if self.source == "local" else by_modality(context.broadcast, PROTOTYPE)
        return {
            **named(PROTOTYPE, {m: prototypes[m].to(window.labels.device) for m in self.modalities}),
            **named("weight", {m: excess(ratio).to(window.labels.device) for m, ratio in ratios.items()}),
        }

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return CE + sum_m clip(s_other / s_m - 1, 0, 1) L_ME^m (eq. 8, 9, 19), s_other the mean of all others."""
        output = network(parameters, batch.only(self.modalities))
        loss = batch.mean(functional.cross_entropy(output.logits, batch.labels, reduction="none"))
        if self.enhances:
            for modality, z in output.features.items():
                prototypes = context.prepared[Named(PROTOTYPE, modality)]
                behind = batch.mean(enhancement_loss(z, batch.labels, prototypes))
                loss = loss + context.prepared[Named("weight", modality)] * behind
        return loss

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return each modality's score s_m and, where shared, prototypes [K, D] and class counts [K]."""
        del context
        features = network.features(parameters, window.only(self.modalities))
        means = {m: class_means(z, window.labels, network.num_classes, window.mask) for m, z in features.items()}
        own = {m: mean for m, (mean, _) in means.items()}
        scores = named(SCORE, _scores(features, own, window))
        counts = means[self.modalities[0]][1]
        return {**scores, **named(PROTOTYPE, own), CLASS_COUNT: counts} if self.shares else scores


def others_mean(scores: Mapping[str, Tensor], modality: str) -> Tensor:
    """Return the mean of the scores of all modalities but one; of two it is the other's."""
    others = [score for other, score in scores.items() if other != modality]
    return others[0] if len(others) == 1 else torch.stack(others).mean(dim=0)


def _scores(features: Mapping[str, Tensor], prototypes: Mapping[str, Tensor], window: Batch) -> dict[str, Tensor]:
    """Return s_m, the mean softmax(-distance) at the true class over the window, of each modality (eq. 16)."""
    return {m: window.mean(true_class_scores(z, window.labels, prototypes[m])) for m, z in features.items()}
