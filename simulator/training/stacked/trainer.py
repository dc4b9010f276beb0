"""Trains many clients together: their parameters are rows of one bank, their steps one step.

Rows may start from different versions, have different numbers of steps (the longest first, finished rows dropped) and
windows of different sizes (padded and masked). One subtraction steps the whole bank. Shapes: G rows (clients), n of
them that still take steps, P parameters, B batch, W window.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from interlude.models.inputs import Samples, taken
from interlude.models.network import Network
from interlude.simulator.training.batches import BatchOrders
from interlude.simulator.training.executors.strategy import Strategy
from interlude.simulator.training.objective import Objective
from interlude.simulator.training.profile.dry_run import Profile
from interlude.simulator.training.spec import TrainingSpec
from interlude.simulator.training.stacked.descent import StackedSgd, rate_of
from interlude.simulator.training.stacked.functions import StackedFunctions
from interlude.simulator.training.stacked.minibatches import drawn_batches, whole_windows
from interlude.simulator.training.stacked.rows import Chain, Finished, Kind, Leaves, Path, Row, Stack
from interlude.simulator.training.task import Trained, noise_generator, resolve
from interlude.simulator.training.transfer import all_to_device, to_device

_RECEIVED: Path = ("received",)
_RATE: Path = ("rate",)
_PROFILED_SAMPLES = 2


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
        self._orders = BatchOrders(seed, spec.batch_size)
        self._inputs, self._labels = train
        self._strategy = strategy
        self._device = self._labels.device
        self._functions = StackedFunctions(network, strategy, self._device)
        self._profiles: dict[Kind, Profile] = {}

    def train(self, chains: Sequence[Chain]) -> list[list[Trained]]:
        """Train chains of tasks; the first task of a chain starts from known parameters.

        Losses are not checked here: `Trained.loss` may be non-finite.
        """
        layout = self._network.layout
        rows = [Row(chain, layout.pack(resolve(chain[0].start)).flat) for chain in chains]
        waiting: dict[Kind, list[Row]] = {}
        for row in rows:
            waiting.setdefault(row.kind, []).append(row)
        while waiting:
            kind = next(iter(waiting))
            members = waiting.pop(kind)
            self._run_steps(kind, members)
            for row in members:
                if row.advance():
                    waiting.setdefault(row.kind, []).append(row)
        finished = [task for row in rows for task in row.finished]
        with torch.no_grad():
            self._report(finished)
        return [[task.trained(self._network) for task in row.finished] for row in rows]

    def _run_steps(self, kind: Kind, rows: list[Row]) -> None:
        objective = kind.objective
        rows.sort(key=lambda row: -row.steps.num_steps)
        bank = _bank([row.flat for row in rows])
        profile, pads = self._profile(kind, rows), self._strategy.stacks
        batches = drawn_batches(self._orders, rows, pads)
        window = whole_windows(rows, self._spec.batch_size if pads else 1) if profile.needs_window else {}
        broadcast, shared = self._broadcast(rows)
        rate = rate_of(self._spec.optimizer, rows)
        at_host: list[Leaves] = [batches.leaves, window, broadcast, {_RATE: rate} if isinstance(rate, Tensor) else {}]
        of_batches, window, broadcast, rates = all_to_device(at_host, self._device)
        batches = replace(batches, leaves=of_batches)
        with torch.no_grad():
            stack = self._stack(kind, rows, bank, window, broadcast, shared)
        descent = StackedSgd(self._spec.optimizer, rows, bank, stack.received, rates.get(_RATE, rate))
        spans = self._network.layout.spans_of(objective.trained(self._network))
        totals = torch.zeros(len(rows), device=self._device)
        for step in range(rows[0].steps.num_steps):
            num_rows, leaves = batches.at(step)
            batch = self._gather(leaves, objective)
            noise = self._noise(stack.profile, rows[:num_rows], step)
            losses, *rest = self._functions.losses_and_gradients(stack, spans, bank[:num_rows], batch, noise)
            totals[:num_rows] += losses
            descent.step(num_rows, spans, rest[: len(spans)])
            stack.carry(rest[len(spans) :])
        lost = totals.tolist() if self._device.type == "cpu" else totals.unbind()
        for position, row in enumerate(rows):
            row.flat = bank[position]
            row.momentum = None if descent.momentum is None else descent.momentum[position]
            row.losses.append((lost[position], row.steps.num_steps))
            row.contexts[objective] = (stack, position)

    def _profile(self, kind: Kind, rows: Sequence[Row]) -> Profile:
        """Return the dry run of what rows do."""
        if kind not in self._profiles:
            broadcast = rows[0].task.broadcast
            self._profiles[kind] = Profile(self._network, kind.objective, _PROFILED_SAMPLES, broadcast)
        return self._profiles[kind]

    def _broadcast(self, rows: Sequence[Row]) -> tuple[Leaves, frozenset[Path]]:
        """Return the values that the server sent with the model, as it holds them, and which are one for all rows."""
        leaves: Leaves = {}
        shared: set[Path] = set()
        for key in rows[0].task.broadcast:
            leaves["broadcast", *key], is_shared = _joined([row.task.broadcast[key] for row in rows], self._device)
            shared |= {("broadcast", *key)} if is_shared else set()
        return leaves, frozenset(shared)

    def _stack(
        self, kind: Kind, rows: Sequence[Row], bank: Tensor, window: Leaves, broadcast: Leaves, shared: frozenset[Path]
    ) -> Stack:
        """Return the rows' inputs: the models they received, the broadcast, and the prepared values."""
        objective, profile = kind.objective, self._profile(kind, rows)
        leaves = dict(broadcast)
        received: Tensor | None = None
        if profile.reads_received or kind.proximal > 0.0:
            flats = [self._network.layout.pack(row.task.latest).flat for row in rows]
            received, is_shared = _joined(flats, self._device)
            if profile.reads_received:
                leaves[_RECEIVED] = received
                shared |= {_RECEIVED} if is_shared else set()
        stack = Stack(objective, profile, leaves, shared, received)
        if profile.needs_window:
            stack.window = self._gather(window, objective)
        if profile.begun:
            for name, value in self._functions.begin(stack, bank.clone()).items():
                bank[:, self._network.layout.columns[name]] = self._network.layout.flattened(value, name)
        if profile.prepared:
            # of a copy: prepared values may be views of it, and the bank changes with every step
            prepared = self._functions.prepare(stack, bank.clone())
            stack.leaves |= {("prepared", *key): value for key, value in prepared.items()}
        return stack

    def _report(self, finished: Sequence[Finished]) -> None:
        """Compute every objective's report, for all rows that were prepared together at once."""
        together: dict[int, tuple[Stack, list[tuple[Finished, int]]]] = {}
        for task in finished:
            for stack, position in task.contexts.values():
                if stack.profile.reported:
                    together.setdefault(id(stack), (stack, []))[1].append((task, position))
        for stack, members in together.values():
            members.sort(key=lambda member: member[1])  # as a rule all rows in their order, which nothing has to index
            bank = torch.stack([task.flat for task, _ in members])
            reported = self._functions.report(stack, [position for _, position in members], bank)
            for position, (task, _) in enumerate(members):
                task.report |= {key: value[position] for key, value in reported.items()}

    def _gather(self, leaves: Leaves, objective: Objective) -> Leaves:
        """Return the batch of samples at an index [n, B]."""
        index = leaves.pop(("index",))
        wanted = [m for m in self._network.modalities if m in objective.modalities]
        inputs: Leaves = {("inputs", m): taken(self._inputs[m], index) for m in wanted}
        return {**inputs, ("labels",): taken(self._labels, index), **leaves}

    def _noise(self, profile: Profile, rows: Sequence[Row], step: int) -> list[Tensor]:
        """Return the normal numbers [n, ...] of a step; each row's are its own, drawn on the CPU."""
        if not profile.noise_shapes:
            return []
        drawn: list[list[Tensor]] = []
        for row in rows:
            generator = noise_generator(self._seed, row.task, row.steps, row.steps.first_step + step)
            drawn.append([torch.randn(shape, generator=generator) for shape in profile.noise_shapes])
        at_host = {position: torch.stack(of_rows) for position, of_rows in enumerate(zip(*drawn, strict=True))}
        return list(all_to_device([at_host], self._device)[0].values())


def _joined(values: Sequence[Tensor], device: torch.device) -> tuple[Tensor, bool]:
    """Return the rows' values stacked, or the one that they share, and whether it is shared; on the host if all are."""
    first = values[0]
    if all(value is first for value in values):
        return first, True
    if all(value.device.type == "cpu" for value in values):
        return torch.stack(tuple(values)), False
    return torch.stack([to_device(value, device) for value in values]), False


def _bank(flats: Sequence[Tensor]) -> Tensor:
    """Return vectors [P] as the rows of a new bank [G, P]."""
    first = flats[0]
    if all(flat is first for flat in flats):
        return first.repeat(len(flats), 1)
    return torch.stack(tuple(flats))
