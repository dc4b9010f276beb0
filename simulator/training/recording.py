"""Recorded steps: the tensor operations of a function, replayed without the Python that led to them.

`torch.func.vmap` and autograd spend more time in bookkeeping than small products take. A step that is run often with
the same shapes is traced once, forward and backward, and from then on only its operations run: the same operations on
the same values, so the results are the same to the bit.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

TensorFunction = Callable[..., tuple[Tensor, ...]]

_USES_BEFORE_RECORDING = 100
"""Tracing costs as much as some hundred plain steps of a small network."""
_MOST_RECORDINGS = 128


class Recorder:
    """Runs functions of tensors, recording those that are run often.

    Args:
        compiles: whether a recording is compiled by TorchInductor: faster still, but seconds per recording, and not the
            same to the bit.
    """

    def __init__(self, compiles: bool = False) -> None:
        self._compiles = compiles
        self._recordings: OrderedDict[Hashable, TensorFunction] = OrderedDict()
        self._uses: dict[Hashable, int] = {}

    def run(self, key: Hashable, function: TensorFunction, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return `function(*tensors)`.

        Args:
            key: names the function; with equal keys and equal shapes it must carry out the same operations.
            function: a pure function of tensors without branches on their values.
            tensors: its arguments.
        """
        full_key = (key, tuple(_signature(tensor) for tensor in tensors))
        recording = self._recordings.get(full_key)
        if recording is None:
            uses = self._uses[full_key] = self._uses.get(full_key, 0) + 1
            if uses <= _USES_BEFORE_RECORDING and not self._compiles:
                return function(*tensors)
            recording = self._recordings[full_key] = self._record(function, tensors)
            if len(self._recordings) > _MOST_RECORDINGS:
                forgotten, _ = self._recordings.popitem(last=False)
                self._uses.pop(forgotten, None)
        self._recordings.move_to_end(full_key)
        with torch.no_grad():
            return recording(*tensors)

    def _record(self, function: TensorFunction, tensors: Sequence[Tensor]) -> TensorFunction:
        graph = make_fx(function)(*tensors)
        graph.graph.eliminate_dead_code()
        graph.recompile()
        if self._compiles:
            compiled: TensorFunction = torch.compile(graph, dynamic=False)
            return compiled
        replay: TensorFunction = graph.forward
        return replay


def _signature(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype
