"""The state of a run as plain data and bytes, and back: for checkpoints.

Trees of tuples, lists, dicts, dataclasses, named tuples, plain values and tensors are restored exactly, to the bit:
with the strides of every tensor, and shared tensors still shared. Nothing is pickled, and reading runs no code chosen
by the
file: a class must be imported already, and is filled without calling it.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from interlude.models.packed import Packed, layout_of
from interlude.simulator.errors import InterludeError

_ALIGNMENT_BYTES = 64
"""PyTorch's alignment of allocations; views keep their offset within it, as some kernels depend on it."""

_DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}


class CannotHoldError(InterludeError):
    """A value that a checkpoint cannot hold."""


def encode(tree: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a tree as data for JSON, and the bytes of its tensors [n] on the CPU by name.

    Raises:
        CannotHoldError: naming the type that cannot be held.
    """
    tensors = _Tensors()
    root = _encode(tree, tensors)
    places, blobs = tensors.stored()
    return {"root": root, "tensors": places}, blobs


def decode(data: Mapping[str, Any], blobs: Mapping[str, Tensor], device: torch.device) -> Any:
    """Return the tree that `encode` was given; tensors that were not on the CPU go to `device`."""
    storages: dict[str, Tensor] = {}
    tensors = []
    for place in data["tensors"]:
        name = place["blob"]
        if name not in storages:
            # a clone is aligned as PyTorch's own tensors; the bytes of a file are not
            storages[name] = blobs[name].clone().to("cpu" if place["is_on_cpu"] else device)
        dtype = _DTYPES[place["dtype"]]
        view = torch.empty(0, dtype=dtype, device=storages[name].device)
        storage = storages[name].untyped_storage()
        tensors.append(view.set_(storage, place["offset_bytes"] // dtype.itemsize, place["shape"], place["strides"]))
    return _decode(data["root"], tensors)


class _Tensors:
    """The tensors of a tree, each once."""

    def __init__(self) -> None:
        self._tensors: list[Tensor] = []
        self._positions: dict[int, int] = {}

    def add(self, tensor: Tensor) -> int:
        """Return the number of a tensor."""
        if id(tensor) not in self._positions:
            self._positions[id(tensor)] = len(self._tensors)
            self._tensors.append(tensor)
        return self._positions[id(tensor)]

    def stored(self) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
        """Return the location of every tensor, and the bytes that some tensor views, each once."""
        by_storage: dict[tuple[torch.device, int], list[int]] = {}
        for number, tensor in enumerate(self._tensors):
            by_storage.setdefault((tensor.device, tensor.untyped_storage().data_ptr()), []).append(number)
        places: dict[int, dict[str, Any]] = {}
        blobs: dict[str, Tensor] = {}
        for numbers in by_storage.values():
            stop = -1
            for number in sorted(numbers, key=lambda number: _extent(self._tensors[number])[0]):
                tensor = self._tensors[number]
                first, last = _extent(tensor)
                aligned = first - first % _ALIGNMENT_BYTES
                if aligned > stop:  # no tensor views the bytes between
                    start, name = aligned, f"bytes.{len(blobs)}"
                stop = max(stop, last)
                blobs[name] = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(
                    tensor.untyped_storage(), start, (stop - start,), (1,)
                )
                places[number] = {
                    "blob": name,
                    "offset_bytes": first - start,
                    "dtype": str(tensor.dtype),
                    "shape": list(tensor.shape),
                    "strides": list(tensor.stride()),
                    "is_on_cpu": tensor.device.type == "cpu",
                }
        return [places[number] for number in range(len(places))], {
            n: blob.to("cpu", copy=True) for n, blob in blobs.items()
        }


def _extent(tensor: Tensor) -> tuple[int, int]:
    """Return the first byte of its storage that a tensor views, and the one after the last."""
    first = int(tensor.storage_offset()) * tensor.itemsize
    if not tensor.numel():
        return first, first
    last = int(sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)))
    return first, first + (last + 1) * tensor.itemsize


def _encode(node: Any, tensors: _Tensors) -> Any:
    kind = type(node)
    if node is None or kind in (bool, int, float, str):
        return node
    if isinstance(node, Tensor) and node.device.type != "meta":
        return {"tensor": tensors.add(node)}
    if kind is Packed:
        shapes = [[name, list(shape)] for name, shape in node.layout.shapes.items()]
        return {"packed": tensors.add(node.flat), "shapes": shapes}
    if kind in (list, tuple):
        return {kind.__name__: [_encode(item, tensors) for item in node]}
    if kind is dict:
        return {"dict": [[_encode(key, tensors), _encode(value, tensors)] for key, value in node.items()]}
    is_named_tuple = issubclass(kind, tuple) and hasattr(kind, "_fields")
    if is_named_tuple or (dataclasses.is_dataclass(node) and not isinstance(node, type)):
        names = kind._fields if is_named_tuple else [field.name for field in dataclasses.fields(node)]
        values = [[name, _encode(getattr(node, name), tensors)] for name in names]
        return {"class": [kind.__module__, kind.__qualname__], "fields": values}
    raise CannotHoldError(
        f"a checkpoint cannot hold a {kind.__module__}.{kind.__qualname__}; tensors, plain values, tuples, lists, "
        "dicts, dataclasses and named tuples can be held"
    )


def _decode(node: Any, tensors: Sequence[Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    if "tensor" in node:
        return tensors[node["tensor"]]
    if "packed" in node:
        flat = tensors[node["packed"]]
        return Packed(layout_of(tuple((name, torch.Size(shape)) for name, shape in node["shapes"]), flat.dtype), flat)
    if "list" in node:
        return [_decode(item, tensors) for item in node["list"]]
    if "tuple" in node:
        return tuple(_decode(item, tensors) for item in node["tuple"])
    if "dict" in node:
        return {_decode(key, tensors): _decode(value, tensors) for key, value in node["dict"]}
    kind = _known_class(*node["class"])
    values = {name: _decode(value, tensors) for name, value in node["fields"]}
    if issubclass(kind, tuple):
        return tuple.__new__(kind, values.values())
    made = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def _known_class(module: str, name: str) -> type:
    """Return a dataclass or named tuple of a module that is imported already."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if isinstance(found, type) and (dataclasses.is_dataclass(found) or hasattr(found, "_fields")):
        return found
    raise CannotHoldError(f"'{module}.{name}' is not a class of this run")
