"""What a BMSFed client measures and reports: its class means, and how well each modality tells classes apart by them.

Equations: see `interlude.simulator.methods.bmsfed.BMSFed`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from interlude.models.network import Network, Parameters
from interlude.simulator.methods.prototypes import (
    CLASS_COUNT,
    PROTOTYPE,
    class_means,
    nearest_is_true,
    true_class_scores,
)
from interlude.simulator.training.objective import Batch, Context, CrossEntropy
from interlude.simulator.training.values import Values, named

Ratio = Literal["scores", "accuracy"]
Moment = Literal["before", "after", "never"]

SCORE = "score"
"""Name of s_m, reported for each modality."""


@dataclass(frozen=True)
class Measuring(CrossEntropy):
    """Cross-entropy, whose clients report what they measure of each modality."""

    ratio: Ratio = "scores"
    """What s_m is."""
    shares: bool = True
    """Whether the client's own prototypes are reported, too."""
    moment: Moment = "after"
    """When that is measured: before the first step, as by a probe, after the last one, or not at all."""

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return what is measured before training."""
        del context
        return self.measure(network, parameters, window) if self.moment == "before" else {}

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return each modality's score s_m and, where shared, prototypes [K, D] and class counts [K]."""
        if self.moment == "never":
            return {}
        measured = context.prepared if self.moment == "before" else self.measure(network, parameters, window)
        wanted = {SCORE, PROTOTYPE, CLASS_COUNT.name} if self.shares else {SCORE}
        return {key: value for key, value in measured.items() if key.name in wanted}

    def measure(self, network: Network, parameters: Parameters, window: Batch) -> Values:
        """Return each modality's score s_m and prototypes [K, D], and the class counts [K]."""
        features = network.features(parameters, window.only(self.modalities))
        means = {m: class_means(z, window.labels, network.num_classes, window.mask) for m, z in features.items()}
        own = {m: mean for m, (mean, _) in means.items()}
        return {
            **named(SCORE, {m: self._score(z, own[m], window) for m, z in features.items()}),
            **named(PROTOTYPE, own),
            CLASS_COUNT: means[self.modalities[0]][1],
        }

    def _score(self, features: Tensor, own: Tensor, window: Batch) -> Tensor:
        if self.ratio == "scores":
            return window.mean(true_class_scores(features, window.labels, own))
        return accuracy(nearest_is_true(features, window.labels, own), window)


@dataclass(frozen=True)
class MeasuringOnly(Measuring):
    """Trains nothing and reports what it measures."""

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return nothing: no group is trained."""
        del network
        return ()


def accuracy(is_true: Tensor, window: Batch) -> Tensor:
    """Return the share of samples that are right, of one at least, so that a ratio of two shares is finite.

    Args:
        is_true: [W] 1 where a sample is right, else 0.
        window: whose padding does not count.
    """
    counted = torch.ones_like(is_true) if window.mask is None else window.mask.to(is_true.dtype)
    return (is_true * counted).sum().clamp(min=1.0) / counted.sum()


def others_mean(scores: Mapping[str, Tensor], modality: str) -> Tensor:
    """Return the mean of the scores of all modalities but one; of two it is the other's."""
    others = [score for other, score in scores.items() if other != modality]
    return others[0] if len(others) == 1 else torch.stack(others).mean(dim=0)
