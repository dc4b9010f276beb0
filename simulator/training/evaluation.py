"""How good a model is: fused accuracy, accuracy of each modality alone (the others zero-filled), and loss."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.network import Network, Parameters

FUSED = "fused"
"""Stands in a metric's modality column where all modalities are used together."""

_CHUNK_SAMPLES = 2048


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics on the test set."""

    accuracy: dict[str, float]
    """Top-1 accuracy in [0, 1], fused and per modality."""
    loss: float
    """Mean cross-entropy of the fused logits."""


@torch.no_grad()
def evaluate(network: Network, parameters: Parameters, inputs: Mapping[str, Tensor], labels: Tensor) -> Evaluation:
    """Return the metrics of a model.

    Args:
        network: the network.
        parameters: the model.
        inputs: [N, *shape] test inputs of each modality.
        labels: [N] class indices.
    """
    num_samples = len(labels)
    subsets = {FUSED: network.modalities, **{modality: (modality,) for modality in network.modalities}}
    correct = torch.zeros(len(subsets), dtype=torch.long, device=labels.device)
    loss = torch.zeros((), device=labels.device)
    for start in range(0, num_samples, _CHUNK_SAMPLES):
        chunk = slice(start, start + _CHUNK_SAMPLES)
        truth = labels[chunk]
        features = network.features(parameters, {modality: x[chunk] for modality, x in inputs.items()})
        logits = [network.classify(parameters, {m: features[m] for m in subset}) for subset in subsets.values()]
        correct += torch.stack([(prediction.argmax(dim=1) == truth).sum() for prediction in logits])
        loss += functional.cross_entropy(logits[0], truth, reduction="sum")
    accuracy = (correct / num_samples).tolist()
    return Evaluation(dict(zip(subsets, accuracy, strict=True)), float(loss / num_samples))
