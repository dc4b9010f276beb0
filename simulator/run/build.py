"""Builds runs: the one place where data sets are loaded, clients and worlds drawn, networks built.

testbed = build_testbed(scenario)           # shared by all methods of the scenario: data set, clients, world
ingredients = testbed.ingredients(options)  # one run's: the method and its network besides
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from interlude.models.inputs import Samples
from interlude.models.network import Network, Parameters
from interlude.simulator.arrays import Indices
from interlude.simulator.data.dataset import Dataset, selected, to_device
from interlude.simulator.data.loading import check_memory, load_dataset
from interlude.simulator.data.missing import with_missing
from interlude.simulator.data.partition import hold_modalities, num_served, partition, partition_files
from interlude.simulator.data.validation import validation_part
from interlude.simulator.federation.setting import Population
from interlude.simulator.files import short_names
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.own_code.errors import blaming
from interlude.simulator.own_code.foreign import file_of
from interlude.simulator.randomness import Stream, torch_seed
from interlude.simulator.run.limits import check_population
from interlude.simulator.run.spec import RunSpec
from interlude.simulator.scenario import checks
from interlude.simulator.scenario.registry import method_class
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.training.evaluation import EvaluationSets, evaluation_subset
from interlude.simulator.training.executors.batched import BatchedExecutor
from interlude.simulator.training.executors.executor import Executor
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.executors.strategy import choose_strategy
from interlude.simulator.training.executors.timing_only import TimingOnlyExecutor
from interlude.simulator.training.profile.costs import joint_flops_per_sample
from interlude.simulator.training.spec import ExecutorSpec
from interlude.simulator.training.workers.pool import WorkerPool
from interlude.simulator.world.compute import ComputePerSampleSpec
from interlude.simulator.world.world import World

SEQUENTIAL = "one client after the other"
"""The name of training by the sequential reference."""


@dataclass(frozen=True, eq=False)
class Ingredients:
    """Everything that one run needs, built before it starts."""

    dataset: Dataset
    population: Population
    """Who holds what."""
    network: Network
    """The network that the method trains."""
    world: World
    method: Method
    validation: Indices
    """The training samples of the validation part."""


@dataclass(frozen=True, eq=False)
class Testbed:
    """The ingredients that all methods of a scenario share."""

    scenario: Scenario
    dataset: Dataset
    population: Population
    """Who holds what."""
    network: Network
    """The scenario's network; a method may add parts of its own."""
    world: World
    validation: Indices
    """The training samples of the validation part."""
    note: str | None = None
    """What a user should know of it; None: nothing."""

    def ingredients(self, options: MethodOptions) -> Ingredients:
        """Return the ingredients of one method's run."""
        with blaming_method(options):
            method = method_class(options.name)(options)
            network = method.network(self.scenario.model, self.dataset.inputs, self.dataset.num_classes)
        return Ingredients(self.dataset, self.population, network, self.world, method, self.validation)


def blaming_method(options: MethodOptions) -> AbstractContextManager[None]:
    """Turn an error in a method of a user's own into one sentence, as long as nothing has run."""
    return blaming(f"method '{options.name}'", is_own=":" in options.name)


def build_testbed(scenario: Scenario, *, timing_only: bool = False) -> Testbed:
    """Return the testbed that all methods of a scenario share.

    Args:
        scenario: the scenario.
        timing_only: whether nothing is trained; then more clients than a data set serves hold its shards in turn.

    Raises:
        BadInputError: if a file of the data set is missing or damaged, the scenario does not fit its data set, or the
            clients cannot be drawn or are more than the scenario's limits allow.
    """
    dataset = load(scenario, timing_only=timing_only)
    check_population(scenario, dataset.num_stored)
    spec, num_clients = scenario.data.partition, scenario.clients.count
    validation = validation_part(scenario.evaluate.validation, spec, dataset, num_clients, scenario.seed)
    served = num_served(spec, dataset, num_clients, validation) if timing_only else num_clients
    population = _population(scenario, dataset, validation, served)
    network = Network(scenario.model, dataset.inputs, dataset.num_classes)
    checks.check_network(scenario, network)
    flops = None
    if isinstance(scenario.world.compute, ComputePerSampleSpec):
        # the devices are the same for all methods, so their speed is that of the scenario's own mini-batches
        flops = joint_flops_per_sample(network, scenario.training.batch_size)
    world = World(scenario.world, scenario.seed, population.num_clients, dataset.modalities, flops)
    note = None
    if served < num_clients:
        note = (
            f"{scenario.name}: {num_clients:,} clients hold {served:,} shards of '{scenario.data.dataset}' in turn, as "
            "it has too few samples for one each, and nothing is trained"
        )
    return Testbed(scenario, dataset, population, network, world, validation, note)


