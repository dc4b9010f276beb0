"""The batched executor: results are computed together, when one of them is first needed.

Tasks wait until a result is needed, or until many wait. Then those that are ready form a wave: the needed ones first,
then others up to a full wave, in order of submission. The wave is cut into groups of rows, each a job for this process
or a worker. The simulated clock alone decides which tasks share a group, never the speed of a process, so equal runs
give equal bytes with any number of workers. A task whose result can no longer be requested (its upload broke off) is
never trained.
"""

import math
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from interlude.models.drawn import DrawnTensor
from interlude.models.inputs import Samples
from interlude.models.network import Network, Parameters
from interlude.simulator.training.evaluation import EvaluationSets
from interlude.simulator.training.executors.base import EvaluationFuture, TrainingExecutor, TrainingFuture
from interlude.simulator.training.executors.future import Future
from interlude.simulator.training.executors.in_process import InProcess
from interlude.simulator.training.executors.jobs import EvaluationJob, TrainingJob
from interlude.simulator.training.executors.strategy import Strategy
from interlude.simulator.training.spec import TrainingSpec
from interlude.simulator.training.task import Task, Trained
from interlude.simulator.training.workers.pool import JobQueue, WorkerPool
from interlude.simulator.training.workers.shared_memory import SharedSamples
from interlude.simulator.training.workers.shared_models import SharedModels
from interlude.simulator.training.workers.worker import Setup

_GROUPS_IN_A_WAVE = 4
"""Groups in a full wave, tasks that are not needed yet included, so that several workers have work.
"""
_ROWS_WORTH_SHARING = 24
"""A wave of at least this many rows makes an even number of groups, which two processes share equally."""
_MODELS_EVALUATED_TOGETHER = 8
_STEPS_BEFORE_HELP = 3000
"""Client steps after which workers are started, once there are jobs to share: shorter runs end before they are up."""
_LONG_STEPS_BEFORE_HELP = 30


