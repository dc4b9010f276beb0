"""The batched executor: results are computed together, when somebody first needs one of them.

Tasks wait until a result is needed, or until many wait. Then those that are ready form a wave: what is needed first,
and up to a full wave of what is under way, in the order in which it was submitted. The wave is cut into groups of rows,
each a job for this process or a worker. Which tasks share a group is decided by the simulated clock alone, never by how
fast a process is, so that equal runs give equal bytes with any number of workers. A task whose result nobody can ask
for any more (its upload broke off) is never trained.
"""

import math
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from interlude.models.network import Network, Parameters
from interlude.simulator.arrays import Samples
from interlude.simulator.errors import TrainingError
from interlude.simulator.training.evaluation import PendingEvaluation
from interlude.simulator.training.executors.future import Promise, TrainingExecutor
from interlude.simulator.training.executors.jobs import DeferredEvaluation, EvaluationJob, TrainingJob
from interlude.simulator.training.executors.strategy import Strategy
from interlude.simulator.training.stacked.rows import Chain
from interlude.simulator.training.stacked.trainer import StackedTrainer
from interlude.simulator.training.task import Deferred, Task, Trained, TrainingSpec, diverged
from interlude.simulator.training.workers.pool import JobQueue, WorkerPool
from interlude.simulator.training.workers.shared_memory import Arena, SharedSamples, open_block
from interlude.simulator.training.workers.worker import Setup

State = TypeVar("State")

_GROUPS_IN_A_WAVE = 4
"""Groups that a wave is filled up to with tasks that nobody needs yet, so that several workers have something to do."""
_ROWS_WORTH_SHARING = 24
"""A wave of at least so many rows makes an even number of groups, which two processes share without a rest."""
_MODELS_EVALUATED_TOGETHER = 8
_STEPS_BEFORE_HELP = 3000
"""Client steps after which workers are started, once there is something to share: less is over before they come."""
_LONG_STEPS_BEFORE_HELP = 30
_MOST_ROWS = 1 << 16


