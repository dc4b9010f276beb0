"""Rows of a bank: chains of tasks that are trained together, and the inputs of the rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interlude.models.network import Network
from interlude.models.packed import Packed
from interlude.simulator.training.objective import Objective
from interlude.simulator.training.profile.dry_run import Profile
from interlude.simulator.training.task import LocalSteps, Task, Trained
from interlude.simulator.training.transfer import to_device
from interlude.simulator.training.values import Named

Chain = Sequence[Task]
"""Tasks of one local round, each after the first starting from the one before it."""

Path = tuple[str, ...]
"""The address of a tensor in a batch or context: ``("labels",)``, ``("inputs", "gray")``, ``("prepared", *key)``."""

Leaves = dict[Path, Tensor]
"""Tensors by their addresses."""


class Kind(NamedTuple):
    """The properties that stacked rows have in common."""

    objective: Objective
    proximal: float
    learning_rate_scale: float
    broadcast: tuple[Named, ...]
    """The values that the server sent with the model."""


class Row:
    """A chain in progress."""

    __slots__ = ("_tasks", "contexts", "finished", "flat", "losses", "momentum", "steps_index", "task")

    def __init__(self, chain: Chain, flat: Tensor) -> None:
        self._tasks = list(chain)
        self.flat = flat
        """[P] the parameters as they are now."""
        self.finished: list[Finished] = []
        self._begin()

    def _begin(self) -> None:
        self.task = self._tasks.pop(0)
        self.steps_index = 0
        self.momentum: Tensor | None = None
        self.losses: list[tuple[Any, int]] = []
        self.contexts: dict[Objective, tuple[Stack, int]] = {}

    @property
    def steps(self) -> LocalSteps:
        """The local steps that it takes now."""
        return self.task.local_steps[self.steps_index]

    @property
    def kind(self) -> Kind:
        """The properties that rows stacked with this one share with it."""
        steps = self.steps
        return Kind(steps.objective, steps.proximal, steps.learning_rate_scale, tuple(self.task.broadcast))

    def advance(self) -> bool:
        """Advance to the next local steps, of this task or the next one; returns whether there are any."""
        self.steps_index += 1
        while self.steps_index >= len(self.task.local_steps):
            self.finished.append(Finished(self.task, self.flat, self.losses, self.contexts))
            if not self._tasks:
                return False
            self._begin()
        return True


@dataclass(slots=True)
class Finished:
    """A trained task whose report is not computed yet."""

    task: Task
    flat: Tensor
    losses: list[tuple[Any, int]]
    """Sum over the steps, and their number, of all local steps on one objective."""
    contexts: dict[Objective, tuple["Stack", int]]
    report: dict[Named, Tensor] = field(default_factory=dict)

    def trained(self, network: Network) -> Trained:
        """Return the result, with the mean loss of its steps."""
        num_steps = sum(steps for _, steps in self.losses)
        loss = sum(total for total, _ in self.losses) / num_steps if num_steps else 0.0
        own = self.flat.clone()  # a view would keep the whole bank alive
        return Trained(Packed(network.layout, own), self.task.received, self.report, loss)


@dataclass(slots=True)
class Stack:
    """The inputs of the rows' local steps besides their parameters, as named tensors."""

    objective: Objective
    profile: Profile
    leaves: Leaves
    """Shared by all rows, or [G, ...]."""
    shared: frozenset[Path]
    """Leaves that are the same for all rows."""
    received: Tensor | None = None
    """The models that the rows received, [P] if it is the same for all, else [G, P]; None if none is needed."""
    window: Leaves = field(default_factory=dict)
    """The windows' samples [G, W, ...], if they are needed."""

    def carry(self, carried: Sequence[Tensor]) -> None:
        """Take over what the first n rows carry to their next step [n, ...]; rows that are done keep theirs."""
        for key, value in zip(self.profile.carried, carried, strict=True):
            path = ("prepared", *key)
            self.leaves[path] = torch.cat([value, self.leaves[path][len(value) :]])

    def rows(self, which: Sequence[int]) -> tuple[Leaves, Leaves]:
        """Return the leaves and the window of some rows."""
        own = {path: value for path, value in self.leaves.items() if path not in self.shared}
        one = next(iter({**own, **self.window}.values()), None)
        if one is None or list(which) == list(range(len(one))):
            return self.leaves, self.window
        index = to_device(torch.tensor(which), one.device)
        leaves = {path: value if path in self.shared else value[index] for path, value in self.leaves.items()}
        return leaves, {path: value[index] for path, value in self.window.items()}

    def dims(self, paths: Sequence[Path]) -> tuple[int | None, ...]:
        """Return the dimension of the rows in each tensor, as `torch.vmap` expects it; None where they share one."""
        return tuple(None if path in self.shared else 0 for path in paths)