class BatchedExecutor(TrainingExecutor):
    """Trains tasks in stacks, and on several processes.

    Args:
        network: the network.
        spec: batch size and optimiser.
        seed: the run's seed, for the order of batches.
        train: the training set.
        sets: the samples that models are evaluated on.
        strategy: how a group is trained.
        pool: worker processes; None for this process alone.
    """

    def __init__(
        self,
        network: Network,
        spec: TrainingSpec,
        seed: int,
        train: Samples,
        sets: EvaluationSets,
        strategy: Strategy,
        pool: WorkerPool | None = None,
    ) -> None:
        super().__init__()
        self.strategy = strategy
        self.in_process = InProcess(network, spec, seed, train, sets, strategy, self.notes.append)
        self._network = network
        self._spec = spec
        self._seed = seed
        self._samples = (train, sets)
        self._pool = pool if pool is not None and pool.is_wanted else None
        self._queue = JobQueue(self._pool, most_at_once=2 if strategy.stacks else 1)
        self._waiting: dict[int, Callable[[], TrainingFuture | None]] = {}
        """Weak references to the futures without a job, including those dropped since the last wave was made."""
        self._num_steps = 0
        self._descriptors: tuple[int, ...] = ()
        self._evaluations: list[EvaluationFuture] = []

    @property
    def has_help(self) -> bool:
        """Whether workers take jobs."""
        return self._queue.has_help

    def submit(self, task: Task) -> Future[Trained]:
        """Return the future of a task's result."""
        task.received = self._network.layout.pack(task.received)
        if task.fresh is not None:
            task.fresh = self._network.layout.pack(task.fresh)
        if isinstance(task.start, Mapping):
            task.start = self._network.layout.pack(task.start)
        future = self._future(task)
        self._waiting[future.number] = weakref.ref(future)
        if len(self._waiting) >= self._wave_size:
            self._launch([])
            self._queue.poll()
        return future

    def results(self, futures: Sequence[Future[Trained]]) -> list[Trained] | None:
        """Return results; waiting tasks are trained together."""
        self._launch_needed([future for future in futures if isinstance(future, TrainingFuture)])
        return super().results(futures)

    def take(self, futures: Sequence[Future[Trained]]) -> Iterator[Trained] | None:
        """Yield results; waiting tasks form the groups that they would form if all results were returned at once."""
        trained = [future for future in futures if isinstance(future, TrainingFuture)]
        self._launch_needed(trained)
        self._queue.bring_forward([future.job for future in trained if future.job is not None])
        return super().take(futures)

    def ensure_computed(self, future: TrainingFuture) -> None:
        """Train the task of a future, together with others, unless it is trained."""
        self._launch_needed([future])
        if future.job is not None:
            self._queue.finish(future.job)

    def evaluate(self, model: Parameters) -> EvaluationFuture:
        """Return the future of a model's metrics; several models are evaluated together."""
        self.in_process.check_losses()
        future = EvaluationFuture(self, self._network.layout.pack(model))
        self._evaluations.append(future)
        if len(self._evaluations) >= (_MODELS_EVALUATED_TOGETHER if self.strategy.stacks else 1):
            self._launch_evaluations()
        self._queue.poll()
        return future

    def ensure_evaluated(self, future: EvaluationFuture) -> None:
        """Evaluate the model of a future, together with others that wait."""
        if future.job is None:
            self._launch_evaluations()
        if future.job is not None:
            self._queue.finish(future.job)

    def drain(self) -> None:
        """Wait for the jobs in progress; tasks and evaluations without a job keep waiting."""
        self._queue.finish_all()
        self.in_process.check_losses()

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint; it must not change which tasks share a wave."""
        more = {"waiting": list(self._waiting), "steps": self._num_steps, "rows": self.in_process.most_rows}
        return {**super().state(), **more}

    def restore(self, state: Mapping[str, Any], replayed: Mapping[int, TrainingFuture]) -> None:
        """Continue from the state of a checkpoint."""
        super().restore(state, replayed)
        self._num_steps = state["steps"]
        self.in_process.most_rows = state["rows"]
        alive = self.futures
        # Futures that are no longer referred to still count until the next wave is made.
        self._waiting = {n: weakref.ref(alive[n]) if n in alive else _gone for n in state["waiting"]}

    def close(self) -> None:
        """Release the memory shared with workers."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = ()
        self._queue = JobQueue(None, most_at_once=1)

    @property
    def _wave_size(self) -> int:
        return _GROUPS_IN_A_WAVE * self.strategy.group_size

    def _launch_needed(self, futures: Sequence[TrainingFuture]) -> None:
        """Make a wave of the tasks without a job, if there are any."""
        untouched = [future for future in futures if future.job is None and not future.is_done]
        if untouched:
            self._launch(untouched)

    def _launch(self, needed: Sequence[TrainingFuture]) -> None:
        """Make a wave of the tasks that are needed and of others that are ready, and cut it into jobs."""
        chains = self._wave(needed)
        groups = _near_equal(chains, self.strategy.group_size)
        for group in groups:
            job = TrainingJob(self.in_process, group)
            for future in (future for chain in group for future in chain):
                self._waiting.pop(future.number, None)
                future.job = job
            self._num_steps += job.num_steps
            self._queue.put(job)
        threshold = _STEPS_BEFORE_HELP if self.strategy.stacks else _LONG_STEPS_BEFORE_HELP
        if len(groups) > 1 and self._num_steps >= threshold and self._pool is not None and not self.has_help:
            self._get_help()

    def _wave(self, needed: Sequence[TrainingFuture]) -> list[list[TrainingFuture]]:
        """Return chains of tasks, each ready to start: those needed, and others up to a full wave."""
        alive = [future for future in (reference() for reference in self._waiting.values()) if future is not None]
        self._waiting = {future.number: weakref.ref(future) for future in alive}
        starts = {id(future.task.start) for future in alive}
        ends = [future for future in alive if id(future) not in starts]
        chains: list[list[TrainingFuture]] = []
        taken: set[int] = set()
        for position, end in enumerate([*needed, *ends]):
            if position >= len(needed) and len(chains) >= self._wave_size:
                break
            chain = self._chain(end, taken)
            if chain:
                chains.append(chain)
                taken.update(future.number for future in chain)
        return chains

    def _chain(self, end: TrainingFuture, taken: set[int]) -> list[TrainingFuture]:
        """Return a task preceded by the waiting tasks it starts from; empty if another chain holds one of them."""
        chain = [end]
        while isinstance(start := chain[0].task.start, TrainingFuture) and not start.is_done:
            if start.job is not None:
                self._queue.finish(start.job)
                break
            chain.insert(0, start)
        return [] if any(future.number in taken for future in chain) else chain

    def _launch_evaluations(self) -> None:
        """Make a job of the evaluations that wait."""
        if self._evaluations:
            job = EvaluationJob(self.in_process, self._evaluations)
            self._evaluations = []
            self._queue.put(job)
            self._queue.poll()
            if not self.has_help:
                self._queue.finish(job)

    def _get_help(self) -> None:
        """Share models and samples with the workers, and let them take jobs."""
        train, sets = self._samples
        drawn = train if isinstance(train[1], DrawnTensor) else None
        shared = sets.by_name() if drawn is not None else {"train": train, **sets.by_name()}
        models, samples = SharedModels(self._network.layout), SharedSamples(shared)
        self._descriptors = (models.descriptor, samples.descriptor)
        setup = Setup(self._network, self._spec, self._seed, self.strategy, models.num_rows, samples.places, drawn)
        self._queue.begin(setup, models, self._descriptors)


def _gone() -> None:
    """Stand for a future that is no longer referred to."""


def _near_equal(chains: Sequence[list[TrainingFuture]], group_size: int) -> list[Sequence[list[TrainingFuture]]]:
    """Return groups of near-equal sizes, at most `group_size`; two if the wave is large enough."""
    num_rows = len(chains)
    num_groups = max(math.ceil(num_rows / group_size), 1)
    if num_rows >= _ROWS_WORTH_SHARING:
        num_groups += num_groups % 2
    cuts = [round(i * num_rows / num_groups) for i in range(num_groups + 1)]
    return [chains[start:stop] for start, stop in pairwise(cuts) if stop > start]
