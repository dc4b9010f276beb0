"""Operations on shapes: what each makes of tensors without values, asked once for the same shapes.

PyTorch's meta device answers, but slowly: most of it is Python, which loads PyTorch's compiler besides, two seconds of
every process. So small operations are carried out on zeros instead.

FLOPs are those of the formulas of `torch.utils.flop_counter`. Its `FlopCounterMode` counts the same by module, at twice
the host time.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import zip_longest
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

_FEW_ELEMENTS = 1 << 18
"""Of all of an operation's arguments: zeros take no longer than the meta device."""
_FEW_MADE = 1 << 24
"""Of its result, which may be far larger: an outer product's, or a tensor of a given size."""
_BY_VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape, torch.Tag.nondeterministic_seeded}


class _Shape(NamedTuple):
    """A tensor without values."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class _Typed(NamedTuple):
    """A value with its type: 1, 1.0 and True are equal, but not to an operation."""

    kind: type
    value: Any


class _UnknownError(Exception):
    """An operation that depends on more than shapes."""


def call(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, int]:
    """Return what an operation returns, and its FLOPs.

    Args:
        func: an operation of PyTorch's dispatcher.
        args: its positional arguments, on the meta device.
        kwargs: the others.
    """
    if _is_in_place(func) and args[0].is_meta:
        return args[0], 0
    if func._schema.is_mutable or any(one.alias_info is not None for one in func._schema.returns):
        return _called(func, args, kwargs)  # the result shares a tensor that was given
    try:
        shape, flops = _known(func, _described(args), tuple((name, _described(one)) for name, one in kwargs.items()))
    except _UnknownError:
        return _called(func, args, kwargs)
    return _made(shape), flops


def _is_in_place(func: Any) -> bool:
    """Return whether an operation changes values of its first argument, nothing else of it, and returns that."""
    returned = func._schema.returns
    return func._schema.name.endswith("_") and len(returned) == 1 and torch.Tag.inplace_view not in func.tags


def _called(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, int]:
    out = func(*args, **kwargs)
    formula = flop_registry.get(getattr(func, "overloadpacket", None))
    return out, 0 if formula is None else int(formula(*args, **kwargs, out_val=out))


@lru_cache(maxsize=16_384)
def _known(func: Any, args: Any, kwargs: Any) -> tuple[Any, int]:
    """Return the shape of a result, and its FLOPs."""
    if _takes_zeros(func, args):
        with suppress(Exception):  # an operation may refuse zeros, as the inverse of a matrix does
            return _known_on("cpu", func, args, kwargs)
    return _known_on("meta", func, args, kwargs)


def _known_on(device: str, func: Any, args: Any, kwargs: Any) -> tuple[Any, int]:
    out, flops = _called(func, _made(args, device), {name: _made(one, device) for name, one in kwargs})
    return _described(out, device), flops


def _takes_zeros(func: Any, args: Any) -> bool:
    """Return whether an operation on zeros is short, and its result has the shape that other values would give."""
    shapes = [one for one in _parts(args) if isinstance(one, _Shape)]
    if sum(math.prod(shape.size) for shape in shapes) > _FEW_ELEMENTS or _most_made(args) > _FEW_MADE:
        return False
    if func is torch.ops.aten.index.Tensor:  # the shape of its result is known unless it selects by a mask
        return not any(shape.dtype in (torch.bool, torch.uint8) for shape in shapes[1:])
    return _BY_VALUES.isdisjoint(func.tags)


def _most_made(args: Any) -> int:
    """Return about the most elements a result can have: tensors broadcast, times every whole number that is given."""
    sizes = [one.size[::-1] for one in _parts(args) if isinstance(one, _Shape)]
    whole: list[int] = [abs(one.value) for one in _parts(args) if isinstance(one, _Typed) and one.kind is int]
    broadcast = [max(column) for column in zip_longest(*sizes, fillvalue=1)]
    return math.prod(broadcast) * math.prod(max(1, number) for number in whole)


def _parts(described: Any) -> Iterator[_Shape | _Typed]:
    """Yield the tensors and plain values in a description."""
    if isinstance(described, _Typed) and described.kind in {list, tuple}:
        for one in described.value:
            yield from _parts(one)
    else:
        yield described


def _described(value: Any, device: str = "meta") -> Any:
    """Return a value with shapes in place of tensors, which can be looked up.

    Raises:
        _UnknownError: if it can't.
    """
    if isinstance(value, Tensor):
        if value.device.type != device:
            raise _UnknownError
        return _Shape(tuple(value.shape), value.stride(), value.dtype)
    if isinstance(value, list | tuple):
        return _Typed(type(value), tuple(_described(one, device) for one in value))
    if value is None or isinstance(
        value, bool | int | float | str | torch.dtype | torch.device | torch.layout | torch.memory_format
    ):
        return _Typed(type(value), value)
    raise _UnknownError


def _made(described: Any, device: str = "meta") -> Any:
    """Return the value of a description, with fresh tensors."""
    if isinstance(described, _Shape):
        made = torch.empty_strided(described.size, described.stride, dtype=described.dtype, device=device)
        return made if device == "meta" else made.zero_()
    if described.kind in {list, tuple}:
        return described.kind(_made(one, device) for one in described.value)
    return torch.device(device) if described.kind is torch.device else described.value
