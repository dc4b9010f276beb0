"""What an MBA client minimises and reports: cross-entropy and the drift of early modalities from their anchors.

Formulas: see `interlude.simulator.methods.mba.MBA`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.methods.prototypes import class_means
from interlude.simulator.training.objective import Batch, Context, Objective
from interlude.simulator.training.values import Named, Values, by_modality, named

AnchorKind = Literal["none", "sample", "class_mean"]
DistanceName = Literal["cosine", "squared"]

DISTANCE = "distance"
"""Name of d_m, reported for each early modality."""
IMBALANCE = "imbalance"
"""Name of r_m, broadcast and recorded for each modality."""
_ANCHOR = "anchor"


@dataclass(frozen=True)
class Anchored(Objective):
    """Cross-entropy of the fused logits plus the drift of early modalities from their anchors."""

    modalities: tuple[str, ...]
    early: tuple[str, ...]
    """E, the modalities that were trained alone in a gap."""
    beta: float
    anchor: AnchorKind
    distance: DistanceName
    weighted: bool
    """Whether the server's imbalance weights the drift."""

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return the anchors: features [W, D] of each early modality before joint training, or class means [K, D]."""
        del context
        features = network.features(parameters, window.only(self.early))
        if self.anchor == "class_mean":
            features = {
                m: class_means(z, window.labels, network.num_classes, window.mask)[0] for m, z in features.items()
            }
        return named(_ANCHOR, features)

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return CE + beta / |E| sum_m r_m mean_i delta."""
        output = network(parameters, batch.only(self.modalities))
        loss = batch.mean(functional.cross_entropy(output.logits, batch.labels, reduction="none"))
        if self.beta == 0.0:
            return loss
        drifts = self._drifts(output.features, batch, context)
        if self.weighted:
            drifts = {m: context.broadcast[Named(IMBALANCE, m)] * drift for m, drift in drifts.items()}
        return loss + self.beta * sum(drifts.values()) / len(self.early)

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return d_m, the mean drift of each early modality over the window."""
        features = network.features(parameters, window.only(self.early))
        return named(DISTANCE, self._drifts(features, window, context))

    def _drifts(self, features: Mapping[str, Tensor], batch: Batch, context: Context) -> dict[str, Tensor]:
        rows = batch.labels if self.anchor == "class_mean" else batch.positions
        anchors = by_modality(context.prepared, _ANCHOR)
        return {m: batch.mean(delta(features[m], anchors[m][rows], self.distance)) for m in self.early}


def delta(u: Tensor, v: Tensor, kind: DistanceName) -> Tensor:
    """Return the distance of [B, D] features per sample [B]: 1 - cos(u, v) in [0, 2], or ||u - v||^2 / D."""
    if kind == "cosine":
        return 1.0 - functional.cosine_similarity(u, v, dim=1)
    return (u - v).square().mean(dim=1)
