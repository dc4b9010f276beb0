"""Metrics of a model: fused accuracy, accuracy of each modality alone (the others zero-filled), and loss.

They are computed on the test set, and on the validation part if there is one: training samples that no client holds.
The accuracy of the nearest class mean, another meaning of a modality alone, may be added.

Metrics in the record, each with the modality ``fused`` or that of one alone:

    accuracy, loss                          on the test set; the loss only fused
    validation_accuracy, validation_loss    on the validation part, likewise
    nearest_mean_accuracy                   on the test set, of each modality; see `nearest_mean`
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from interlude.models.inputs import Samples
from interlude.models.network import Network, Parameters
from interlude.simulator.randomness import Stream
from interlude.simulator.training.forward import Models, chunks
from interlude.simulator.training.nearest_mean import nearest_mean_accuracies
from interlude.simulator.training.values import FUSED

_MOST_GUESSES = 10.0  # of the loss of a uniform guess


@dataclass(frozen=True)
class EvaluationSets:
    """The samples that models are evaluated on."""

    test: Samples
    validation: Samples | None = None
    """Training samples that no client holds."""
    references: Samples | None = None
    """Training samples whose class means classify the test samples, by each modality's features."""

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
    nearest_mean_accuracy: dict[str, float] | None = None
    """Top-1 accuracy on the test set of the nearest class mean of each modality's features; None if not asked for."""

    @property
    def deciding_loss(self) -> float:
        """The loss that decisions are made by: on the validation part, or on the test set where there is none."""
        return self.loss if self.validation_loss is None else self.validation_loss

    def rows(self) -> list[tuple[str, str, float]]:
        """Return the metrics as rows of the record: metric, modality, value."""
        rows = _rows("accuracy", self.accuracy)
        rows.append(("loss", FUSED, self.loss))
        if self.validation_accuracy is not None and self.validation_loss is not None:
            rows += _rows("validation_accuracy", self.validation_accuracy)
            rows.append(("validation_loss", FUSED, self.validation_loss))
        if self.nearest_mean_accuracy is not None:
            rows += _rows("nearest_mean_accuracy", self.nearest_mean_accuracy)
        return rows


def _rows(metric: str, values: Mapping[str, float]) -> list[tuple[str, str, float]]:
    return [(metric, modality, value) for modality, value in values.items()]


def has_diverged(loss: float, num_classes: int) -> bool:
    """Return whether a loss is that of a model whose training diverged.

    It is if it is NaN or infinite, which NaN in a parameter leads to, or above 10 ln K. ln K is the loss of a uniform
    guess; ten times as much means that the true class is given a probability below K^-10 in the geometric mean over all
    samples, those that are predicted correctly included. Overconfidence on misleading data stays far below; parameters
    that feed back on themselves pass it within a few versions. The accuracy of such a model is an accident.

    Args:
        loss: mean cross-entropy of the fused logits.
        num_classes: K.
    """
    return not loss <= _MOST_GUESSES * math.log(max(2, num_classes))  # NaN compares as false


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
    together = Models(network, models, stacks)
    of_test = _accuracies_and_losses(together, sets.test)
    of_validation: Sequence[tuple[dict[str, float] | None, float | None]] = [(None, None)] * len(models)
    of_nearest_mean: Sequence[dict[str, float] | None] = [None] * len(models)
    if sets.validation is not None:
        of_validation = _accuracies_and_losses(together, sets.validation)
    if sets.references is not None:
        of_nearest_mean = nearest_mean_accuracies(together, sets.references, sets.test)
    return [
        Evaluation(*test, *validation, nearest_mean)
        for test, validation, nearest_mean in zip(of_test, of_validation, of_nearest_mean, strict=True)
    ]


def _accuracies_and_losses(models: Models, samples: Samples) -> list[tuple[dict[str, float], float]]:
    """Return each model's accuracies, fused and of each modality alone, and its loss."""
    network, labels = models.network, samples[1]
    subsets = {FUSED: network.modalities, **{modality: (modality,) for modality in network.modalities}}
    correct = torch.zeros(len(models), len(subsets), dtype=torch.long, device=labels.device)
    loss = torch.zeros(len(models), dtype=torch.float64, device=labels.device)
    for inputs, truth in chunks(samples):

        def count(
            parameters: Parameters, inputs: dict[str, Tensor] = inputs, truth: Tensor = truth
        ) -> tuple[Tensor, Tensor]:
            features = network.features(parameters, inputs)
            logits = [network.classify(parameters, {m: features[m] for m in subset}) for subset in subsets.values()]
            right = torch.stack([(prediction.argmax(dim=1) == truth).sum() for prediction in logits])
            return right, functional.cross_entropy(logits[0], truth, reduction="sum")

        right, lost = models.map(count)
        correct += right
        loss += lost
    num_samples = len(labels)  # counts are divided in float64: 9 of 10 reach a target of 0.9
    return [
        ({name: right / num_samples for name, right in zip(subsets, counts, strict=True)}, total / num_samples)
        for *counts, total in torch.cat([correct.double(), loss[:, None]], dim=1).tolist()  # one wait for the device
    ]


def evaluation_subset(samples: Samples, num_samples: int | None, seed: int) -> Samples:
    """Return a fixed random subset of a set: the same for every method, in the set's order."""
    inputs, labels = samples
    if num_samples is None or num_samples >= len(labels):
        return samples
    order = Stream(seed, "evaluation-subset").generator().permutation(len(labels))[:num_samples]
    index = torch.from_numpy(order).sort().values
    return {modality: x[index] for modality, x in inputs.items()}, labels[index]
