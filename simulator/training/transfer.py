"""Copies between the host and the training device: few of them, and to the device none that blocks the host."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Key = TypeVar("Key")

_ALIGNMENT_BYTES = 64
"""PyTorch's alignment of allocations, which every tensor of a common copy keeps."""


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Return values on a device; a copy from the host to an accelerator runs asynchronously."""
    if device.type == "cpu" or values.device.type != "cpu":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def all_to_device(groups: Sequence[Mapping[Key, Tensor]], device: torch.device) -> list[dict[Key, Tensor]]:
    """Return named tensors on a device; those of the host are sent there in one copy.

    Args:
        groups: mappings of tensors, some of which may be on the device already.
        device: where they are used.
    """
    at_host = [tensor for group in groups for tensor in group.values() if tensor.device.type == "cpu"]
    if device.type == "cpu" or not at_host:
        return [dict(group) for group in groups]
    starts, end = [], 0
    for tensor in at_host:
        starts.append(end)
        end += -(-tensor.nbytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
    packed = torch.empty(end, dtype=torch.uint8)
    for tensor, start in zip(at_host, starts, strict=True):
        _part(packed, start, tensor).copy_(tensor)
    sent = to_device(packed, device)
    parts = iter([_part(sent, start, tensor) for tensor, start in zip(at_host, starts, strict=True)])
    return [{k: next(parts) if t.device.type == "cpu" else t for k, t in group.items()} for group in groups]


def numbers(values: Iterable[Tensor]) -> list[float]:
    """Return 0-d tensors of one device as numbers, which waits for the device once."""
    tensors = list(values)
    read: list[float] = torch.stack(tensors).tolist() if tensors else []
    return read


def _part(packed: Tensor, start: int, like: Tensor) -> Tensor:
    """Return the bytes from a start on as a tensor of the type and shape of another: a view."""
    return packed[start : start + like.nbytes].view(like.dtype).view(like.shape)
