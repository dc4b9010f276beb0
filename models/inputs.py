"""The shape and storage of one sample of a modality.

Images are kept as bytes and text as token numbers, a quarter of the memory of floats; the network turns bytes into
standardised floats as it reads them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_LARGEST_BYTE = 255.0

Samples = tuple[Mapping[str, Tensor], Tensor]
"""Inputs [N, *shape] of each modality and labels [N]."""


@dataclass(frozen=True)
class InputSpec:
    """One modality's input.

    Plain floats by default.
    """

    shape: tuple[int, ...]
    """One sample; its first axis is the channels where there are any."""
    mean: tuple[float, ...] | None = None
    """Per channel, where samples are bytes: the network reads ``(x / 255 - mean) / std``."""
    std: tuple[float, ...] | None = None
    """Per channel, with `mean`."""
    num_tokens: int | None = None
    """Size of the vocabulary, where samples are token numbers; token 0 is padding."""
    may_lack: bool = False
    """Whether samples may lack the modality: all of their floats are NaN, or all of their tokens padding."""

    @classmethod
    def of(cls, given: "InputSpec | Sequence[int]") -> "InputSpec":
        """Return an input; a bare shape means floats."""
        return given if isinstance(given, InputSpec) else cls(tuple(given))

    @property
    def dtype(self) -> torch.dtype:
        """The type in which samples are stored."""
        if self.num_tokens is not None:
            return torch.int32
        return torch.float32 if self.mean is None else torch.uint8

    def example(self, num_samples: int) -> Tensor:
        """Return a batch [num_samples, *shape] without values, on the meta device."""
        return torch.empty(num_samples, *self.shape, dtype=self.dtype, device="meta")


def taken(values: Tensor, index: Tensor) -> Tensor:
    """Return `values[index]`, samples of values [N, *shape] at an index of any shape, in a fraction of its time."""
    return values.index_select(0, index.reshape(-1)).view(*index.shape, *values.shape[1:])


def lacking(x: Tensor) -> Tensor:
    """Return which samples [B] of floats or token numbers [B, *shape] lack the modality."""
    return x.flatten(1)[:, 0].isnan() if x.is_floating_point() else (x == 0).flatten(1).all(dim=1)


Inputs = Mapping[str, InputSpec | Sequence[int]]
"""The modalities of a network, in order, with the shape and storage of their samples."""


class Reader:
    """Turns stored samples of one modality into its encoder's input.

    Args:
        spec: how samples are stored.
    """

    def __init__(self, spec: InputSpec) -> None:
        self._scales: dict[torch.device, tuple[Tensor, Tensor]] = {}
        if spec.mean is not None and spec.std is not None:
            shape = (-1, *[1] * (len(spec.shape) - 1))
            std = torch.tensor(spec.std).view(shape)
            cpu = ((1.0 / (_LARGEST_BYTE * std)), -torch.tensor(spec.mean).view(shape) / std)
            self._scales[torch.device("cpu")] = cpu

    def __call__(self, x: Tensor) -> Tensor:
        """Return [B, *shape] bytes as standardised floats; other types unchanged."""
        if not self._scales or x.dtype != torch.uint8:
            return x
        if x.device not in self._scales:
            cpu = self._scales[torch.device("cpu")]
            self._scales[x.device] = (cpu[0].to(x.device), cpu[1].to(x.device))
        factor, shift = self._scales[x.device]
        return x * factor + shift
