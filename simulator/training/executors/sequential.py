"""The sequential executor: trains one client after the other; the plain reference for the others."""

import math
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from interlude.models.inputs import Samples, taken
from interlude.models.network import Network, Parameters
from interlude.simulator.errors import DivergedError
from interlude.simulator.training.batches import BatchOrders
from interlude.simulator.training.evaluation import EvaluationSets, evaluate
from interlude.simulator.training.executors.base import EvaluationFuture, TrainingExecutor, TrainingFuture
from interlude.simulator.training.objective import Batch, Context, Noise, Objective
from interlude.simulator.training.optimizer import Sgd
from interlude.simulator.training.spec import TrainingSpec
from interlude.simulator.training.task import (
    LocalSteps,
    Task,
    Trained,
    diverged,
    noise_generator,
    resolve,
)
from interlude.simulator.training.transfer import all_to_device, to_device
from interlude.simulator.training.values import Named


class SequentialExecutor(TrainingExecutor):
    """Trains tasks one after the other, each when its result is first needed.

    Args:
        network: the network.
        spec: batch size and optimiser.
        seed: the run's seed, for the order of batches.
        train: the training set.
        sets: the samples that models are evaluated on.
    """

    def __init__(self, network: Network, spec: TrainingSpec, seed: int, train: Samples, sets: EvaluationSets) -> None:
        super().__init__()
        self._network = network
        self._spec = spec
        self._seed = seed
        self._orders = BatchOrders(seed, spec.batch_size)
        self._inputs, self._labels = train
        self._sets = sets

    def ensure_computed(self, future: TrainingFuture) -> None:
        """Train the task of a future."""
        if not future.is_done:
            future.fulfil(self.train(future.task))

    def evaluate(self, model: Parameters) -> EvaluationFuture:
        """Return the future of a model's metrics, computed at once."""
        future = EvaluationFuture(self, model)
        future.ensure_computed()
        return future

    def ensure_evaluated(self, future: EvaluationFuture) -> None:
        """Evaluate the model of a future."""
        if future.model is not None:
            future.fulfil(evaluate(self._network, future.model, self._sets))

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def train(self, task: Task) -> Trained:
        """Train a task.

        Raises:
            DivergedError: if a loss is not finite and the scenario stops the run then.
        """
        parameters = dict(resolve(task.start))
        window = self._batch(task, torch.arange(len(task.samples)))
        optimizer = Sgd(self._spec.optimizer, task.version, task.latest)
        contexts: dict[Objective, Context] = {}
        losses: list[Tensor] = []
        for steps in task.local_steps:
            objective = steps.objective
            with torch.no_grad():
                parameters |= objective.begin(self._network, parameters, window, Context(task.latest, task.broadcast))
            context = contexts[objective] = self._prepared(task, objective, parameters, window)
            names = objective.trained(self._network)
            for step, positions in enumerate(self._orders.batches(task, steps).each()):
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
                        self._noise(task, steps, steps.first_step + step),
                    )
                    carried = objective.carry(
                        self._network, dict(zip(names, gradients, strict=True)), parameters, batch, context
                    )
                if carried:
                    context = contexts[objective] = replace(context, prepared={**context.prepared, **carried})
                parameters |= optimizer.step(leaves, modulated, mu=steps.proximal, scale=steps.learning_rate_scale)
                losses.append(loss.detach())
        mean_loss = float(torch.stack(losses).mean()) if losses else 0.0  # a probe takes no step
        if self._spec.on_divergence == "stop" and not math.isfinite(mean_loss):
            raise DivergedError(diverged(task.label, mean_loss))
        report: dict[Named, Tensor] = {}
        with torch.no_grad():
            for objective, context in contexts.items():
                report |= objective.report(self._network, parameters, window, context)
        return Trained(parameters, task.received, report, mean_loss)

    def _prepared(self, task: Task, objective: Objective, parameters: Parameters, window: Batch) -> Context:
        context = Context(task.latest, task.broadcast)
        with torch.no_grad():
            prepared = objective.prepare(self._network, parameters, window, context)
        return Context(task.latest, task.broadcast, prepared)

    def _noise(self, task: Task, steps: LocalSteps, step: int) -> Noise:
        """Return a source of normal numbers that belongs to one step; drawn on the CPU, so the same on every device."""

        @cache
        def generator() -> torch.Generator:
            return noise_generator(self._seed, task, steps, step)

        def noise(like: Tensor) -> Tensor:
            return to_device(torch.randn(like.shape, generator=generator()), like.device)

        return noise

    def _batch(self, task: Task, positions: Tensor) -> Batch:
        at_host = {"index": torch.from_numpy(task.samples)[positions], "positions": positions}
        (sent,) = all_to_device([at_host], self._labels.device)
        index = sent["index"]
        modalities = {m for steps in task.local_steps for m in steps.objective.modalities}
        inputs = {m: taken(self._inputs[m], index) for m in self._network.modalities if m in modalities}
        return Batch(inputs, taken(self._labels, index), sent["positions"])
