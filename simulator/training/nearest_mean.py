"""Accuracy of the nearest class mean: how well a modality's features tell the classes apart, without the head.

BMSFed's Table 3 reports it of each modality; its code takes the class means from the test set itself, this module from
training samples. It is not the accuracy of a modality alone, which the model's own head gives with the other modalities
zero-filled: features may separate the classes well while the head listens to another modality.
"""

import torch
from torch import Tensor

from interlude.models.inputs import Samples
from interlude.models.network import Network, Parameters
from interlude.simulator.training.forward import Models, chunks


def nearest_mean_accuracies(models: Models, references: Samples, test: Samples) -> list[dict[str, float]]:
    """Return each model's top-1 accuracy of the nearest class mean, by modality.

    With m_k the mean of the features of the references of class k, a sample of features f is classified as
    argmin_k |f - m_k| = argmax_k (f . m_k - |m_k|^2 / 2), in float64; the first of several that are equally near.

    Args:
        models: V models.
        references: training samples; a class that none of them has is never predicted.
        test: the samples that are classified.
    """
    network = models.network
    classes = torch.arange(network.num_classes, device=test[1].device)
    counts = (references[1][:, None] == classes).sum(dim=0)
    means = _feature_sums(models, references, classes) / counts.clamp(min=1)[:, None]  # [V, M, K, D]
    never = torch.where(counts > 0, 0.0, -torch.inf).double()
    correct = torch.zeros(len(models), len(network.modalities), dtype=torch.long, device=classes.device)
    for inputs, truth in chunks(test):

        def count(
            parameters: Parameters, means: Tensor, inputs: dict[str, Tensor] = inputs, truth: Tensor = truth
        ) -> tuple[Tensor]:
            products = torch.einsum("mnd,mkd->mnk", _features(network, parameters, inputs), means)
            nearness = products - means.square().sum(dim=-1)[:, None, :] / 2 + never
            return ((nearness.argmax(dim=-1) == truth).sum(dim=-1),)

        correct += models.map(count, means)[0]
    num_samples = len(test[1])
    return [
        {modality: right / num_samples for modality, right in zip(network.modalities, of_model, strict=True)}
        for of_model in correct.tolist()
    ]


def _feature_sums(models: Models, samples: Samples, classes: Tensor) -> Tensor:
    """Return the sums of the features over the samples of each class [V, M, K, D], in float64."""
    sums: Tensor | None = None
    for inputs, labels in chunks(samples):
        is_of_class = (labels[:, None] == classes).double()

        def add_up(
            parameters: Parameters, inputs: dict[str, Tensor] = inputs, is_of_class: Tensor = is_of_class
        ) -> tuple[Tensor]:
            return (torch.einsum("nk,mnd->mkd", is_of_class, _features(models.network, parameters, inputs)),)

        (of_chunk,) = models.map(add_up)
        sums = of_chunk if sums is None else sums + of_chunk
    assert sums is not None, "there are no samples"
    return sums


def _features(network: Network, parameters: Parameters, inputs: dict[str, Tensor]) -> Tensor:
    """Return the features of every modality [M, n, D], in float64."""
    features = network.features(parameters, inputs)
    return torch.stack([features[modality] for modality in network.modalities]).double()
