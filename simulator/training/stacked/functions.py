"""The functions of an objective, each a function of one client, run for all rows of a stack at once.

`torch.func.vmap` lifts them over the rows, ordinary autograd differentiates them, and repeated steps are recorded.
Shapes: n rows, P parameters, B batch, W window; a span is a run of neighbouring parameters.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from interlude.models.network import Network
from interlude.models.packed import Layout, Packed
from interlude.simulator.training.executors.strategy import Strategy
from interlude.simulator.training.objective import Batch, Context
from interlude.simulator.training.stacked.recording import Recorder, TensorFunction
from interlude.simulator.training.stacked.rows import Leaves, Path, Stack
from interlude.simulator.training.values import Named

Key = TypeVar("Key", str, Named)


class StackedFunctions:
    """Runs losses with their gradients, preparations and reports.

    Args:
        network: the network.
        strategy: precision, and whether steps are recorded.
        device: where it runs.
    """

    def __init__(self, network: Network, strategy: Strategy, device: torch.device) -> None:
        self._network = network
        self._strategy = strategy
        self._device = device
        self._recorder = Recorder(strategy.compiles) if strategy.records else None

    def losses_and_gradients(
        self, stack: Stack, spans: tuple[slice, ...], bank: Tensor, batch: Leaves, noise: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Return the losses [n], the gradients [n, span] of every span, and what is carried on [n, ...].

        All are of one step of the first n rows.

        Args:
            stack: the rows' inputs.
            spans: the columns that are trained.
            bank: [n, P] parameters.
            batch: the samples [n, B, ...].
            noise: the normal numbers [n, ...] of the step, in the order in which they are drawn.
        """
        leaves = {path: v if path in stack.shared else v[: len(bank)] for path, v in stack.leaves.items()}
        paths = (*batch, *leaves)
        function = partial(self._losses_and_gradients, stack, spans, paths, len(noise))
        return self._run(("step", stack.objective, paths), function, (bank, *noise, *batch.values(), *leaves.values()))

    def begin(self, stack: Stack, bank: Tensor) -> dict[str, Tensor]:
        """Return what the objective replaces [n, *shape] of the parameters [n, P], from the window, by name."""
        return self._values("begin", stack.profile.begun, stack, bank, stack.leaves, stack.window)

    def prepare(self, stack: Stack, bank: Tensor) -> dict[Named, Tensor]:
        """Return what the objective prepares [n, ...] from the parameters [n, P] and the window."""
        return self._values("prepare", stack.profile.prepared, stack, bank, stack.leaves, stack.window)

    def report(self, stack: Stack, positions: Sequence[int], bank: Tensor) -> dict[Named, Tensor]:
        """Return what the objective reports [n, ...] of the rows at some positions, whose parameters are [n, P]."""
        leaves, window = stack.rows(positions)
        return self._values("report", stack.profile.reported, stack, bank, leaves, window)

    def _losses_and_gradients(
        self, stack: Stack, spans: tuple[slice, ...], paths: tuple[Path, ...], num_noise: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        network, layout = self._network, self._network.layout
        bank, noise, values = tensors[0], tensors[1 : 1 + num_noise], tensors[1 + num_noise :]
        runs = [bank[:, span].detach().requires_grad_() for span in spans]
        trained = _by_name(layout, spans, runs)
        names = tuple(trained)

        def loss(row: Tensor, *given: Tensor) -> Tensor:
            parameters = _Over(dict(zip(names, given, strict=False)), Packed(layout, row))
            batch, context = _batch_and_context(layout, paths, given[len(names) :])
            return stack.objective.loss(network, parameters, batch, context)

        dims = (0, *(0 for _ in names), *stack.dims(paths))
        with torch.enable_grad(), self._strategy.autocast(self._device):
            losses = _lifted(loss, dims, len(bank))(bank, *trained.values(), *values)
        gradients = torch.autograd.grad(losses.sum(), runs, materialize_grads=True)
        losses = losses.detach()
        by_name = _by_name(layout, spans, gradients)
        carried = self._carried(stack, paths, bank, by_name, values) if stack.profile.carried else ()
        if stack.profile.modulates:
            changed = self._modulated(stack, paths, bank, by_name, noise, values)
            gradients = tuple(
                torch.cat([layout.flattened(changed[name], name) for name in layout.names_in(span)], dim=1)
                for span in spans
            )
        return losses, *gradients, *carried

    def _carried(
        self,
        stack: Stack,
        paths: tuple[Path, ...],
        bank: Tensor,
        gradients: Mapping[str, Tensor],
        values: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:
        """Return the prepared values [n, ...] that change with this step."""
        layout, names = self._network.layout, tuple(gradients)

        def of_row(row: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
            own = dict(zip(names, given, strict=False))
            batch, context = _batch_and_context(layout, paths, given[len(names) :])
            carried = stack.objective.carry(self._network, own, Packed(layout, row), batch, context)
            return tuple(carried[key] for key in stack.profile.carried)

        dims = (0, *(0 for _ in names), *stack.dims(paths))
        with torch.no_grad():
            carried: tuple[Tensor, ...] = _lifted(of_row, dims, len(bank))(bank, *gradients.values(), *values)
        return carried

    def _modulated(
        self,
        stack: Stack,
        paths: tuple[Path, ...],
        bank: Tensor,
        gradients: Mapping[str, Tensor],
        noise: Sequence[Tensor],
        values: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """Return the gradients [n, *shape] to step along."""
        layout, names = self._network.layout, tuple(gradients)

        def of_row(row: Tensor, *given: Tensor) -> dict[str, Tensor]:
            own, rest = dict(zip(names, given, strict=False)), given[len(names) :]
            drawn = iter(rest[: len(noise)])
            batch, context = _batch_and_context(layout, paths, rest[len(noise) :])
            parameters = Packed(layout, row)
            modulate = stack.objective.modulate
            return dict(modulate(self._network, own, parameters, batch, context, lambda like: next(drawn)))

        dims = (0, *(0 for _ in names), *(0 for _ in noise), *stack.dims(paths))
        with torch.no_grad():
            modulated: dict[str, Tensor] = _lifted(of_row, dims, len(bank))(bank, *gradients.values(), *noise, *values)
        return modulated

    def _values(
        self,
        what: Literal["begin", "prepare", "report"],
        wanted: tuple[Key, ...],
        stack: Stack,
        bank: Tensor,
        leaves: Leaves,
        window: Leaves,
    ) -> dict[Key, Tensor]:
        paths = (*window, *leaves)
        function = partial(self._over_rows, stack, what, wanted, paths)
        values = self._run((what, stack.objective, paths), function, (bank, *window.values(), *leaves.values()))
        return dict(zip(wanted, values, strict=True))

    def _over_rows(
        self, stack: Stack, what: str, wanted: tuple[Key, ...], paths: tuple[Path, ...], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        def of_row(row: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
            layout = self._network.layout
            window, context = _batch_and_context(layout, paths, given)
            values: Mapping[Key, Tensor] = getattr(stack.objective, what)(
                self._network, Packed(layout, row), window, context
            )
            return tuple(values[key] for key in wanted)

        with torch.no_grad():
            values: tuple[Tensor, ...] = _lifted(of_row, (0, *stack.dims(paths)), len(tensors[0]))(*tensors)
        return values

    def _run(self, key: tuple[Any, ...], function: TensorFunction, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return function(*tensors) if self._recorder is None else self._recorder.run(key, function, tensors)


def _batch_and_context(layout: Layout, paths: tuple[Path, ...], given: Sequence[Tensor]) -> tuple[Batch, Context]:
    """Return one row's batch and context from its tensors."""
    inputs: dict[str, Tensor] = {}
    one: dict[str, Tensor] = {}
    values: dict[str, dict[Named, Tensor]] = {"broadcast": {}, "prepared": {}}
    for path, value in zip(paths, given, strict=True):
        if path[0] == "inputs":
            inputs[path[1]] = value
        elif path[0] in values:
            values[path[0]][Named(*path[1:])] = value
        else:
            one[path[0]] = value
    batch = Batch(inputs, one["labels"], one["positions"], one.get("mask"))
    received = Packed(layout, one["received"]) if "received" in one else {}
    return batch, Context(received, **values)


def _by_name(layout: Layout, spans: Sequence[slice], columns: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the parameters [n, *shape] in spans [n, span]: one split each; backward, one concatenation."""
    by_name: dict[str, Tensor] = {}
    for span, run in zip(spans, columns, strict=True):
        names = layout.names_in(span)
        parts = torch.split(run, [layout.shapes[name].numel() for name in names], dim=1)
        by_name |= {name: layout.shaped(part, name) for name, part in zip(names, parts, strict=True)}
    return by_name


def _lifted(function: Callable[..., Any], dims: tuple[int | None, ...], num_rows: int) -> Callable[..., Any]:
    """Return a function of one row as a function of stacked rows."""
    return torch.vmap(function, in_dims=dims) if num_rows > 1 else partial(_alone, function, dims)


def _alone(function: Callable[..., Any], dims: tuple[int | None, ...], *tensors: Tensor) -> Any:
    """Run a function of one row on a stack of one row."""
    result = function(*(t if dim is None else t[0] for t, dim in zip(tensors, dims, strict=True)))
    if isinstance(result, Tensor):
        return result.unsqueeze(0)
    if isinstance(result, dict):
        return {name: value.unsqueeze(0) for name, value in result.items()}
    return tuple(value.unsqueeze(0) for value in result)


class _Over(Mapping[str, Tensor]):
    """The trained parameters overlaid on the untrained ones."""

    __slots__ = ("_frozen", "_trained")

    def __init__(self, trained: dict[str, Tensor], frozen: Packed) -> None:
        self._trained = trained
        self._frozen = frozen

    def __getitem__(self, name: str) -> Tensor:
        value = self._trained.get(name)
        return self._frozen[name] if value is None else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._frozen)

    def __len__(self) -> int:
        return len(self._frozen)
