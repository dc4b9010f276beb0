"""A pretend accelerator: tensors on devices of their own, ``pretend:0`` and ``pretend:1``, computed on the CPU.

As on a GPU, tensors of two devices cannot be used together, and what crosses between host and device is seen: every
crossing is counted with the line of the product that caused it. The kernels are the CPU's, so results are the CPU's.
PyTorch keeps such a device for the life of the process, so `install` belongs into a process of its own.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from accelerators import place
from torch import Tensor
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "pretend"
NUM_DEVICES = 2

_CPU = torch.device("cpu")

aten = torch.ops.aten
_WAITS = {
    aten.equal.default,
    aten.is_nonzero.default,
    aten.masked_select.default,
    aten.nonzero.default,
    aten._unique2.default,
}
"""Operations whose result's shape, or the host's next step, depends on values."""
_TAKES_AN_INDEX_OF_THE_HOST = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}


class Crossing(NamedTuple):
    """Values that crossed between host and device."""

    kind: Literal["sent", "sent and waited", "read"]
    """To the device without and with waiting for it, or back to the host, which always waits."""
    where: str
    """The innermost function of the product, ``file.py:function``."""


class Crossings:
    """Counts what crosses while it listens."""

    current: ClassVar["Crossings | None"] = None

    def __init__(self) -> None:
        self.counted: Counter[Crossing] = Counter()

    @contextmanager
    def listening(self) -> Iterator["Crossings"]:
        """Count what crosses."""
        Crossings.current = self
        try:
            yield self
        finally:
            Crossings.current = None

    def of(self, *kinds: str) -> Counter[str]:
        """Return how often values crossed in some ways, by place."""
        found: Counter[str] = Counter()
        for crossing, times in self.counted.items():
            if crossing.kind in kinds:
                found[crossing.where] += times
        return found


class PretendTensor(torch.Tensor):
    """A tensor of a pretend device; its values are a CPU tensor's.

    Args:
        inner: the values.
        device: where they pretend to be.
    """

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor, device: torch.device) -> "PretendTensor":
        """Return a tensor that looks like its values, on a device."""
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=device,
            requires_grad=False,
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation."""
        del types
        return _dispatch(func, args, kwargs or {})

    def __repr__(self, **kwargs: Any) -> str:  # type: ignore[override]
        """Return the values, which a test that fails shows."""
        return f"{self.inner!r} on {self.device}"

    def tolist(self) -> Any:
        """Return the values, read back."""
        _count("read")
        return self.inner.tolist()

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse, as a GPU's tensors do."""
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")

    def untyped_storage(self) -> torch.UntypedStorage:
        """Return the storage of the values."""
        return self.inner.untyped_storage()

    def set_(self, *source: Any) -> "PretendTensor":  # type: ignore[override]
        """Return a tensor of this device that looks at a storage; this one is not changed."""
        return PretendTensor(self.inner.detach().set_(*source), self.device)


class PretendModule(_DummyBackendModule):
    """What PyTorch calls ``torch.pretend``."""

    def device_count(self) -> int:
        """Return the number of devices."""
        return NUM_DEVICES

    def synchronize(self, device: Any = None) -> None:
        """Do nothing: every operation is done when it returns."""


_libraries: list[torch.library.Library] = []


def install() -> None:
    """Make the devices known to PyTorch, for the life of this process."""
    if _libraries:
        return
    _setup_privateuseone_for_python_backend(NAME, PretendModule())
    general, some = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    general.fallback(lambda func, *args, **kwargs: _dispatch(func, args, kwargs), "PrivateUse1")
    some.impl("copy_", lambda *args: _dispatch(aten.copy_.default, args, {}), "PrivateUse1")  # in `torch.tensor`
    some.impl("_pin_memory", lambda values, device=None: values.clone(), "CPU")
    some.impl("is_pinned", lambda values, device=None: False, "CPU")
    _libraries.extend((general, some))


