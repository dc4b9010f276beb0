"""What a run is made of: device, network, executor, clients and world, from what its scenario says."""

import torch

from interlude.models.network import Network, Parameters
from interlude.simulator.data.dataset import Dataset, to_device
from interlude.simulator.data.partition import hold_modalities, partition
from interlude.simulator.errors import BadInputError
from interlude.simulator.federation.server import Population
from interlude.simulator.randomness import Stream, torch_seed
from interlude.simulator.run.spec import RunSpec
from interlude.simulator.scenario.loading import Scenario
from interlude.simulator.training.cost import joint_flops_per_sample
from interlude.simulator.training.evaluation import evaluation_subset
from interlude.simulator.training.executors.batched import BatchedExecutor
from interlude.simulator.training.executors.sequential import Executor, SequentialExecutor, TimingOnlyExecutor
from interlude.simulator.training.executors.strategy import ExecutorSpec, choose_strategy
from interlude.simulator.training.workers.pool import WorkerPool
from interlude.simulator.world.compute import ComputePerSampleSpec
from interlude.simulator.world.world import World

SEQUENTIAL = "one client after the other"
"""What training by the reference is called."""


def executor_and_model(
    part: RunSpec, network: Network, dataset: Dataset, crew: WorkerPool | None
) -> tuple[Executor, Parameters]:
    """Return who computes a run's results, and version 0 of the model."""
    scenario, device = part.scenario, part.device
    if part.timing_only:
        return TimingOnlyExecutor(), network.shapes
    subset = evaluation_subset(dataset.test, scenario.evaluate.samples, scenario.seed)
    train, test = to_device(dataset.train, device), to_device(subset, device)
    generator = torch.Generator().manual_seed(torch_seed(Stream(scenario.seed, "model")))
    model = network.initial_parameters(generator, device)
    if scenario.executor.kind == "sequential":
        return SequentialExecutor(network, scenario.training, scenario.seed, train, test), model
    strategy = choose_strategy(scenario.executor, network, device, scenario.training.batch_size)
    help_here = crew if device.type == "cpu" else None
    executor = BatchedExecutor(network, scenario.training, scenario.seed, train, test, strategy, help_here)
    return executor, network.layout.pack(model)


def how_trained(spec: ExecutorSpec, network: Network, device: torch.device, batch_size: int) -> tuple[str, str]:
    """Return what training is called that a scenario gets on a device, and why it gets it."""
    if spec.kind == "sequential":
        return SEQUENTIAL, "as the scenario says"
    strategy = choose_strategy(spec, network, device, batch_size)
    return strategy.label, strategy.reason


def world_of(scenario: Scenario, dataset: Dataset, num_clients: int) -> World:
    """Return the world of a scenario, which is the same for all of its methods."""
    flops = None
    if isinstance(scenario.world.compute, ComputePerSampleSpec):
        network = Network(scenario.model, dataset.inputs, dataset.num_classes)
        flops = joint_flops_per_sample(network, scenario.training.batch_size)
    return World(scenario.world, scenario.seed, num_clients, dataset.modalities, flops)


def populate(scenario: Scenario, dataset: Dataset) -> Population:
    """Return who holds what."""
    shards = partition(scenario.data.partition, dataset, scenario.clients.count, scenario.seed)
    clients = scenario.clients
    held = hold_modalities(
        clients.multimodal_fraction, dataset.modalities, len(shards), scenario.seed, clients.modalities
    )
    return Population(shards, held)


def choose_device(name: str) -> torch.device:
    """Return the training device.

    Raises:
        BadInputError: if it is not one, or not here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    kind, colon, index = name.partition(":")
    if kind != "cuda" or (colon and not index.isdecimal()):
        raise BadInputError(f"--device: must be one of auto, cpu, cuda, cuda:N; given '{name}'")
    if not torch.cuda.is_available():
        raise BadInputError(f"--device: '{name}' asked for, but PyTorch finds no CUDA device here; use auto or cpu")
    if colon and int(index) >= torch.cuda.device_count():
        raise BadInputError(
            f"--device: '{name}' asked for, but there are only {torch.cuda.device_count()} CUDA devices"
        )
    return torch.device(name)
