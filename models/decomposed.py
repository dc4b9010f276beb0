"""FedCMI's network: two projectors and a shared classifier beside every encoder.

Shapes: B batch, D features, K classes. For each modality m:

    own_m   = SP_m(phi_m(x_m))      self projection, the features that the fusion head and other methods read
    other_m = IP_m(phi_m(x_m))      infiltration projection, the part of m that imitates the other modalities
    q_m(.)                          one linear layer applied to both projections of m

Groups: ``encoder.m``, ``self_projector.m``, ``infiltration_projector.m``, ``classifier.m``, ``head.m`` and, for a
concatenation head, ``head.bias``.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from torch import Tensor, nn

from interlude.models.groups import HEAD, group_name, modality_of, part_of
from interlude.models.inputs import Inputs
from interlude.models.network import Network
from interlude.models.spec import ModelSpec

ProjectorName = Literal["linear", "mlp"]

SELF_PROJECTOR = "self_projector"
INFILTRATION_PROJECTOR = "infiltration_projector"
CLASSIFIER = "classifier"
"""Parts of the network beside encoder and head; each has a group per modality."""


class Projections(NamedTuple):
    """Both projections of the given modalities."""

    own: dict[str, Tensor]
    """[B, D] self projections."""
    infiltration: dict[str, Tensor]
    """[B, D] infiltration projections."""


class DecomposedNetwork(Network):
    """Encoders, projectors, shared classifiers and a fusion head on the self projections.

    Args:
        spec: the encoders and head; its width is also the projectors'.
        inputs: one sample of each modality, in the order of modalities; a bare shape means floats.
        num_classes: classes.
        projector: one linear layer, or three with ReLU between.
    """

    def __init__(
        self,
        spec: ModelSpec,
        inputs: Inputs,
        num_classes: int,
        projector: ProjectorName = "linear",
    ) -> None:
        self._projector = projector
        super().__init__(spec, inputs, num_classes)
        self._made_of = (spec, inputs, num_classes, projector)

    def features(self, parameters: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the self projections [B, D] of the modalities in `inputs`; zeros for samples that lack one."""
        encoded = super().features(parameters, inputs)
        return self._projected(SELF_PROJECTOR, parameters, encoded, inputs)

    def project(self, parameters: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> Projections:
        """Return both projections [B, D] of the modalities in `inputs`, each encoded once."""
        encoded = super().features(parameters, inputs)
        return Projections(
            self._projected(SELF_PROJECTOR, parameters, encoded, inputs),
            self._projected(INFILTRATION_PROJECTOR, parameters, encoded, inputs),
        )

    def _projected(
        self, part: str, parameters: Mapping[str, Tensor], encoded: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        return {
            m: self._without_lacking(m, inputs[m], self._run(group_name(part, m), parameters, z))
            for m, z in encoded.items()
        }

    def classify_alone(self, parameters: Mapping[str, Tensor], modality: str, projection: Tensor) -> Tensor:
        """Return the logits [B, K] of a modality's shared classifier on either projection [B, D] of it."""
        return self._run(group_name(CLASSIFIER, modality), parameters, projection)

    def _build(self, spec: ModelSpec) -> dict[str, nn.Module]:
        modules = super()._build(spec)
        for part in (SELF_PROJECTOR, INFILTRATION_PROJECTOR):
            modules |= {group_name(part, m): _projector(self._projector, spec.width) for m in self.modalities}
        classifiers = {group_name(CLASSIFIER, m): nn.Linear(spec.width, self.num_classes) for m in self.modalities}
        return modules | classifiers

    def _groups_of(self, modalities: tuple[str, ...]) -> tuple[str, ...]:
        """Return the modalities' sides and the whole head: an infiltration projection fills a missing slot of it."""
        return tuple(g for g in self.groups if part_of(g) == HEAD or modality_of(g) in modalities)


def _projector(kind: ProjectorName, width: int) -> nn.Module:
    """Return a map [B, D] -> [B, D]."""
    if kind == "linear":
        return nn.Linear(width, width)
    return nn.Sequential(
        nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
    )
