"""The batched executor: results are computed together, when somebody first needs one of them.

Tasks wait until a result is needed, or until many wait. Then those that are ready form a wave: what is needed first,
and up to a full wave of what is under way, in the order in which it was submitted. The wave is cut into groups of rows,
each a job for this process or a worker. Which tasks share a group is decided by the simulated clock alone, never by how
fast a process is, so that equal runs give equal bytes with any number of workers. A task whose result nobody can ask
for any more (its upload broke off) is never trained.
"""

import math
import os
import pickle
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from models.network import Network, Parameters
from models.packed import Packed
from simulator.arrays import Samples
from simulator.errors import TrainingError
from simulator.training.crew import Crew, Shift
from simulator.training.evaluation import Evaluation, PendingEvaluation, evaluate_together
from simulator.training.objective import Objective
from simulator.training.promise import Promise, TrainingExecutor
from simulator.training.shared import Arena, SharedSamples, open_block
from simulator.training.stacked import Chain, StackedTrainer
from simulator.training.strategy import Strategy
from simulator.training.task import Deferred, Task, Trained, TrainingSpec, diverged, resolve
from simulator.training.worker import Arrays, Done, SentChain, SentTask, Setup, as_tensors

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
        crew: Crew | None = None,
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
        self._shift = Shift(self._crew, most_at_once=2 if strategy.stacks else 1)
        self._waiting: dict[int, Callable[[], Promise | None]] = {}
        """Those that are in no job yet, and those of them that somebody held when the last wave was made."""
        self._num_steps = 0
        self._most_rows = _MOST_ROWS
        """Clients that were not too many for the memory at once."""
        self._copies = WeakTensorKeyDictionary()
        self._descriptors: tuple[int, ...] = ()
        self._unchecked: list[tuple[str, Tensor]] = []
        self._evaluations: list[_Evaluation] = []

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
        evaluation = _Evaluation(self, self.network.layout.pack(parameters))
        self._evaluations.append(evaluation)
        if len(self._evaluations) >= (_MODELS_EVALUATED_TOGETHER if self.strategy.stacks else 1):
            self.launch_evaluations()
        self._shift.poll()
        return evaluation

    def launch_evaluations(self) -> None:
        """Make a job of the evaluations that wait."""
        if self._evaluations:
            job = _EvaluationJob(self, self._evaluations)
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

    def finish(self, job: "_TrainingJob | _EvaluationJob") -> None:
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
            job = _TrainingJob(self, group)
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
        self._shift = Shift(None, most_at_once=1)

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


class _TrainingJob:
    """A group of chains that are trained together; it keeps the tasks, but their promises only as long as others do."""

    def __init__(self, executor: BatchedExecutor, chains: Sequence[Sequence[Promise]]) -> None:
        self._executor = executor
        self._chains = [[pending.task for pending in chain] for chain in chains]
        self._promises = [[weakref.ref(pending) for pending in chain] for chain in chains]
        self._results: list[list[Tensor]] = []
        self.is_done = False

    @property
    def num_steps(self) -> int:
        return sum(stint.num_steps for chain in self._chains for task in chain for stint in task.stints)

    @property
    def is_wanted(self) -> bool:
        return any(promise() is not None for chain in self._promises for promise in chain)

    def carry_out(self) -> None:
        self._settle(self._executor.train(self._chains))

    def message(self) -> tuple[str, object] | None:
        executor, layout = self._executor, self._executor.network.layout
        if not all(_travels(stint.objective) for chain in self._chains for task in chain for stint in task.stints):
            return None
        arrays = Arrays()
        sent: list[SentChain] = []
        self._results = []
        for chain in self._chains:
            try:
                start = executor.row_of(layout.pack(resolve(chain[0].start)).flat)
            except TrainingError:
                return None  # what it starts from diverged: whoever asks for it is told
            received = [executor.row_of(layout.pack(task.received).flat) for task in chain]
            made = [executor.new_row() for _ in chain]
            if start is None or None in received or None in made:
                return None  # no row is free: the job is carried out here
            tasks = tuple(
                SentTask.of(task, arrays, slot, row[0])
                for task, slot, row in zip(chain, received, made, strict=True)
                if slot is not None and row is not None
            )
            sent.append(SentChain(start, tasks))
            self._results.append([row[1] for row in made if row is not None])
        return "train", sent

    def accept(self, answer: Done) -> None:
        layout = self._executor.network.layout
        results = [
            [
                Trained(Packed(layout, row), as_tensors(report), loss)
                for row, (loss, report) in zip(rows, done, strict=True)
            ]
            for rows, done in zip(self._results, answer, strict=True)
        ]
        self._settle(results)

    def _settle(self, results: Sequence[Sequence[Trained]]) -> None:
        for promises, tasks, trained in zip(self._promises, self._chains, results, strict=True):
            for promise, task, result in zip(promises, tasks, trained, strict=True):
                pending = promise()
                if pending is not None:
                    pending.settle(result, self._executor.check(task, result.loss))
        self.is_done = True
        self._chains, self._results = [], []


class _Evaluation:
    """A model until it is evaluated; its metrics after."""

    def __init__(self, executor: BatchedExecutor, model: Packed) -> None:
        self._executor = executor
        self.model: Packed | None = model
        self.job: _EvaluationJob | None = None
        self.outcome: Evaluation | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the metrics are there."""
        return self.outcome is not None

    def result(self) -> Evaluation:
        """Return the metrics, computing them if need be."""
        if self.job is None and self.outcome is None:
            self._executor.launch_evaluations()
        if self.outcome is None:
            assert self.job is not None
            self._executor.finish(self.job)
        assert self.outcome is not None
        return self.outcome


class _EvaluationJob:
    """Models that are evaluated together."""

    def __init__(self, executor: BatchedExecutor, evaluations: list[_Evaluation]) -> None:
        self._executor = executor
        self._evaluations = evaluations
        self.is_done = False
        self.is_wanted = True
        for evaluation in evaluations:
            evaluation.job = self

    def carry_out(self) -> None:
        executor = self._executor
        models = [evaluation.model for evaluation in self._evaluations if evaluation.model is not None]
        self.accept(evaluate_together(executor.network, models, executor.test, executor.strategy.stacks))

    def message(self) -> tuple[str, object] | None:
        slots = [self._executor.row_of(e.model.flat) for e in self._evaluations if e.model is not None]
        return None if None in slots else ("evaluate", slots)

    def accept(self, answer: Sequence[Evaluation]) -> None:
        for evaluation, outcome in zip(self._evaluations, answer, strict=True):
            evaluation.outcome, evaluation.model, evaluation.job = outcome, None, None
        self.is_done = True


def _nobody() -> None:
    """Stand for a promise that nobody holds any more."""


@lru_cache(maxsize=1 << 10)
def _travels(objective: Objective) -> bool:
    """Return whether another process can know an objective: its class must be in a module, not in a script."""
    try:
        return b"__main__" not in pickle.dumps(objective)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False


def _near_equal(chains: Sequence[Any], group_size: int) -> list[Sequence[Any]]:
    """Return groups of near-equal sizes, at most `group_size`, and two where that is worth it."""
    num_rows = len(chains)
    num_groups = max(math.ceil(num_rows / group_size), 1)
    if num_rows >= _ROWS_WORTH_SHARING:
        num_groups += num_groups % 2
    cuts = [round(i * num_rows / num_groups) for i in range(num_groups + 1)]
    return [chains[start:stop] for start, stop in pairwise(cuts) if stop > start]
