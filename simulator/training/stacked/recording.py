"""Recorded steps: the tensor operations of a function, replayed without the Python that led to them.

`torch.func.vmap` and autograd spend more time in bookkeeping than small products take. A step that repeats with the
same shapes is recorded, forward and backward, and from then on only its operations run: the same operations on the
same values, so the results are the same to the bit.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from interlude.simulator.training.operations import OperationWatcher

TensorFunction = Callable[..., tuple[Tensor, ...]]

_USES_BEFORE_RECORDING = 2
_MOST_RECORDINGS = 512
_MOST_COUNTED = 1 << 14


class Recorder:
    """Runs functions of tensors, recording those that repeat.

    Args:
        compiles: whether functions are compiled by TorchInductor instead: faster, but compiling takes seconds per
            function and shape, and results are not the same to the bit.
    """

    def __init__(self, compiles: bool = False) -> None:
        self._compiles = compiles
        self._recordings: OrderedDict[Hashable, TensorFunction] = OrderedDict()
        self._uses: dict[Hashable, int] = {}
        self._unsound: set[Hashable] = set()

    def run(self, key: Hashable, function: TensorFunction, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return `function(*tensors)`.

        Args:
            key: names the function; with equal keys and equal shapes it must execute the same operations.
            function: a pure function of tensors without branches on their values; it changes no tensor in place that it
                did not make.
            tensors: its arguments.
        """
        full_key = (key, tuple([(tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors]))
        recording = self._recordings.get(full_key)
        if recording is not None:
            self._recordings.move_to_end(full_key)
            with torch.no_grad():
                return recording(*tensors)
        if full_key in self._unsound:
            return function(*tensors)
        if self._compiles:
            from torch.fx.experimental.proxy_tensor import make_fx  # noqa: PLC0415 # it loads the compiler

            recording = torch.compile(make_fx(function)(*tensors), dynamic=False)
            result: tuple[Tensor, ...] = recording(*tensors)
        else:
            if len(self._uses) > _MOST_COUNTED:
                self._uses.clear()
            uses = self._uses[full_key] = self._uses.get(full_key, 0) + 1
            if uses < _USES_BEFORE_RECORDING:
                return function(*tensors)
            apart = _apart(tensors)
            tape = _Tape(apart)
            with tape:
                result = function(*apart)
            if not tape.is_sound:
                self._unsound.add(full_key)
                return result
            recording = tape.replay(result)
        self._recordings[full_key] = recording
        if len(self._recordings) > _MOST_RECORDINGS:
            forgotten, _ = self._recordings.popitem(last=False)
            self._uses.pop(forgotten, None)
        return result


class _Tape(OperationWatcher):
    """Records every operation that runs while it is active, as a line of Python.

    Args:
        arguments: the tensors that each replay receives.
    """

    def __init__(self, arguments: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.is_sound = True
        """Whether operations returned only tensors; a number read from a tensor may differ in a replay."""
        self._lines: list[tuple[str, str]] = []
        """Computed tensors and their names."""
        self._objects: dict[str, Any] = {}
        """Objects that lines refer to: operations, and values that are neither arguments nor results of operations."""
        self._names: dict[int, str] = {}
        self._kept: list[Tensor] = []  # while recording, so that no two tensors have the same address
        self._arguments = [self._name(tensor) for tensor in arguments]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and record it."""
        del types
        result = func(*args, **(kwargs or {}))
        if _changes_nothing(func, args, result):
            self._kept.append(result)
            self._names[id(result)] = self._text(args[0])
            return result
        self.is_sound &= _is_tensors(result)
        given = [self._text(value) for value in args]
        given += [f"{key}={self._text(value)}" for key, value in (kwargs or {}).items()]
        operation = self._object(func._op)  # without the Python around it
        self._lines.append((self._target(result), f"{operation}({', '.join(given)})"))
        return result

    def replay(self, results: Sequence[Tensor]) -> TensorFunction:
        """Return a function that executes the recorded operations."""
        body = [f"    {target} = {call}\n" for target, call in self._lines]
        source = f"def replay({', '.join(self._arguments)}):\n{''.join(body)}    return {self._text(tuple(results))}\n"
        namespace = dict(self._objects)
        exec(source, namespace)
        recorded: TensorFunction = namespace["replay"]
        return recorded

    def _name(self, tensor: Tensor) -> str:
        name = self._names[id(tensor)] = f"t{len(self._kept)}"
        self._kept.append(tensor)
        return name

    def _target(self, result: Any) -> str:
        if isinstance(result, Tensor):
            return self._name(result)
        if isinstance(result, list | tuple) and result:
            return f"({''.join(f'{self._target(part)}, ' for part in result)})"
        return "_"

    def _text(self, value: Any) -> str:
        if isinstance(value, Tensor):
            return self._names.get(id(value)) or f"{self._object(value.clone())}.clone()"
        if isinstance(value, list | tuple):
            return f"({''.join(f'{self._text(item)}, ' for item in value)})"
        if value is None or isinstance(value, bool | int):
            return repr(value)
        return self._object(value)

    def _object(self, value: Any) -> str:
        name = f"o{len(self._objects)}"
        self._objects[name] = value
        return name


def _is_tensors(result: Any) -> bool:
    """Return whether a result is a tensor, nothing, or a sequence of those."""
    if isinstance(result, list | tuple):
        return all(map(_is_tensors, result))
    return result is None or isinstance(result, Tensor)


def _apart(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors of which no two are one object: an argument given twice may be two in a replay."""
    seen: set[int] = set()
    apart = []
    for tensor in tensors:
        apart.append(tensor.view_as(tensor) if id(tensor) in seen else tensor)
        seen.add(id(tensor))
    return apart


def _changes_nothing(func: Any, args: Sequence[Any], result: Any) -> bool:
    """Return whether an operation, one of those that vmap and autograd insert, returned its argument unchanged."""
    if not args or not isinstance(args[0], Tensor) or not isinstance(result, Tensor):
        return False
    first = args[0]
    if first.shape != result.shape or first.stride() != result.stride() or first.dtype != result.dtype:
        return False
    aten = torch.ops.aten
    if func is aten.mul.Scalar:
        return bool(args[1] == 1)
    return func in (aten.detach.default, aten.view.default, aten._unsafe_view.default, aten.expand.default)
