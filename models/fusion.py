"""Fusion heads: from the features of the given modalities to class logits.

A missing modality counts as zero features, so it adds nothing to the sum and gets no gradient. Shapes:
B batch, D features, K classes.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


def _part(head: nn.Module, modality: str) -> nn.Module:
    """Return a modality's part; its name may be an attribute's of every module, ``type`` for example."""
    part = head._modules[modality]
    assert part is not None, modality
    return part


class ConcatHead(nn.Module):
    """One linear layer on the concatenated features, W [z_1; ...; z_M] + b, stored as one slice W_m per modality."""

    def __init__(self, modalities: Sequence[str], width: int, num_classes: int) -> None:
        super().__init__()
        for modality in modalities:
            self._modules[modality] = nn.Linear(width, num_classes, bias=False)
        self.bias = nn.Parameter(torch.empty(num_classes))
        self.slice_gain = math.sqrt((width + num_classes) / (len(modalities) * width + num_classes))
        """Xavier's deviation of the joint layer [K, M D], in which a slice starts, by that of a layer [K, D]."""

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the logits [B, K] of the features [B, D] at hand."""
        logits: Tensor = self.bias
        for modality, z in features.items():
            logits = logits + _part(self, modality)(z)
        return logits


class LateSumHead(nn.Module):
    """A classifier per modality, summed: f_1(z_1) + ... + f_M(z_M), each with its own bias."""

    def __init__(self, modalities: Sequence[str], width: int, num_classes: int) -> None:
        super().__init__()
        for modality in modalities:
            self._modules[modality] = nn.Linear(width, num_classes)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the logits [B, K] of the features [B, D] at hand."""
        slices = [_part(self, modality)(z) for modality, z in features.items()]
        return torch.stack(slices).sum(dim=0)


HEADS: dict[str, type[ConcatHead] | type[LateSumHead]] = {"concat": ConcatHead, "late_sum": LateSumHead}