def load(scenario: Scenario, *, timing_only: bool = False) -> Dataset:
    """Return the data set of a scenario, once the two are checked against each other.

    Args:
        scenario: the scenario.
        timing_only: whether nothing is trained.

    Raises:
        BadInputError: if a file is missing or damaged, or the scenario does not fit.
    """
    data, memory_bytes = scenario.data, scenario.limits.memory_gb * 1e9
    check_memory(data, memory_bytes)
    dataset = load_dataset(data, scenario.seed)
    dataset = with_missing(dataset, data.missing or {}, data.seed_of(scenario.seed), memory_bytes)
    checks.check(scenario, dataset, timing_only=timing_only)
    return dataset


def files_of(scenario: Scenario, dataset: Dataset) -> dict[str, Path]:
    """Return the location of every input file of a scenario's runs, by a name that it keeps when all are moved."""
    modules = filter(None, (file_of(own.name) for own in scenario.model.own_modules().values()))
    read = (*dataset.files, *partition_files(scenario.data.partition, scenario.clients.count), *modules)
    located = {**{file: file for file in read}, **scenario.files()}
    return {name: located[given] for name, given in short_names(located).items()}


def _population(scenario: Scenario, dataset: Dataset, validation: Indices, num_shards: int) -> Population:
    clients = scenario.clients
    shards = partition(scenario.data.partition, dataset, num_shards, scenario.seed, validation)
    if num_shards < clients.count:
        shards = [shards[client % num_shards] for client in range(clients.count)]
    held = hold_modalities(
        clients.multimodal_fraction, dataset.modalities, len(shards), scenario.seed, clients.modalities
    )
    return Population(shards, held)


def executor_and_model(
    spec: RunSpec, ingredients: Ingredients, workers: WorkerPool | None
) -> tuple[Executor, Parameters]:
    """Return the executor of a run, and version 0 of the model."""
    scenario, device, network, dataset = spec.scenario, spec.device, ingredients.network, ingredients.dataset
    if spec.timing_only:
        return TimingOnlyExecutor(), network.shapes
    train, sets = to_device(dataset.train, device), _evaluation_sets(spec, ingredients)
    generator = torch.Generator().manual_seed(torch_seed(Stream(scenario.seed, "model")))
    model = network.initial_parameters(generator, device)
    if scenario.executor.kind == "sequential":
        return SequentialExecutor(network, spec.training, scenario.seed, train, sets), model
    strategy = choose_strategy(scenario.executor, network, device, spec.training.batch_size)
    help_here = workers if device.type == "cpu" else None
    executor = BatchedExecutor(network, spec.training, scenario.seed, train, sets, strategy, help_here)
    return executor, network.layout.pack(model)


def _evaluation_sets(spec: RunSpec, ingredients: Ingredients) -> EvaluationSets:
    """Return the samples that a run's models are evaluated on, on its device."""
    dataset, validation = ingredients.dataset, ingredients.validation

    def evaluated(samples: Samples) -> Samples:
        subset = evaluation_subset(samples, spec.scenario.evaluate.samples, spec.scenario.seed)
        return to_device(subset, spec.device)

    held_out = evaluated(selected(dataset.train, validation)) if len(validation) else None
    return EvaluationSets(evaluated(dataset.test), held_out, _references(spec, ingredients))


def _references(spec: RunSpec, ingredients: Ingredients) -> Samples | None:
    """Return the training samples whose class means classify the test samples, if that is asked for."""
    train, num_samples = ingredients.dataset.train, spec.scenario.evaluate.nearest_mean_samples
    if num_samples is None:
        return None
    candidates = np.setdiff1d(np.arange(len(train[1])), ingredients.validation)
    drawn = Stream(spec.scenario.seed, "nearest-mean").generator().permutation(candidates)[:num_samples]
    return to_device(selected(train, np.sort(drawn)), spec.device)


def how_trained(spec: ExecutorSpec, network: Network, device: torch.device, batch_size: int) -> tuple[str, str]:
    """Return the name of a scenario's way of training on a device, and the reason for it."""
    if spec.kind == "sequential":
        return SEQUENTIAL, "as the scenario says"
    strategy = choose_strategy(spec, network, device, batch_size)
    return strategy.label, strategy.reason
