"""How far a modality is from what it should be: the distances that MBA's readings report.

Formulas: see `interlude.simulator.methods.mba.MBA`. Shapes: B samples, D features.
"""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.training.objective import Batch

DeltaName = Literal["cosine", "squared"]

_SMALLEST_NORM = 1e-8  # as in torch's cosine similarity


def delta(u: Tensor, v: Tensor, kind: DeltaName) -> Tensor:
    """Return the distance of [B, D] features per sample [B]: 1 - cos(u, v) in [0, 2], or ||u - v||^2 / D."""
    if kind == "cosine":
        return 1.0 - functional.cosine_similarity(u, v, dim=1)
    return (u - v).square().mean(dim=1)


def displacement(after: Mapping[str, Tensor], before: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Return mean_i ||after - before|| / mean_i ||before|| of the features [B, D] of each modality."""
    distances = {}
    for modality, z in before.items():
        norm = batch.mean(z.norm(dim=1)).clamp(min=_SMALLEST_NORM)
        distances[modality] = batch.mean((after[modality] - z).norm(dim=1)) / norm
    return distances


def losses_alone(
    network: Network, parameters: Parameters, features: Mapping[str, Tensor], batch: Batch
) -> dict[str, Tensor]:
    """Return CE(h(0 .. phi_m .. 0), y) of each modality, from its features [B, D]."""
    losses = {}
    for modality, z in features.items():
        logits = network.classify(parameters, {modality: z})
        losses[modality] = batch.mean(functional.cross_entropy(logits, batch.labels, reduction="none"))
    return losses
