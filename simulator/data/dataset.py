"""A multi-modal data set: in memory, or mapped from a prepared file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from interlude.models.inputs import InputSpec, Samples
from interlude.simulator.arrays import Indices


class Drawing(Protocol):
    """Where training samples come from that are drawn client by client, once they are trained on."""

    def shards(self, num_clients: int) -> Sequence[Indices]:
        """Return the sample indices of clients, each computed when it is asked for."""
        ...

    def labels(self, client: int) -> Indices:
        """Return the labels of a client's samples, without drawing these."""
        ...


@dataclass(frozen=True)
class Dataset:
    """Training and test samples with the same modalities, in a fixed order.

    Tensors may be mapped from files, so that only the samples that are used are read.
    """

    train: Samples
    test: Samples
    num_classes: int
    stored: Mapping[str, InputSpec] = field(default_factory=dict)
    """Storage of the modalities that are not plain floats: bytes, tokens."""
    keys: Mapping[str, Indices] = field(default_factory=dict)
    """[N] numbers of what training samples naturally belong to, e.g. ``subject``."""
    names: tuple[str, ...] | None = None
    """[N] names of the training samples, where partition files refer to them by name."""
    files: tuple[Path, ...] = ()
    """Files that identify this version of the data set; none where it is part of a library."""
    num_dropped: int = 0
    """Samples left out because a modality's file was missing."""
    drawn: Drawing | None = None
    """Where the training samples come from if there are none before a client trains; then `train` has no length."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return tuple(self.train[0])

    @property
    def num_stored(self) -> int:
        """Training samples that exist before any client trains."""
        return 0 if self.drawn is not None else len(self.train[1])

    @property
    def inputs(self) -> dict[str, InputSpec]:
        """What one sample of each modality looks like."""
        return {m: self.stored.get(m, InputSpec(tuple(x.shape[1:]))) for m, x in self.train[0].items()}


def standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Return [N, C, ...] inputs shifted and scaled per channel to mean 0 and deviation 1 on the training set."""
    axes = [axis for axis in range(train.dim()) if axis != 1]
    mean, std = train.mean(dim=axes, keepdim=True), train.std(dim=axes, keepdim=True)
    return (train - mean) / std, (test - mean) / std


def selected(samples: Samples, indices: Indices) -> Samples:
    """Return a copy of some samples, in the order of their indices."""
    inputs, labels = samples
    index = torch.from_numpy(indices)
    return {modality: x[index] for modality, x in inputs.items()}, labels[index]


def sample_bytes(samples: Samples) -> int:
    """Return the memory of one sample, its label included."""
    inputs, labels = samples
    return labels.itemsize + sum(x.shape[1:].numel() * x.itemsize for x in inputs.values())


def to_device(samples: Samples, device: torch.device) -> Samples:
    """Return the samples on a device."""
    inputs, labels = samples
    return {modality: x.to(device) for modality, x in inputs.items()}, labels.to(device)
