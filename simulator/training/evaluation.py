"""Metrics of a model: fused accuracy, accuracy of each modality alone (the others zero-filled), and loss.

They are computed on the test set, and on the validation part if there is one: training samples that no client holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from interlude.models.inputs import Samples
from interlude.models.network import Network, Parameters
from interlude.models.packed import Packed
from interlude.simulator.randomness import Stream
from interlude.simulator.training.values import FUSED

_MOST_CHUNK_SAMPLES = 2048
_CHUNK_VALUES = 1 << 23  # of the inputs; a convolutional network's activations take some ten times as many


@dataclass(frozen=True)
class EvaluationSets:
    """The samples that models are evaluated on."""

    test: Samples
    validation: Samples | None = None
    """Training samples that no client holds."""

    def by_name(self) -> dict[str, Samples]:
        """Return the sets that there are, by the names of their fields."""
        sets = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: samples for name, samples in sets.items() if samples is not None}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The metrics of a model; those of the validation part are None where there is none."""

    accuracy: dict[str, float]
    """Top-1 accuracy in [0, 1] on the test set, fused and per modality."""
    loss: float
    """Mean cross-entropy of the fused logits on the test set."""
    validation_accuracy: dict[str, float] | None = None
    validation_loss: float | None = None

    def rows(self) -> list[tuple[str, str, float]]:
        """Return the metrics as rows of the record: metric, modality, value."""
        rows = _rows("accuracy", self.accuracy)
        rows.append(("loss", FUSED, self.loss))
        if self.validation_accuracy is not None and self.validation_loss is not None:
            rows += _rows("validation_accuracy", self.validation_accuracy)
            rows.append(("validation_loss", FUSED, self.validation_loss))
        return rows


def _rows(metric: str, values: Mapping[str, float]) -> list[tuple[str, str, float]]:
    return [(metric, modality, value) for modality, value in values.items()]


def evaluate(network: Network, parameters: Parameters, sets: EvaluationSets) -> Evaluation:
    """Return the metrics of a model.

    Args:
        network: the network.
        parameters: the model.
        sets: the test set, and what else there is.
    """
    (evaluation,) = evaluate_together(network, [parameters], sets, stacks=False)
    return evaluation


@torch.no_grad()
def evaluate_together(
    network: Network, models: Sequence[Parameters], sets: EvaluationSets, stacks: bool
) -> list[Evaluation]:
    """Return the metrics of several models.

    Args:
        network: the network.
        models: V models.
        sets: the test set, and what else there is.
        stacks: whether all models run at once; otherwise one after the other.
    """
    flats = [network.layout.pack(model).flat for model in models]
    test = _accuracies_and_losses(network, flats, sets.test, stacks)
    if sets.validation is None:
        return [Evaluation(*metrics) for metrics in test]
    validation = _accuracies_and_losses(network, flats, sets.validation, stacks)
    return [Evaluation(*metrics, *more) for metrics, more in zip(test, validation, strict=True)]


def _accuracies_and_losses(
    network: Network, flats: list[Tensor], samples: Samples, stacks: bool
) -> list[tuple[dict[str, float], float]]:
    """Return each model's accuracies, fused and of each modality alone, and its loss."""
    inputs, labels = samples
    subsets = {FUSED: network.modalities, **{modality: (modality,) for modality in network.modalities}}
    correct = torch.zeros(len(flats), len(subsets), dtype=torch.long, device=labels.device)
    loss = torch.zeros(len(flats), dtype=torch.float64, device=labels.device)
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
        ({name: right / num_samples for name, right in zip(subsets, counts, strict=True)}, total / num_samples)
        for counts, total in zip(correct.tolist(), loss.tolist(), strict=True)
    ]


def _chunk_samples(inputs: Mapping[str, Tensor]) -> int:
    """Return the number of samples evaluated at a time: fewer if they are large."""
    num_values = sum(x.shape[1:].numel() for x in inputs.values())
    return max(1, min(_MOST_CHUNK_SAMPLES, _CHUNK_VALUES // num_values))


def evaluation_subset(samples: Samples, num_samples: int | None, seed: int) -> Samples:
    """Return a fixed random subset of a set: the same for every method, in the set's order."""
    inputs, labels = samples
    if num_samples is None or num_samples >= len(labels):
        return samples
    order = Stream(seed, "evaluation-subset").generator().permutation(len(labels))[:num_samples]
    index = torch.from_numpy(order).sort().values
    return {modality: x[index] for modality, x in inputs.items()}, labels[index]
