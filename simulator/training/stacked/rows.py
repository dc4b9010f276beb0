"""What is trained together: chains of tasks under way, each a row of a bank, and what the rows of a stint look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from interlude.models.network import Network
from interlude.models.packed import Packed
from interlude.simulator.training.objective import Objective
from interlude.simulator.training.task import LocalSteps, Task, Trained
from interlude.simulator.training.traits import Path, Traits, leaves_of
from interlude.simulator.training.transfer import to_device

Chain = Sequence[Task]
"""Tasks of one local round, each after the first starting from the one before it."""


class Row:
    """A chain under way."""

    __slots__ = ("_tasks", "contexts", "finished", "flat", "losses", "momentum", "stint_index", "task")

    def __init__(self, chain: Chain, flat: Tensor) -> None:
        self._tasks = list(chain)
        self.flat = flat
        """[P] the parameters as they are now."""
        self.finished: list[Finished] = []
        self._begin()

    def _begin(self) -> None:
        self.task = self._tasks.pop(0)
        self.stint_index = 0
        self.momentum: Tensor | None = None
        self.losses: list[tuple[Any, int]] = []
        self.contexts: dict[Objective, tuple[Stack, int]] = {}

    @property
    def stint(self) -> LocalSteps:
        """The stint it is at."""
        return self.task.stints[self.stint_index]

    @property
    def kind(self) -> tuple[Objective, tuple[Path, ...]]:
        """What rows have in common that can be stacked: the objective, and what was sent along."""
        return self.stint.objective, tuple(leaves_of(self.task.broadcast))

    def advance(self) -> bool:
        """Go on to the next stint that there is; returns whether there is one."""
        self.stint_index += 1
        while self.stint_index >= len(self.task.stints):
            self.finished.append(Finished(self.flat, self.losses, self.contexts))
            if not self._tasks:
                return False
            self._begin()
        return True


@dataclass(slots=True)
class Finished:
    """A task that is trained and has yet to report."""

    flat: Tensor
    losses: list[tuple[Any, int]]
    """Sum over the steps, and their number, of each stint."""
    contexts: dict[Objective, tuple["Stack", int]]
    report: dict[str, Mapping[str, Tensor]] = field(default_factory=dict)

    def trained(self, network: Network) -> Trained:
        """Return the result, with the mean loss of its steps."""
        num_steps = sum(steps for _, steps in self.losses)
        loss = sum(total for total, _ in self.losses) / num_steps if num_steps else 0.0
        own = self.flat.clone()  # so that whoever keeps one client's result does not keep the whole bank
        return Trained(Packed(network.layout, own), self.report, loss)


@dataclass(slots=True)
class Stack:
    """What the rows of one stint look at besides their parameters, as named tensors."""

    objective: Objective
    traits: Traits
    leaves: dict[Path, Tensor]
    """Shared by all rows, or [G, ...]."""
    shared: frozenset[Path]
    """Leaves that are the same for all rows."""
    window: dict[Path, Tensor] = field(default_factory=dict)
    """The window's samples [G, W, ...], where they are needed."""

    def rows(self, which: Sequence[int]) -> tuple[dict[Path, Tensor], dict[Path, Tensor]]:
        """Return the leaves and the window of some rows."""
        index = torch.tensor(which)
        leaves = {p: v if p in self.shared else v[to_device(index, v.device)] for p, v in self.leaves.items()}
        return leaves, {p: v[to_device(index, v.device)] for p, v in self.window.items()}
