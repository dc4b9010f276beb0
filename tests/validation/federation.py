"""One run as server and clients each build it for themselves, by the simulator's own doors."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from host import Host

from interlude.models.network import Parameters
from interlude.simulator.federation.setting import Setting
from interlude.simulator.methods.base import Method
from interlude.simulator.run.build import Ingredients, Testbed, executor_and_model
from interlude.simulator.run.spec import RunSpec, run_specs
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.profile.costs import shared_costs
from interlude.simulator.training.values import num_bytes
from interlude.simulator.world.compute import ComputeSpec
from interlude.simulator.world.world import World

CPU = torch.device("cpu")
SEQUENTIAL = "executor={kind: sequential}"
"""A real client trains by itself, so the executor is the sequential one."""


@dataclass(frozen=True, eq=False)
class Federation:
    """One method's run."""

    spec: RunSpec
    ingredients: Ingredients
    setting: Setting
    executor: SequentialExecutor
    model: Parameters
    """Version 0."""

    @property
    def method(self) -> Method:
        """The method."""
        return self.ingredients.method

    def slow_factor(self, client: int, window: int, host: Host) -> float:
        """Return how many times slower than this host the scenario's device computes in a local round."""
        return self.ingredients.world.devices.s_per_flop(client, window) / host.speed.s_per_flop


def with_devices(testbed: Testbed, host: Host) -> Testbed:
    """Return a testbed whose devices are this host, slowed down as the scenario says."""
    scenario = with_devices_of(testbed.scenario, host)
    modalities, num_clients = testbed.dataset.modalities, testbed.population.num_clients
    return replace(
        testbed, scenario=scenario, world=World(scenario.world, scenario.seed, num_clients, modalities, None)
    )


def with_devices_of(scenario: Scenario, host: Host) -> Scenario:
    """Return a scenario with such devices.

    Raises:
        ValueError: if its devices are not given by their throughput.
    """
    compute = scenario.world.compute
    if not isinstance(compute, ComputeSpec):
        raise ValueError(f"{scenario.name}: the real federation takes devices given by their throughput_gflops")
    world = scenario.world.model_copy(update={"compute": host.devices(compute)})
    return scenario.model_copy(update={"world": world})


def federation(testbed: Testbed, position: int) -> Federation:
    """Return the run of a scenario's `position`-th method.

    Raises:
        ValueError: if the world interrupts clients, which the real federation does not.
    """
    spec = run_specs(testbed.scenario, Path(), CPU, timing_only=False)[position]
    ingredients = testbed.ingredients(spec.options)
    world, network, method = ingredients.world, ingredients.network, ingredients.method
    if not world.is_uninterrupted or spec.scenario.world.faults.dropout_probability or world.drops_windows:
        raise ValueError(f"{spec.scenario.name}: the real federation knows no faults, shared links and absent clients")
    executor, model = executor_and_model(spec, ingredients, None)
    assert isinstance(executor, SequentialExecutor), "the scenario is loaded with the sequential executor"
    memory = method.initial_memory(network, ingredients.population.num_clients)
    sent = {**method.broadcast(memory), **method.values_for(memory, 0)}
    costs = shared_costs(network, spec.training.batch_size, {**sent, **method.own_values(memory, 0)})
    setting = Setting(world, ingredients.population, network, spec.training, costs, spec.scenario.seed, num_bytes(sent))
    return Federation(spec, ingredients, setting, executor, model)
