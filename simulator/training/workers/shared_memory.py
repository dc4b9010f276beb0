"""Memory that several processes see: rows of parameters, and the data set."""

import mmap
import os
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from interlude.models.inputs import Samples

_LARGE_ROW_BYTES = 1 << 20
_LABELS = "_labels"
"""What follows a set's name in the name of its labels."""


def open_block(num_bytes: int) -> int:
    """Return the descriptor of an anonymous block of memory; pages are allocated when they are written."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("interlude")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, num_bytes)
    return descriptor


class Arena:
    """Rows of parameters in shared memory; a row is freed with the last tensor that views it.

    Args:
        descriptor: a block of at least `num_rows` rows, see `Arena.num_bytes`.
        row_size: values in a row.
        dtype: their type.
        num_rows: rows that fit.
    """

    def __init__(self, descriptor: int, row_size: int, dtype: torch.dtype, num_rows: int) -> None:
        self._row_bytes = row_size * dtype.itemsize
        self._stride_bytes = _stride_bytes(self._row_bytes)
        self._map = mmap.mmap(descriptor, self._stride_bytes * num_rows)
        self._dtype = dtype
        self._num_rows = num_rows
        self._free: list[int] = []
        self._num_used = 0
        self._slots: dict[int, int] = {}

    @staticmethod
    def num_bytes(row_size: int, dtype: torch.dtype, num_rows: int) -> int:
        """Return the size of a block for so many rows."""
        return _stride_bytes(row_size * dtype.itemsize) * num_rows

    def new_row(self) -> tuple[int, Tensor] | None:
        """Return a free row [P] and its number; None where all are taken."""
        if self._free:
            slot = self._free.pop()
        elif self._num_used < self._num_rows:
            slot = self._num_used
            self._num_used += 1
        else:
            return None
        buffer = memoryview(self._map)[slot * self._stride_bytes :][: self._row_bytes]
        row = torch.frombuffer(buffer, dtype=self._dtype)
        self._slots[row.data_ptr()] = slot
        weakref.finalize(buffer, self._release, slot, row.data_ptr()).atexit = False
        return slot, row

    def slot_of(self, row: Tensor) -> int | None:
        """Return the number of a row that `new_row` made; None for any other tensor."""
        return self._slots.get(row.data_ptr())

    def row(self, slot: int) -> Tensor:
        """Return a row by its number without keeping it in use, for worker processes."""
        start = slot * self._stride_bytes
        return torch.frombuffer(
            self._map, dtype=self._dtype, offset=start, count=self._row_bytes // self._dtype.itemsize
        )

    def _release(self, slot: int, address: int) -> None:
        del self._slots[address]
        if self._row_bytes >= _LARGE_ROW_BYTES and hasattr(mmap, "MADV_REMOVE"):
            self._map.madvise(mmap.MADV_REMOVE, slot * self._stride_bytes, self._stride_bytes)  # returned to the system
        self._free.append(slot)


def _stride_bytes(row_bytes: int) -> int:
    unit = mmap.PAGESIZE if row_bytes >= _LARGE_ROW_BYTES else 64
    return -(-row_bytes // unit) * unit


@dataclass(frozen=True)
class Place:
    """The location of a tensor in a shared block, or in a file."""

    offset_bytes: int
    shape: torch.Size
    dtype: torch.dtype
    file: str | None = None


class SharedSamples:
    """Sets of samples, copied once into a block that worker processes map.

    Tensors that are mapped from a file stay there.

    Args:
        sets: the training set and those that models are evaluated on, by name.
    """

    def __init__(self, sets: Mapping[str, Samples]) -> None:
        tensors: dict[str, Tensor] = {}
        for name, (inputs, labels) in sets.items():
            tensors |= {f"{name}.{modality}": x for modality, x in inputs.items()}
            tensors[f"{name}{_LABELS}"] = labels
        self.places: dict[str, Place] = {}
        end = 0
        for name, tensor in tensors.items():
            file = tensor.untyped_storage().filename if tensor.is_contiguous() else None
            offset_bytes = end if file is None else int(tensor.storage_offset()) * tensor.itemsize
            self.places[name] = Place(offset_bytes, tensor.shape, tensor.dtype, file)
            end += 0 if file is not None else _stride_bytes(tensor.numel() * tensor.itemsize)
        self.descriptor = open_block(end)
        for name, tensor in looking_at(self.descriptor, self.places).items():
            if self.places[name].file is None:
                tensor.copy_(tensors[name])


def looking_at(descriptor: int, places: Mapping[str, Place]) -> dict[str, Tensor]:
    """Return the tensors of a shared block by name."""
    block = mmap.mmap(descriptor, 0)
    tensors = {}
    for name, place in places.items():
        num_values = place.shape.numel()
        if place.file is None:
            flat = torch.frombuffer(block, dtype=place.dtype, offset=place.offset_bytes, count=num_values)
        else:
            end = place.offset_bytes + num_values * place.dtype.itemsize
            content = torch.from_file(place.file, shared=False, size=end, dtype=torch.uint8)
            flat = content[place.offset_bytes :].view(place.dtype)
        tensors[name] = flat.view(place.shape)
    return tensors


def samples_in(tensors: Mapping[str, Tensor]) -> dict[str, Samples]:
    """Return the sets of samples, by name, among the tensors of a shared block."""
    names = [key.removesuffix(_LABELS) for key in tensors if "." not in key]
    return {name: (_inputs_in(tensors, f"{name}."), tensors[f"{name}{_LABELS}"]) for name in names}


def _inputs_in(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): x for key, x in tensors.items() if key.startswith(prefix)}
