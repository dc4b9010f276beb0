"""A multi-modal data set in memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

from simulator.arrays import Samples


@dataclass(frozen=True)
class Dataset:
    """Training and test samples with the same modalities, in a fixed order."""

    train: Samples
    test: Samples
    num_classes: int

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return tuple(self.train[0])

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one sample of each modality."""
        return {modality: tuple(x.shape[1:]) for modality, x in self.train[0].items()}


def standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Return [N, C, ...] inputs shifted and scaled per channel to mean 0 and deviation 1 on the training set."""
    axes = [axis for axis in range(train.dim()) if axis != 1]
    mean, std = train.mean(dim=axes, keepdim=True), train.std(dim=axes, keepdim=True)
    return (train - mean) / std, (test - mean) / std


def to_device(samples: Samples, device: torch.device) -> Samples:
    """Return the samples on a device."""
    inputs, labels = samples
    return {modality: x.to(device) for modality, x in inputs.items()}, labels.to(device)
