"""Operations on shapes: what PyTorch's meta device says of each, asked once for the same operation on the same shapes.

FLOPs are those of the formulas of `torch.utils.flop_counter`. Its `FlopCounterMode` counts the same by module, at twice
the host time; and most of the time of an operation on the meta device is Python's.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry


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
    if func._schema.is_mutable or any(one.alias_info is not None for one in func._schema.returns):
        return _called(func, args, kwargs)  # the result shares a tensor that was given
    try:
        shape, flops = _known(func, _described(args), tuple((name, _described(one)) for name, one in kwargs.items()))
    except _UnknownError:
        return _called(func, args, kwargs)
    return _made(shape), flops


def _called(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, int]:
    out = func(*args, **kwargs)
    formula = flop_registry.get(getattr(func, "overloadpacket", None))
    return out, 0 if formula is None else int(formula(*args, **kwargs, out_val=out))


@lru_cache(maxsize=16_384)
def _known(func: Any, args: Any, kwargs: Any) -> tuple[Any, int]:
    """Return the shape of a result, and its FLOPs."""
    out, flops = _called(func, _made(args), {name: _made(one) for name, one in kwargs})
    return _described(out), flops


def _described(value: Any) -> Any:
    """Return a value with shapes in place of tensors, which can be looked up.

    Raises:
        _UnknownError: if it can't.
    """
    if isinstance(value, Tensor):
        if not value.is_meta:
            raise _UnknownError
        return _Shape(tuple(value.shape), value.stride(), value.dtype)
    if isinstance(value, list | tuple):
        return _Typed(type(value), tuple(_described(one) for one in value))
    if value is None or isinstance(value, bool | int | float | str | torch.dtype | torch.device | torch.layout):
        return _Typed(type(value), value)
    raise _UnknownError


def _made(described: Any) -> Any:
    """Return the value of a description, with fresh tensors."""
    if isinstance(described, _Shape):
        return torch.empty_strided(described.size, described.stride, dtype=described.dtype, device="meta")
    if described.kind in {list, tuple}:
        return described.kind(_made(one) for one in described.value)
    return described.value
