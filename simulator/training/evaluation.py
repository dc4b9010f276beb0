"""Test metrics of a model: fused accuracy, accuracy of each modality alone (the others zero-filled), and loss."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from interlude.models.inputs import Samples
from interlude.models.network import Network, Parameters
from interlude.models.packed import Packed
from interlude.simulator.randomness import Stream
from interlude.simulator.training.values import FUSED

_MOST_CHUNK_SAMPLES = 2048
_MOST_GUESSES = 10.0  # of the loss of a uniform guess
_CHUNK_VALUES = 1 << 23  # of the inputs; a convolutional network's activations take some ten times as many


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics on the test set."""

    accuracy: dict[str, float]
    """Top-1 accuracy in [0, 1], fused and per modality."""
    loss: float
    """Mean cross-entropy of the fused logits."""


def has_diverged(loss: float, num_classes: int) -> bool:
    """Return whether a test loss is that of a model whose training diverged.

    It is if it is NaN or infinite, which NaN in a parameter leads to, or above 10 ln K. ln K is the loss of a uniform
    guess; ten times as much means that the true class is given a probability below K^-10 in the geometric mean over all
    samples, those that are predicted correctly included. Overconfidence on misleading data stays far below; parameters
    that feed back on themselves pass it within a few versions. The accuracy of such a model is an accident.

    Args:
        loss: mean cross-entropy of the fused logits on the test set.
        num_classes: K.
    """
    return not loss <= _MOST_GUESSES * math.log(max(2, num_classes))  # NaN compares as false


def evaluate(network: Network, parameters: Parameters, inputs: Mapping[str, Tensor], labels: Tensor) -> Evaluation:
    """Return the metrics of a model.

    Args:
        network: the network.
        parameters: the model.
        inputs: [N, *shape] test inputs of each modality.
        labels: [N] class indices.
    """
    (evaluation,) = evaluate_together(network, [parameters], (inputs, labels), stacks=False)
    return evaluation


@torch.no_grad()
def evaluate_together(
    network: Network, models: Sequence[Parameters], samples: Samples, stacks: bool
) -> list[Evaluation]:
    """Return the metrics of several models.

    Args:
        network: the network.
        models: V models.
        samples: the test set.
        stacks: whether all models run at once; otherwise one after the other.
    """
    inputs, labels = samples
    subsets = {FUSED: network.modalities, **{modality: (modality,) for modality in network.modalities}}
    correct = torch.zeros(len(models), len(subsets), dtype=torch.long, device=labels.device)
    loss = torch.zeros(len(models), dtype=torch.float64, device=labels.device)
    flats = [network.layout.pack(model).flat for model in models]
    chunk_samples = _chunk_samples(inputs)
    for start in range(0, len(labels), chunk_samples):
        chunk = {modality: x[start : start + chunk_samples] for modality, x in inputs.items()}
        truth = labels[start : start + chunk_samples]

        def count(flat: Tensor, chunk: dict[str, Tensor] = chunk, truth: Tensor = truth) -> tuple[Tensor, Tensor]:
            parameters = Packed(network.layout, flat)
            features = network.features(parameters, chunk)
            logits = [network.classify(parameters, {m: features[m] for m in subset}) for subset in subsets.values()]
            right = torch.stack([(prediction.argmax(dim=1) == truth).sum() for prediction in logits])
            return right, functional.cross_entropy(logits[0], truth, reduction="sum")

        if stacks:
            right, lost = torch.vmap(count)(torch.stack(flats))
        else:
            right, lost = (torch.stack(values) for values in zip(*map(count, flats), strict=True))
        correct += right
        loss += lost
    num_samples = len(labels)  # counts are divided in float64: 9 of 10 reach a target of 0.9
    return [
        Evaluation(
            {name: right / num_samples for name, right in zip(subsets, counts, strict=True)}, total / num_samples
        )
        for counts, total in zip(correct.tolist(), loss.tolist(), strict=True)
    ]


def _chunk_samples(inputs: Mapping[str, Tensor]) -> int:
    """Return the number of samples evaluated at a time: fewer if they are large."""
    num_values = sum(x.shape[1:].numel() for x in inputs.values())
    return max(1, min(_MOST_CHUNK_SAMPLES, _CHUNK_VALUES // num_values))


def evaluation_subset(samples: Samples, num_samples: int | None, seed: int) -> Samples:
    """Return a fixed random subset of a test set: the same for every method, in the set's order."""
    inputs, labels = samples
    if num_samples is None or num_samples >= len(labels):
        return samples
    order = Stream(seed, "evaluation-subset").generator().permutation(len(labels))[:num_samples]
    index = torch.from_numpy(order).sort().values
    return {modality: x[index] for modality, x in inputs.items()}, labels[index]
