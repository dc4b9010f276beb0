"""Class prototypes of features: means, distances, the modal-enhancement loss and the imbalance ratio.

Fan, Xu, Wang, Huo, Chen, Guo, "Overcome Modal Bias in Multi-modal Federated Learning via Balanced Modality Selection",
ECCV 2024; equation numbers are that paper's. Shapes: B batch, D features, K classes, N clients. A prototype row that is
all zero is that of a class which no client has held yet: it takes part in no distance, and its samples in no loss.
Everything is arithmetic on tensors, without a branch on a value, so that it also runs where shapes have no values.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.federation.rules import ServerRule
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Batch
from interlude.simulator.training.transfer import to_device
from interlude.simulator.training.values import Named, named

PROTOTYPE = "prototype"
"""Name of a modality's prototypes [K, D] where they are reported, broadcast or prepared."""
CLASS_COUNT = Named("class_count")
"""The class counts [K] reported beside them."""

_FAR = -1e30  # logit of a class that takes no part: finite, so that a row of nothing else is uniform and not NaN


def class_means(
    features: Tensor, labels: Tensor, num_classes: int, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the mean feature [K, D] of each class, zero where there is no sample, and the class counts [K].

    Args:
        features: [B, D].
        labels: [B] class indices.
        num_classes: K.
        mask: [B] 1 for samples, 0 for padding; None where nothing is padded.
    """
    # A product instead of a scattered sum, whose order of additions is not fixed on a GPU.
    members = (labels[:, None] == torch.arange(num_classes, device=labels.device)).to(features.dtype)
    if mask is not None:
        members = members * mask[:, None]
    counts = members.sum(dim=0)
    return (members.T @ features) / counts.clamp(min=1.0)[:, None], counts


def reported_means(
    network: Network, parameters: Parameters, window: Batch, modalities: tuple[str, ...]
) -> dict[Named, Tensor]:
    """Return the class means [K, D] of each modality of a window, and the class counts [K], as clients report them."""
    features = network.features(parameters, window.only(modalities))
    means = {m: class_means(z, window.labels, network.num_classes, window.mask) for m, z in features.items()}
    counts = means[modalities[0]][1]
    return {**named(PROTOTYPE, {m: mean for m, (mean, _) in means.items()}), CLASS_COUNT: counts}


def distances(features: Tensor, prototypes: Tensor) -> Tensor:
    """Return the Euclidean (not squared) distances [B, K]; their gradient at distance zero is zero."""
    return torch.cdist(features, prototypes, compute_mode="donot_use_mm_for_euclid_dist")


def known_classes(prototypes: Tensor) -> Tensor:
    """Return for each class [K] whether any client has held it."""
    return (prototypes != 0.0).any(dim=1)


def log_scores(features: Tensor, labels: Tensor, prototypes: Tensor) -> Tensor:
    """Return log softmax_j(-d(z_i, c_j)) at the true class [B], over the classes that are known."""
    closeness = torch.where(known_classes(prototypes), -distances(features, prototypes), _FAR)
    return functional.log_softmax(closeness, dim=1).gather(1, labels[:, None])[:, 0]


def enhancement_loss(features: Tensor, labels: Tensor, prototypes: Tensor) -> Tensor:
    """Return the modal-enhancement loss [B] per sample (eq. 7): -log softmax(-distance) at the true class.

    Args:
        features: [B, D] of one modality.
        labels: [B] class indices.
        prototypes: [K, D] of that modality.
    """
    per_sample = -log_scores(features, labels, prototypes)
    return torch.where(known_classes(prototypes)[labels], per_sample, 0.0)


def regulariser(features: Tensor, labels: Tensor, prototypes: Tensor) -> Tensor:
    """Return mean_d (z_id - c_{y_i},d)^2 per sample [B], 0 where the class is unknown (FedProto's regulariser)."""
    squares = (features - prototypes[labels]).square().mean(dim=1)
    return torch.where(known_classes(prototypes)[labels], squares, 0.0)


def true_class_scores(features: Tensor, labels: Tensor, prototypes: Tensor) -> Tensor:
    """Return softmax(-distance) at the true class [B], whose sum eq. 16 compares between modalities."""
    return log_scores(features, labels, prototypes).exp()


def nearest_is_true(features: Tensor, labels: Tensor, prototypes: Tensor) -> Tensor:
    """Return 1 where the nearest of the known prototypes, the first of equals, is the true class's, else 0 [B]."""
    away = torch.where(known_classes(prototypes), distances(features, prototypes), -_FAR)
    return (away.argmin(dim=1) == labels).to(features.dtype)


def excess(ratio: Tensor) -> Tensor:
    """Return clip(ratio - 1, 0, 1), the weight of a modality's enhancement (eq. 19).

    Args:
        ratio: how many times better the other modality scores: rho_k for beta_k, 1 / rho_k for gamma_k.
    """
    return (ratio - 1.0).clamp(0.0, 1.0)


def merge_prototypes(previous: Tensor, local: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the global prototypes [K, D] c_j = sum_k n_kj c_kj / sum_k n_kj (eq. 15).

    Args:
        previous: [K, D] global prototypes, kept for a class that none of these clients holds.
        local: each client's prototypes [K, D] and class counts [K].
    """
    total = torch.stack([counts for _, counts in local]).sum(dim=0)
    weighted = torch.stack([counts[:, None] * prototypes for prototypes, counts in local]).sum(dim=0)
    return torch.where(
        total[:, None] > 0.0, weighted / total.clamp(min=1.0)[:, None], to_device(previous, weighted.device)
    )


def mix_prototypes(previous: Tensor, local: tuple[Tensor, Tensor], alpha: float) -> Tensor:
    """Return (1 - alpha) c_j + alpha c_kj for every class that the client holds; its own where c_j was unknown.

    Args:
        previous: [K, D] global prototypes.
        local: one client's prototypes [K, D] and class counts [K].
        alpha: mixing weight.
    """
    prototypes, counts = local
    previous = to_device(previous, prototypes.device)
    mixed = torch.where(known_classes(previous)[:, None], torch.lerp(previous, prototypes, alpha), prototypes)
    return torch.where(counts[:, None] > 0.0, mixed, previous)


def global_prototypes(
    rule: ServerRule, previous: Mapping[str, Tensor], updates: Sequence[ClientUpdate]
) -> dict[str, Tensor]:
    """Return the global prototypes [K, D] of each modality after updates that report theirs.

    Several updates are averaged by class counts; on arrival the one there is is mixed in, as the model is.
    """
    merged = dict(previous)
    for modality in previous:
        key = Named(PROTOTYPE, modality)
        local = [(update.report[key], update.report[CLASS_COUNT]) for update in updates if key in update.report]
        alpha = rule.alpha(updates[0])
        if local and alpha is not None:
            merged[modality] = mix_prototypes(previous[modality], local[0], alpha)
        elif local:
            merged[modality] = merge_prototypes(previous[modality], local)
    return merged


def no_prototypes(network: Network) -> dict[str, Tensor]:
    """Return prototypes [K, D] of each modality before any is reported."""
    features = network.features(network.shapes, network.example(network.modalities, 1))
    return {m: torch.zeros(network.num_classes, z.shape[1]) for m, z in features.items()}
