"""Recorded steps: the tensor operations of a function, replayed without the Python that led to them.

`torch.func.vmap` and autograd spend more time in bookkeeping than small products take. A step that is run often with
the same shapes is traced once, forward and backward, and from then on only its operations run: the same operations on
the same values, so the results are the same to the bit.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

TensorFunction = Callable[..., tuple[Tensor, ...]]

_USES_BEFORE_RECORDING = 100
"""Tracing costs as much as some hundred plain steps of a small network."""
_MOST_RECORDINGS = 128


class Recorder:
    """Runs functions of tensors, recording those that are run often.

    Args:
        compiles: whether everything is recorded and compiled by TorchInductor: faster still, but seconds per recording,
            and not the same to the bit.
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
        full_key = (key, tuple([(tensor.shape, tensor.stride()) for tensor in tensors]))
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
        module = make_fx(function)(*tensors)
        module.graph.eliminate_dead_code()
        if self._compiles:
            module.recompile()
            compiled: TensorFunction = torch.compile(module, dynamic=False)
            return compiled
        return _replay(module)


def _replay(module: fx.GraphModule) -> TensorFunction:
    """Return a function that calls a graph's operations one after the other, without those that change nothing."""
    named: dict[str, Any] = {}
    stands_for: dict[fx.Node, fx.Node] = {}
    lines: list[str] = []
    arguments: list[str] = []

    def text(value: Any) -> str:
        if isinstance(value, fx.Node):
            return stands_for.get(value, value).name
        if isinstance(value, list | tuple):
            return f"({''.join(f'{text(item)}, ' for item in value)})"
        if value is None or isinstance(value, bool | int):
            return repr(value)
        named[name := f"constant_{len(named)}"] = value
        return name

    last_use = {used: node for node in module.graph.nodes for used in node.all_input_nodes}
    for node in module.graph.nodes:
        if node.op == "placeholder":
            arguments.append(node.name)
        elif node.op == "get_attr":
            named[node.name] = getattr(module, node.target)
        elif node.op == "output":
            lines.append(f"return {text(node.args[0])}")
        elif (same := _same(node)) is not None:
            stands_for[node] = stands_for.get(same, same)
        else:
            given = [text(value) for value in node.args]
            given += [f"{key}={text(value)}" for key, value in node.kwargs.items()]
            named[f"do_{node.name}"] = getattr(node.target, "_op", node.target)
            lines.append(f"{node.name} = do_{node.name}({', '.join(given)})")
            shared = set(stands_for.values())
            over = [u.name for u in node.all_input_nodes if last_use[u] is node and u.op == "call_function"]
            lines += [f"del {name}" for name in over if name not in {n.name for n in shared | set(stands_for)}]
    exec(f"def replay({', '.join(arguments)}):\n" + "".join(f"    {line}\n" for line in lines), named)
    replay: TensorFunction = named["replay"]
    return replay


def _same(node: fx.Node) -> fx.Node | None:
    """Return the input of an operation that returns its input as it is; None for all others."""
    aten = torch.ops.aten
    first = node.args[0] if node.args else None
    if not isinstance(first, fx.Node) or "val" not in first.meta or "val" not in node.meta:
        return None
    before, after = first.meta["val"], node.meta["val"]
    if node.target is aten.detach.default:
        return first
    if node.target in (aten.view.default, aten.expand.default, aten._unsafe_view.default):
        return first if before.shape == after.shape and before.stride() == after.stride() else None
    if node.target is aten.mul.Scalar and node.args[1] == 1 and before.dtype == after.dtype:
        return first
    return None