class BatchedExecutor(TrainingExecutor):
    """Trains tasks in stacks, and on several processes.

    Args:
        network: the network.
        spec: batch size and optimiser.
        seed: the run's seed, for the order of batches.
        train: the training set.
        test: the test set.
        strategy: how a group is trained.
        crew: worker processes; None for this process alone.
    """

    def __init__(
        self,
        network: Network,
        spec: TrainingSpec,
        seed: int,
        train: Samples,
        test: Samples,
        strategy: Strategy,
        crew: WorkerPool | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.strategy = strategy
        self.trainer = StackedTrainer(network, spec, seed, train, strategy)
        self.test = test
        self.arena: Arena | None = None
        self._spec = spec
        self._seed = seed
        self._samples = (train, test)
        self._crew = crew if crew is not None and crew.is_wanted else None
        self._shift = JobQueue(self._crew, most_at_once=2 if strategy.stacks else 1)
        self._waiting: dict[int, Callable[[], Promise | None]] = {}
        """Those that are in no job yet, and those of them that somebody held when the last wave was made."""
        self._num_steps = 0
        self._most_rows = _MOST_ROWS
        """Clients that were not too many for the memory at once."""
        self._copies = WeakTensorKeyDictionary()
        self._descriptors: tuple[int, ...] = ()
        self._unchecked: list[tuple[str, Tensor]] = []
        self._evaluations: list[DeferredEvaluation] = []

    def submit(self, task: Task) -> Deferred:
        """Return the promise of a task's result."""
        task.received = self.network.layout.pack(task.received)
        if isinstance(task.start, Mapping):
            task.start = self.network.layout.pack(task.start)
        pending = self._promise(task)
        self._waiting[pending.number] = weakref.ref(pending)
        if len(self._waiting) >= self._wave_size:
            self._launch([])
            self._shift.poll()
        return pending

    def merge(self, rule: Callable[[], State], unchanged: State, needed: Sequence[Deferred] = ()) -> State:
        """Return what `rule` computes.

        Args:
            rule: the computation.
            unchanged: the state as it is; what a run without values keeps.
            needed: the results that the rule will ask for, so that they are computed together.
        """
        del unchanged
        self.gather(needed)
        return rule()

    def gather(self, needed: Sequence[Deferred]) -> None:
        """Begin to train together what somebody will ask for."""
        untouched = [p for p in needed if isinstance(p, Promise) and p.job is None and not p.is_done]
        if untouched:
            self._launch(untouched)

    def evaluate(self, parameters: Parameters) -> PendingEvaluation:
        """Return the promise of a model's test metrics; several models are evaluated together."""
        self._check_losses()
        evaluation = DeferredEvaluation(self, self.network.layout.pack(parameters))
        self._evaluations.append(evaluation)
        if len(self._evaluations) >= (_MODELS_EVALUATED_TOGETHER if self.strategy.stacks else 1):
            self.launch_evaluations()
        self._shift.poll()
        return evaluation

    def launch_evaluations(self) -> None:
        """Make a job of the evaluations that wait."""
        if self._evaluations:
            job = EvaluationJob(self, self._evaluations)
            self._evaluations = []
            self._shift.put(job)
            self._shift.poll()
            if not self._shift.has_help:
                self._shift.finish(job)

    def train(self, chains: Sequence[Chain]) -> list[list[Trained]]:
        """Carry out chains of tasks; where memory runs out, half of them at a time from then on.

        Raises:
            TrainingError: if there is not enough for one client.
        """
        if len(chains) <= self._most_rows:
            with suppress(torch.cuda.OutOfMemoryError):
                return self.trainer.train(chains)
            if len(chains) == 1:
                raise TrainingError(f"memory ran out in the training of {chains[0][0].label}, alone in its group")
            if self._most_rows == _MOST_ROWS:
                self.notes.append(f"memory ran out for {len(chains)} clients at a time, so groups were split")
            self._most_rows = len(chains) // 2
        middle = -(-len(chains) // 2)
        return [*self.train(chains[:middle]), *self.train(chains[middle:])]

    def finish(self, job: TrainingJob | EvaluationJob) -> None:
        """See to it that a job is done."""
        self._shift.finish(job)

    def need(self, promise: Promise) -> None:
        """See to it that a task is trained."""
        if promise.job is None and not promise.is_done:
            self._launch([promise])
        if promise.job is not None:
            self._shift.finish(promise.job)

    def settle(self) -> None:
        """Wait for the jobs under way; what waits for a wave or for other models to be evaluated goes on waiting."""
        self._shift.finish_all()
        self._check_losses()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs to know; which tasks share a wave must not depend on it."""
        return {**super().state(), "waiting": list(self._waiting), "steps": self._num_steps, "rows": self._most_rows}

    def restore(self, state: Mapping[str, Any], replayed: Mapping[int, Promise]) -> None:
        """Go on from a checkpoint."""
        super().restore(state, replayed)
        self._num_steps = state["steps"]
        self._most_rows = state["rows"]
        alive = self.promises
        # Those that nobody holds any more still count until the next wave is made.
        self._waiting = {n: weakref.ref(alive[n]) if n in alive else _nobody for n in state["waiting"]}

    @property
    def _wave_size(self) -> int:
        return _GROUPS_IN_A_WAVE * self.strategy.group_size

    def _launch(self, needed: Sequence[Promise]) -> None:
        """Make a wave of the tasks that are needed and of others that are ready, and cut it into jobs."""
        chains = self._wave(needed)
        groups = _near_equal(chains, self.strategy.group_size)
        for group in groups:
            job = TrainingJob(self, group)
            for pending in (pending for chain in group for pending in chain):
                self._waiting.pop(pending.number, None)
                pending.job = job
            self._num_steps += job.num_steps
            self._shift.put(job)
        threshold = _STEPS_BEFORE_HELP if self.strategy.stacks else _LONG_STEPS_BEFORE_HELP
        is_wanted = len(groups) > 1 and self._num_steps >= threshold
        if is_wanted and self._crew is not None and not self._shift.has_help:
            self._get_help()

    def _wave(self, needed: Sequence[Promise]) -> list[list[Promise]]:
        """Return chains of tasks, each ready to start: those needed, and others up to a full wave."""
        alive = [pending for pending in (ref() for ref in self._waiting.values()) if pending is not None]
        self._waiting = {pending.number: weakref.ref(pending) for pending in alive}
        starts = {id(pending.task.start) for pending in alive}
        ends = [pending for pending in alive if id(pending) not in starts]
        chains: list[list[Promise]] = []
        taken: set[int] = set()
        for position, end in enumerate([*needed, *ends]):
            if position >= len(needed) and len(chains) >= self._wave_size:
                break
            chain = self._chain(end, taken)
            if chain:
                chains.append(chain)
                taken.update(pending.number for pending in chain)
        return chains

    def _chain(self, end: Promise, taken: set[int]) -> list[Promise]:
        """Return a task behind those that it starts from and that wait; nothing where another chain has one of them."""
        chain = [end]
        while isinstance(start := chain[0].task.start, Promise) and not start.is_done:
            if start.job is not None:
                self._shift.finish(start.job)
                break
            chain.insert(0, start)
        return [] if any(pending.number in taken for pending in chain) else chain

    def _get_help(self) -> None:
        """Share rows and samples with the workers, and let them take jobs."""
        assert self._crew is not None
        layout = self.network.layout
        row_bytes = Arena.num_bytes(layout.size, layout.dtype, 1)
        num_rows = min(_MOST_ROWS, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // row_bytes)
        block = open_block(Arena.num_bytes(layout.size, layout.dtype, num_rows))
        self.arena = Arena(block, layout.size, layout.dtype, num_rows)
        shared = SharedSamples(*self._samples)
        self._descriptors = (block, shared.descriptor)
        setup = Setup(self.network, self._spec, self._seed, self.strategy, num_rows, shared.places)
        self._shift.begin(setup, (block, shared.descriptor))

    def close(self) -> None:
        """Give back what is shared with workers."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = ()
        self._shift = JobQueue(None, most_at_once=1)

    def row_of(self, flat: Tensor) -> int | None:
        """Return the arena's row of parameters [P], copied there if need be; None where no row is free."""
        assert self.arena is not None
        slot = self.arena.slot_of(flat)
        if slot is None:
            if flat not in self._copies:
                made = self.arena.new_row()
                if made is None:
                    return None
                made[1].copy_(flat)
                self._copies[flat] = made
            slot, _ = self._copies[flat]
        return slot

    def new_row(self) -> tuple[int, Tensor] | None:
        """Return a free row of the arena [P] and its number; None where all are taken."""
        assert self.arena is not None
        return self.arena.new_row()

    def check(self, task: Task, loss: float | Tensor) -> str | None:
        """Return what is wrong with a task's loss; on a GPU it is looked at later, when values are read anyway."""
        if self._spec.on_divergence == "reject":
            return None  # whether it is finite is a decision of the server's
        if isinstance(loss, Tensor):
            self._unchecked.append((task.label, loss))
        elif not math.isfinite(loss):
            return diverged(task.label, loss)
        return None

    def _check_losses(self) -> None:
        """Look at losses that were not looked at when their tasks were done.

        Raises:
            TrainingError: if one is not finite.
        """
        if self._unchecked:
            unchecked, self._unchecked = self._unchecked, []
            for (label, _), loss in zip(unchecked, torch.stack([loss for _, loss in unchecked]).tolist(), strict=True):
                if not math.isfinite(loss):
                    raise TrainingError(diverged(label, loss))


def _nobody() -> None:
    """Stand for a promise that nobody holds any more."""


def _near_equal(chains: Sequence[Any], group_size: int) -> list[Sequence[Any]]:
    """Return groups of near-equal sizes, at most `group_size`, and two where that is worth it."""
    num_rows = len(chains)
    num_groups = max(math.ceil(num_rows / group_size), 1)
    if num_rows >= _ROWS_WORTH_SHARING:
        num_groups += num_groups % 2
    cuts = [round(i * num_rows / num_groups) for i in range(num_groups + 1)]
    return [chains[start:stop] for start, stop in pairwise(cuts) if stop > start]
