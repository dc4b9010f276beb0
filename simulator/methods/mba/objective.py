"""What an MBA client minimises and reports when all of its modalities are there.

Formulas: see `interlude.simulator.methods.mba.MBA`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.methods.mba.distances import DeltaName, delta, displacement, losses_alone
from interlude.simulator.methods.prototypes import class_means
from interlude.simulator.training.objective import Batch, Context, Objective
from interlude.simulator.training.values import Named, Values, by_modality, named

AnchorName = Literal["target", "input", "none"]
AnchorForm = Literal["sample", "class_mean"]
DistanceName = Literal["drift", "displacement", "prediction"]

DISTANCE = "distance"
"""Name of d_m, reported and, smoothed, recorded."""
IMBALANCE = "imbalance"
"""Name of r_m, broadcast and recorded for each modality."""
_ANCHOR = "anchor"


@dataclass(frozen=True)
class Joint(Objective):
    """Cross-entropy of the fused logits, with anchors, terms of late modalities and distances, each if named."""

    modalities: tuple[str, ...]
    early: tuple[str, ...] = ()
    """E, the modalities that were trained alone in a gap."""
    late: tuple[str, ...] = ()
    """The modalities with a term of their own."""
    anchor: AnchorName = "none"
    anchor_form: AnchorForm = "sample"
    delta: DeltaName = "cosine"
    distance: DistanceName | None = None
    """What is reported; None: nothing."""
    beta: float = 1.0
    """Weight of the terms beside cross-entropy."""
    exponent: float = 0.0
    """Of r_m in the weight of a modality's terms; 0: r does not act at the client."""

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return the groups trained: all of its modalities' but the encoders whose cached features are the input."""
        groups = network.groups_of(self.modalities)
        still = {network.encoder_group(m) for m in self.early} if self.anchor == "input" else set()
        return tuple(group for group in groups if group not in still)

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return the anchors and the distances that are known before joint training.

        Anchors are the features [W, D] of each early modality, or class means [K, D].
        """
        values: dict[Named, Tensor] = {}
        caches = self.anchor != "none" or self.distance == "drift"
        if caches or self.distance == "displacement":
            own = network.features(parameters, window.only(self.early))
        if caches:
            values |= named(_ANCHOR, self._anchors(network, own, window))
        if self.distance == "displacement":
            received = network.features(context.received, window.only(self.early))
            values |= named(DISTANCE, displacement(own, received, window))
        elif self.distance == "prediction":
            received = network.features(context.received, window.only(self.modalities))
            values |= named(DISTANCE, losses_alone(network, context.received, received, window))
        return values

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return CE + beta (1 / |E| sum_{m in E} r_m^gamma mean_i delta + sum_{m late} r_m^gamma CE_m)."""
        features = self._features(network, parameters, batch, context)
        logits = network.classify(parameters, features)
        loss = batch.mean(functional.cross_entropy(logits, batch.labels, reduction="none"))
        if self.anchor == "target":
            drifts = self._weighted(self._drifts(features, batch, context), context)
            loss = loss + self.beta * sum(drifts.values()) / len(self.early)
        if self.late:
            alone = losses_alone(network, parameters, {m: features[m] for m in self.late}, batch)
            loss = loss + self.beta * sum(self._weighted(alone, context).values())
        return loss

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return d_m of each modality that has one."""
        if self.distance == "drift":
            features = network.features(parameters, window.only(self.early))
            return named(DISTANCE, self._drifts(features, window, context))
        return named(DISTANCE, by_modality(context.prepared, DISTANCE))

    def _anchors(self, network: Network, features: dict[str, Tensor], window: Batch) -> dict[str, Tensor]:
        if self.anchor_form == "sample":
            return features
        return {m: class_means(z, window.labels, network.num_classes, window.mask)[0] for m, z in features.items()}

    def _features(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> dict[str, Tensor]:
        """Return the features of a mini-batch: computed, or cached where anchors are the input."""
        if self.anchor != "input":
            return network.features(parameters, batch.only(self.modalities))
        moving = network.features(parameters, batch.only(tuple(m for m in self.modalities if m not in self.early)))
        anchors = by_modality(context.prepared, _ANCHOR)
        return {m: moving[m] if m in moving else anchors[m][batch.positions] for m in self.modalities}

    def _drifts(self, features: Mapping[str, Tensor], batch: Batch, context: Context) -> dict[str, Tensor]:
        """Return mean_i delta(phi_m(x_i,m), A_m(i)) of each early modality."""
        rows = batch.labels if self.anchor_form == "class_mean" else batch.positions
        anchors = by_modality(context.prepared, _ANCHOR)
        return {m: batch.mean(delta(features[m], anchors[m][rows], self.delta)) for m in self.early}

    def _weighted(self, terms: dict[str, Tensor], context: Context) -> dict[str, Tensor]:
        """Return r_m^gamma times each modality's term."""
        if self.exponent == 0.0:
            return terms
        return {m: context.broadcast[Named(IMBALANCE, m)] ** self.exponent * term for m, term in terms.items()}