def _dispatch(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run an operation on the values, and put the results where a GPU's would be."""
    if func in (aten._to_copy.default, aten.copy_.default):
        return _copied(func, args, kwargs)
    if func is aten._local_scalar_dense.default or func in _WAITS:
        _count("read")
    tensors: list[Tensor] = []
    inner_args, inner_kwargs = _inner(args, tensors), {key: _inner(value, tensors) for key, value in kwargs.items()}
    wanted = kwargs.get("device")
    if wanted is not None:
        device = _indexed(torch.device(wanted))
        inner_kwargs["device"] = _CPU
    else:
        device = next((tensor.device for tensor in tensors if tensor.device.type == NAME), _CPU)
    _check(func, args, tensors, device)
    result = func(*inner_args, **inner_kwargs)
    ours = {id(tensor.inner): tensor for tensor in tensors if isinstance(tensor, PretendTensor)}
    return result if device.type == "cpu" else _outer(result, device, ours)


def _inner(value: Any, found: list[Tensor]) -> Any:
    """Return a value with the tensors in it replaced by their values, and note the tensors."""
    if isinstance(value, Tensor):
        found.append(value)
        return value.inner if isinstance(value, PretendTensor) else value
    if isinstance(value, list | tuple):
        return [_inner(item, found) for item in value]
    return value


def _outer(value: Any, device: torch.device, known: Mapping[int, Tensor]) -> Any:
    """Return a result with its tensors on a device: those that were changed in place are the ones given."""
    if isinstance(value, Tensor):
        return known.get(id(value)) if id(value) in known else PretendTensor(value, device)
    if isinstance(value, list | tuple):
        return type(value)([_outer(item, device, known) for item in value])
    return value


def _indexed(device: torch.device) -> torch.device:
    """Return a device with its number, the first one's where none is given."""
    return torch.device(NAME, 0) if device.type == NAME and device.index is None else device


def _copied(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Copy values within a device or between two."""
    if func is aten._to_copy.default:
        (source,) = args
        target = _indexed(torch.device(kwargs["device"])) if kwargs.get("device") is not None else source.device
        _count_copy(source.device, target, is_waited=not kwargs.get("non_blocking"))
        made = func(_values(source), **{**kwargs, "device": _CPU if target.type == NAME else target})
        return PretendTensor(made, target) if target.type == NAME else made
    target, source = args[:2]
    is_waited = not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
    _count_copy(source.device, target.device, is_waited=is_waited)
    _values(target).copy_(_values(source))
    return target


def _check(func: Any, args: Sequence[Any], tensors: Sequence[Tensor], device: torch.device) -> None:
    """Refuse tensors of two devices, as a GPU does, but for single numbers and indices of the host."""
    others = [tensor for tensor in tensors if tensor.device != device]
    if func in _TAKES_AN_INDEX_OF_THE_HOST and args[0].device == device:
        of_host = [index for index in args[1] if index is not None and index.device.type == "cpu"]
        for _ in of_host:
            _count("sent and waited")
        known = {id(index) for index in of_host}
        others = [tensor for tensor in others if id(tensor) not in known and tensor.dim()]
        if any(index.dtype == torch.bool for index in args[1] if index is not None):
            _count("read")
    elif torch.Tag.pointwise in func.tags:  # single numbers of the host travel with the call
        changed = args[0] if func._schema.is_mutable else None
        others = [tensor for tensor in others if tensor.dim() or tensor.device.type != "cpu" or tensor is changed]
    if others:
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, but found {device} and cpu")


def _values(tensor: Tensor) -> Tensor:
    return tensor.inner if isinstance(tensor, PretendTensor) else tensor


def _count_copy(source: torch.device, target: torch.device, *, is_waited: bool) -> None:
    if source == target or target.type == "meta":
        return
    if target.type == "cpu":
        _count("read")
    else:
        _count("sent and waited" if is_waited else "sent")


def _count(kind: Literal["sent", "sent and waited", "read"]) -> None:
    if Crossings.current is not None:
        Crossings.current.counted[Crossing(kind, place())] += 1
