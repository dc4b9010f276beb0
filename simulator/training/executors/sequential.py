"""Executors turn tasks into results. The simulated clock never waits for them and never looks at host time.

`SequentialExecutor` trains one client after the other and is the reference: obviously right. `TimingOnlyExecutor`
trains nothing, so that the same clock runs without values. A faster executor has the same four doors: `submit`,
`merge`, `decide`, `evaluate`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from interlude.models.network import Network, Parameters
from interlude.simulator.arrays import Samples
from interlude.simulator.errors import TrainingError
from interlude.simulator.training.evaluation import Evaluated, PendingEvaluation, evaluate
from interlude.simulator.training.executors.future import Promise, TrainingExecutor
from interlude.simulator.training.objective import Batch, Context, Noise, Objective
from interlude.simulator.training.optimizer import Sgd
from interlude.simulator.training.task import (
    Deferred,
    LocalSteps,
    Task,
    Trained,
    TrainingSpec,
    batch_positions,
    diverged,
    noise_generator,
    resolve,
)

State = TypeVar("State")
Decision = TypeVar("Decision")


class Executor(Protocol):
    """What the federation needs of an executor."""

    def submit(self, task: Task) -> Deferred:
        """Return the promise of a task's result; computes nothing yet."""
        ...

    def merge(self, rule: Callable[[], State], unchanged: State, needed: Sequence[Deferred] = ()) -> State:
        """Return the server's state after a merge: what `rule` computes, which will ask for the results `needed`."""
        ...

    def decide(
        self, by_values: Callable[[], Decision], otherwise: Callable[[], Decision], needed: Sequence[Deferred] = ()
    ) -> Decision:
        """Return a decision of the clock that depends on values, or what stands in where there are none.

        It is made of tuples, lists, dicts, dataclasses, strings and plain numbers, so that a checkpoint can hold it:
        every value that reaches the clock goes through here.
        """
        ...

    def evaluate(self, parameters: Parameters) -> PendingEvaluation | None:
        """Return the promise of a model's test metrics, or None where nothing is trained."""
        ...

    def close(self) -> None:
        """Give back what the executor holds; nothing is asked of it afterwards."""
        ...


class TimingOnlyExecutor:
    """Runs the clock without values: results are never computed, merges leave the server's state as it is."""

    def submit(self, task: Task) -> Deferred:
        """Return a promise that nobody may ask for."""
        del task
        return _Untrained()

    def merge(self, rule: Callable[[], State], unchanged: State, needed: Sequence[Deferred] = ()) -> State:
        """Return the state as it was."""
        del rule, needed
        return unchanged

    def decide(
        self, by_values: Callable[[], Decision], otherwise: Callable[[], Decision], needed: Sequence[Deferred] = ()
    ) -> Decision:
        """Return what stands in for values."""
        del by_values, needed
        return otherwise()

    def evaluate(self, parameters: Parameters) -> None:
        """Return nothing: there is no model."""
        del parameters

    def close(self) -> None:
        """Do nothing: nothing is held."""


class _Untrained:
    received: Parameters = {}  # noqa: RUF012 - nobody changes it

    def result(self) -> Trained:
        raise TrainingError("a timing-only run has no training results")


class SequentialExecutor(TrainingExecutor):
    """Trains tasks one after the other, each when its result is first asked for.

    Args:
        network: the network.
        spec: batch size and optimiser.
        seed: the run's seed, for the order of batches.
        train: the training set.
        test: the test set.
    """

    def __init__(self, network: Network, spec: TrainingSpec, seed: int, train: Samples, test: Samples) -> None:
        super().__init__()
        self._network = network
        self._spec = spec
        self._seed = seed
        self._inputs, self._labels = train
        self._test = test

    def submit(self, task: Task) -> Deferred:
        """Return the promise of a task's result."""
        return self._promise(task)

    def need(self, promise: Promise) -> None:
        """Train a task."""
        promise.settle(self.train(promise.task))

    def merge(self, rule: Callable[[], State], unchanged: State, needed: Sequence[Deferred] = ()) -> State:
        """Return what `rule` computes."""
        del unchanged, needed
        return rule()

    def evaluate(self, parameters: Parameters) -> Evaluated:
        """Return the test metrics of a model."""
        return Evaluated(evaluate(self._network, parameters, *self._test))

    def close(self) -> None:
        """Do nothing: nothing is held."""

    def train(self, task: Task) -> Trained:
        """Carry out a task.

        Raises:
            TrainingError: if a loss is not finite and that ends a run.
        """
        parameters = dict(resolve(task.start))
        window = self._batch(task, torch.arange(len(task.samples)))
        optimizer = Sgd(self._spec.optimizer, task.version)
        contexts: dict[Objective, Context] = {}
        losses: list[Tensor] = []
        for stint in task.stints:
            objective = stint.objective
            context = contexts[objective] = self._prepared(task, objective, parameters, window)
            names = [n for group in objective.groups(self._network) for n in self._network.groups[group]]
            for step, positions in enumerate(batch_positions(self._seed, task, stint, self._spec.batch_size)):
                batch = self._batch(task, torch.from_numpy(positions))
                leaves = {name: parameters[name].detach().requires_grad_() for name in names}
                loss = objective.loss(self._network, {**parameters, **leaves}, batch, context)
                gradients = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
                with torch.no_grad():
                    modulated = objective.modulate(
                        self._network,
                        dict(zip(names, gradients, strict=True)),
                        parameters,
                        batch,
                        context,
                        self._noise(task, stint, stint.first_step + step),
                    )
                parameters |= optimizer.step(leaves, modulated)
                losses.append(loss.detach())
        mean_loss = float(torch.stack(losses).mean()) if losses else 0.0  # a probe takes no step
        if self._spec.on_divergence == "stop" and not math.isfinite(mean_loss):
            raise TrainingError(diverged(task.label, mean_loss))
        report: dict[str, Mapping[str, Tensor]] = {}
        with torch.no_grad():
            for objective, context in contexts.items():
                report |= objective.report(self._network, parameters, window, context)
        return Trained(parameters, report, mean_loss)

    def _prepared(self, task: Task, objective: Objective, parameters: Parameters, window: Batch) -> Context:
        context = Context(task.received, task.broadcast)
        with torch.no_grad():
            prepared = objective.prepare(self._network, parameters, window, context)
        return Context(task.received, task.broadcast, prepared)

    def _noise(self, task: Task, stint: LocalSteps, step: int) -> Noise:
        """Return a source of normal numbers that belongs to one step; drawn on the CPU, so the same on every device."""

        @cache
        def generator() -> torch.Generator:
            return noise_generator(self._seed, task, stint, step)

        def noise(like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=generator()).to(like.device)

        return noise

    def _batch(self, task: Task, positions: Tensor) -> Batch:
        device = self._labels.device
        index = torch.from_numpy(task.samples)[positions].to(device)
        modalities = {m for stint in task.stints for m in stint.objective.modalities}
        inputs = {m: self._inputs[m][index] for m in self._network.modalities if m in modalities}
        return Batch(inputs, self._labels[index], positions.to(device))
