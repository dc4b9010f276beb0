"""Trains many clients together: their parameters are rows of one bank, their steps one step.

Rows may start from different versions, have different numbers of steps (the longest first, finished rows dropped) and
windows of different sizes (padded and masked). The objective's pure functions run for all rows at once under
`torch.func.vmap`, ordinary autograd goes backward through them, and one subtraction steps the whole bank. Shapes: G
rows (clients), P parameters, S steps, B batch, W window.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from interlude.models.network import Network
from interlude.models.packed import Packed
from interlude.simulator.arrays import Samples
from interlude.simulator.training.executors.strategy import Strategy
from interlude.simulator.training.objective import Batch, Context, Objective, Proximal
from interlude.simulator.training.stacked.minibatches import MiniBatches, whole_windows
from interlude.simulator.training.stacked.recording import Recorder
from interlude.simulator.training.stacked.rows import Chain, Finished, Row, Stack
from interlude.simulator.training.task import Trained, TrainingSpec, noise_generator, resolve
from interlude.simulator.training.traits import Path, Traits, leaves_of, traits_of, tree_of
from interlude.simulator.training.transfer import to_device

_RECEIVED: Path = ("received",)


class StackedTrainer:
    """Trains chains of tasks together.

    Args:
        network: the network.
        spec: batch size and optimiser.
        seed: the run's seed, for the order of batches.
        train: the training set.
        strategy: how rows run.
    """

    def __init__(self, network: Network, spec: TrainingSpec, seed: int, train: Samples, strategy: Strategy) -> None:
        self._network = network
        self._spec = spec
        self._seed = seed
        self._inputs, self._labels = train
        self._strategy = strategy
        self._device = self._labels.device
        self._recorder = Recorder(strategy.compiles) if strategy.records else None
        self._traits: dict[tuple[Objective, tuple[Path, ...]], Traits] = {}

    def train(self, chains: Sequence[Chain]) -> list[list[Trained]]:
        """Carry out chains of tasks; the first task of a chain starts from parameters that are there.

        Losses are not checked here: one that is not finite is in `Trained.loss`.
        """
        layout = self._network.layout
        rows = [Row(chain, layout.pack(resolve(chain[0].start)).flat) for chain in chains]
        waiting: dict[tuple[Objective, tuple[Path, ...]], list[Row]] = {}
        for row in rows:
            waiting.setdefault(row.kind, []).append(row)
        while waiting:
            kind = next(iter(waiting))
            members = waiting.pop(kind)
            self._run_stint(kind[0], members)
            for row in members:
                if row.advance():
                    waiting.setdefault(row.kind, []).append(row)
        finished = [task for row in rows for task in row.finished]
        with torch.no_grad():
            self._report(finished)
        return [[task.trained(self._network) for task in row.finished] for row in rows]

    def _run_stint(self, objective: Objective, rows: list[Row]) -> None:
        rows.sort(key=lambda row: -row.stint.num_steps)
        bank = _bank([row.flat for row in rows])
        with torch.no_grad():
            stack = self._stack(objective, rows, bank)
        batches = MiniBatches(self._seed, rows, self._spec.batch_size, self._strategy.stacks, self._device)
        momentum = _momentum(rows, bank) if self._spec.optimizer.momentum > 0.0 else None
        spans = self._network.layout.spans(objective.groups(self._network))
        rate = self._rates([row.task.version for row in rows])
        totals = torch.zeros(len(rows), device=self._device)
        for step in range(rows[0].stint.num_steps):
            num_rows, leaves = batches.at(step)
            batch = self._gather(leaves, objective)
            noise = self._noise(stack.traits, rows[:num_rows], step)
            losses, *gradients = self._step(stack, spans, bank[:num_rows], batch, noise)
            with torch.no_grad():
                totals[:num_rows] += losses
                for span, gradient in zip(spans, gradients, strict=True):
                    kept = None if momentum is None else momentum[:num_rows, span]
                    self._descend(bank[:num_rows, span], gradient, kept, rate)
        values = totals.tolist() if self._device.type == "cpu" else totals.unbind()
        for position, row in enumerate(rows):
            row.flat = bank[position]
            row.momentum = None if momentum is None else momentum[position]
            row.losses.append((values[position], row.stint.num_steps))
            row.contexts[objective] = (stack, position)

    def _rates(self, versions: Sequence[int]) -> float | Tensor:
        """Return the learning rate of rows that start from these versions: one for all, or each its own [G, 1]."""
        rates = [self._spec.optimizer.rate_at(version) for version in versions]
        if len(set(rates)) == 1:
            return rates[0]
        return to_device(torch.tensor(rates).unsqueeze(1), self._device)

    def _descend(self, values: Tensor, gradient: Tensor, momentum: Tensor | None, rate: float | Tensor) -> None:
        """Step in place as `optimizer.Sgd` does; momentum starts from zeros, which is the same."""
        optimizer = self._spec.optimizer
        if optimizer.weight_decay > 0.0:
            gradient = gradient + optimizer.weight_decay * values
        if momentum is not None:
            gradient = momentum.mul_(optimizer.momentum).add_(gradient)
        if isinstance(rate, Tensor):
            values.sub_(rate[: len(values)] * gradient)
        else:
            values.sub_(gradient, alpha=rate)

    def _step(
        self,
        stack: Stack,
        spans: tuple[slice, ...],
        bank: Tensor,
        batch: dict[Path, Tensor],
        noise: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:
        """Return the losses [n] and, for every span, the gradients [n, span] of one step of the first n rows."""
        leaves = {path: v if path in stack.shared else v[: len(bank)] for path, v in stack.leaves.items()}
        paths = (*batch, *leaves)
        function = partial(self._losses_and_gradients, stack, spans, paths, len(noise))
        return self._run(("step", stack.objective, paths), function, (bank, *noise, *batch.values(), *leaves.values()))

    def _losses_and_gradients(
        self, stack: Stack, spans: tuple[slice, ...], paths: tuple[Path, ...], num_noise: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        network, layout, objective = self._network, self._network.layout, stack.objective
        plain, mu = (objective.inner, objective.mu) if type(objective) is Proximal else (objective, 0.0)
        bank, noise, values = tensors[0], tensors[1 : 1 + num_noise], tensors[1 + num_noise :]
        runs = [bank[:, span].detach().requires_grad_() for span in spans]
        trained = {
            name: layout.shaped(column, name)
            for span, run in zip(spans, runs, strict=True)
            for name, column in _columns(layout.names_in(span), run, layout.shapes)
        }
        names, dims = tuple(trained), self._dims(stack, paths)

        def loss(row: Tensor, *given: Tensor) -> Tensor:
            parameters = _Over(dict(zip(names, given, strict=False)), Packed(layout, row))
            batch, context = self._batch_and_context(paths, given[len(names) :])
            return plain.loss(network, parameters, batch, context)

        with torch.enable_grad(), self._strategy.autocast(self._device):
            losses = self._lift(loss, (0, *(0 for _ in names), *dims), len(bank))(bank, *trained.values(), *values)
        gradients = torch.autograd.grad(losses.sum(), runs, materialize_grads=True)
        losses = losses.detach()
        if mu > 0.0:  # the proximal term of all rows and parameters at once, without a detour through autograd
            drifts = [bank[:, span] - values[paths.index(_RECEIVED)][..., span] for span in spans]
            losses = losses + sum(0.5 * mu * drift.square().sum(dim=1) for drift in drifts)
            gradients = tuple(g + mu * drift for g, drift in zip(gradients, drifts, strict=True))
        if not stack.traits.modulates:
            return losses, *gradients

        def modulated(row: Tensor, *given: Tensor) -> dict[str, Tensor]:
            own = dict(zip(names, given, strict=False))
            rest = given[len(names) :]
            left = iter(rest[:num_noise])
            batch, context = self._batch_and_context(paths, rest[num_noise:])
            return dict(objective.modulate(network, own, Packed(layout, row), batch, context, lambda like: next(left)))

        by_name = {
            name: layout.shaped(column, name)
            for span, gradient in zip(spans, gradients, strict=True)
            for name, column in _columns(layout.names_in(span), gradient, layout.shapes)
        }
        with torch.no_grad():
            dims = (0, *(0 for _ in names), *(0 for _ in noise), *dims)
            changed = self._lift(modulated, dims, len(bank))(bank, *by_name.values(), *noise, *values)
            joined = [
                torch.cat([layout.flattened(changed[name], name) for name in layout.names_in(span)], dim=1)
                for span in spans
            ]
        return losses, *joined

    def _stack(self, objective: Objective, rows: Sequence[Row], bank: Tensor) -> Stack:
        """Return what the rows look at: the models they received, what was sent along, and what they prepare."""
        broadcast = [leaves_of(row.task.broadcast) for row in rows]
        if rows[0].kind not in self._traits:
            self._traits[rows[0].kind] = traits_of(self._network, objective, rows[0].task.broadcast)
        traits = self._traits[rows[0].kind]
        leaves: dict[Path, Tensor] = {}
        shared: set[Path] = set()
        for path in broadcast[0]:
            self._add(leaves, shared, ("broadcast", *path), [sent[path] for sent in broadcast])
        if traits.reads_received:
            received = [self._network.layout.pack(row.task.received).flat for row in rows]
            self._add(leaves, shared, _RECEIVED, received)
        stack = Stack(objective, traits, leaves, frozenset(shared))
        if traits.prepared or traits.reported:
            multiple = self._spec.batch_size if self._strategy.stacks else 1
            stack.window = self._gather(whole_windows(rows, multiple, self._device), objective)
        if traits.prepared:
            function = partial(self._over_rows, stack, "prepare", traits.prepared)
            # of a copy: what is prepared may look into it, and the bank changes with every step
            prepared = self._values("prepare", stack, bank.clone(), stack.leaves, stack.window, function)
            stack.leaves |= {("prepared", *path): value for path, value in prepared.items()}
        return stack

    def _add(self, leaves: dict[Path, Tensor], shared: set[Path], path: Path, values: Sequence[Tensor]) -> None:
        first = values[0]
        if all(value is first for value in values):
            shared.add(path)
            leaves[path] = to_device(first, self._device)
        else:
            leaves[path] = torch.stack([to_device(value, self._device) for value in values])

    def _report(self, finished: Sequence[Finished]) -> None:
        """Let every objective report, for all rows that were prepared together at once."""
        together: dict[int, tuple[Stack, list[tuple[Finished, int]]]] = {}
        for task in finished:
            for stack, position in task.contexts.values():
                if stack.traits.reported:
                    together.setdefault(id(stack), (stack, []))[1].append((task, position))
        for stack, members in together.values():
            leaves, window = stack.rows([position for _, position in members])
            bank = torch.stack([task.flat for task, _ in members])
            function = partial(self._over_rows, stack, "report", stack.traits.reported)
            reported = self._values("report", stack, bank, leaves, window, function)
            for position, (task, _) in enumerate(members):
                task.report |= tree_of({path: value[position] for path, value in reported.items()})

    def _values(
        self,
        what: str,
        stack: Stack,
        bank: Tensor,
        leaves: dict[Path, Tensor],
        window: dict[Path, Tensor],
        function: Callable[..., tuple[Tensor, ...]],
    ) -> dict[Path, Tensor]:
        """Return what the objective prepares or reports [n, ...] from the parameters [n, P] and the whole window."""
        paths = (*window, *leaves)
        wanted = stack.traits.prepared if what == "prepare" else stack.traits.reported
        tensors = (bank, *window.values(), *leaves.values())
        values = self._run((what, stack.objective, paths), partial(function, paths), tensors)
        return dict(zip(wanted, values, strict=True))

    def _over_rows(
        self, stack: Stack, what: str, wanted: tuple[Path, ...], paths: tuple[Path, ...], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        def of_row(row: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
            window, context = self._batch_and_context(paths, given)
            parameters = Packed(self._network.layout, row)
            values = leaves_of(getattr(stack.objective, what)(self._network, parameters, window, context))
            return tuple(values[path] for path in wanted)

        with torch.no_grad():
            values: tuple[Tensor, ...] = self._lift(of_row, (0, *self._dims(stack, paths)), len(tensors[0]))(*tensors)
        return values

    def _batch_and_context(self, paths: tuple[Path, ...], given: Sequence[Tensor]) -> tuple[Batch, Context]:
        """Return one row's batch and context from its tensors."""
        inputs: dict[str, Tensor] = {}
        one: dict[str, Tensor] = {}
        trees: dict[str, dict[Path, Tensor]] = {"broadcast": {}, "prepared": {}}
        for path, value in zip(paths, given, strict=True):
            if path[0] == "inputs":
                inputs[path[1]] = value
            elif path[0] in trees:
                trees[path[0]][path[1:]] = value
            else:
                one[path[0]] = value
        batch = Batch(inputs, one["labels"], one["positions"], one.get("mask"))
        received = Packed(self._network.layout, one["received"]) if "received" in one else {}
        return batch, Context(received, tree_of(trees["broadcast"]), tree_of(trees["prepared"]))

    def _gather(self, leaves: dict[Path, Tensor], objective: Objective) -> dict[Path, Tensor]:
        """Return the samples at an index [n, B], with the rest of what a batch is."""
        index = leaves.pop(("index",))
        wanted = [m for m in self._network.modalities if m in objective.modalities]
        inputs: dict[Path, Tensor] = {("inputs", m): self._inputs[m][index] for m in wanted}
        return {**inputs, ("labels",): self._labels[index], **leaves}

    def _noise(self, traits: Traits, rows: Sequence[Row], step: int) -> list[Tensor]:
        """Return the normal numbers [n, ...] of a step; each row's are its own, drawn on the CPU."""
        if not traits.noise_shapes:
            return []
        drawn: list[list[Tensor]] = []
        for row in rows:
            generator = noise_generator(self._seed, row.task, row.stint, row.stint.first_step + step)
            drawn.append([torch.randn(shape, generator=generator) for shape in traits.noise_shapes])
        return [to_device(torch.stack(numbers), self._device) for numbers in zip(*drawn, strict=True)]

    def _dims(self, stack: Stack, paths: tuple[Path, ...]) -> tuple[int | None, ...]:
        return tuple(None if path in stack.shared else 0 for path in paths)

    def _lift(self, function: Callable[..., Any], dims: tuple[int | None, ...], num_rows: int) -> Callable[..., Any]:
        """Return a function of one row as a function of stacked rows."""
        return torch.vmap(function, in_dims=dims) if num_rows > 1 else partial(_alone, function, dims)

    def _run(
        self, key: tuple[Any, ...], function: Callable[..., tuple[Tensor, ...]], tensors: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        return function(*tensors) if self._recorder is None else self._recorder.run(key, function, tensors)


def _bank(flats: Sequence[Tensor]) -> Tensor:
    """Return vectors [P] as the rows of a new bank [G, P]."""
    first = flats[0]
    if all(flat is first for flat in flats):
        return first.repeat(len(flats), 1)
    return torch.stack(tuple(flats))


def _momentum(rows: Sequence[Row], bank: Tensor) -> Tensor:
    kept = [row.momentum for row in rows]
    return torch.stack([torch.zeros_like(bank[0]) if momentum is None else momentum for momentum in kept])


def _columns(names: Sequence[str], run: Tensor, shapes: Mapping[str, torch.Size]) -> list[tuple[str, Tensor]]:
    """Return a span's parameters [n, numel]; one split, whose backward pass is one concatenation."""
    return list(zip(names, torch.split(run, [shapes[name].numel() for name in names], dim=1), strict=True))


def _alone(function: Callable[..., Any], dims: tuple[int | None, ...], *tensors: Tensor) -> Any:
    """Run a function of one row on a stack of one row."""
    result = function(*(t if dim is None else t[0] for t, dim in zip(tensors, dims, strict=True)))
    if isinstance(result, Tensor):
        return result.unsqueeze(0)
    if isinstance(result, dict):
        return {name: value.unsqueeze(0) for name, value in result.items()}
    return tuple(value.unsqueeze(0) for value in result)


class _Over(Mapping[str, Tensor]):
    """The trained parameters over those that stay as they are."""

    __slots__ = ("_frozen", "_trained")

    def __init__(self, trained: dict[str, Tensor], frozen: Packed) -> None:
        self._trained = trained
        self._frozen = frozen

    def __getitem__(self, name: str) -> Tensor:
        value = self._trained.get(name)
        return self._frozen[name] if value is None else value

    def __iter__(self) -> Any:
        return iter(self._frozen)

    def __len__(self) -> int:
        return len(self._frozen)
