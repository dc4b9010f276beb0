"""FedAC: a merge's step and the control variates by hand, every step corrected, and everything sent twice."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from updates import GROUPS, NAMES, model_of, update_of

from interlude import parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.packed import pack
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.fedac import Controls, Corrected, FedAC, FedACOptions
from interlude.simulator.training.evaluation import EvaluationSets
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.executors.strategy import Strategy
from interlude.simulator.training.merge import Holders
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.spec import OptimizerSpec, TrainingSpec
from interlude.simulator.training.stacked.trainer import StackedTrainer
from interlude.simulator.training.task import LocalSteps, Task
from interlude.simulator.training.values import Named, named

HOLDERS = dict.fromkeys(GROUPS, Holders(8, 80))


def fedac(**options):
    return FedAC(FedACOptions(server={"learning_rate": 1.0}, **options))


def sent(client, value, *, control=0.0, length=0.5, **changes):
    """Return an update of a client that received a C of one number, after steps of learning rates of this sum."""
    update = update_of(value, **{"start": 10.0, **changes})
    report = named("control", {group: torch.tensor([control]) for group in update.groups})
    lengths = dict.fromkeys(update.groups, length)
    return replace(update, client=client, report=report, message=lengths, holders=HOLDERS)


def zeros():
    layout = pack(model_of(0.0)).layout
    flat = torch.zeros(layout.size)
    return Controls(flat, flat, {group: flat[at] for group, at in layout.group_columns.items()})


def numbers(model):
    return [round(model[name].item(), 4) for name in NAMES]


def test_two_merges_by_hand():
    """Fresh updates by 2 and 6 weigh 1/2 each: D = 4, m = 0.4 x 4 = 1.6, v = 0.1 x 16 = 1.6.

    Ahead is 0.6 x 1.6 + 1.6 = 2.56, and 10 + 2.56 / sqrt(1.6) = 12.0239. Then D = 0, by 1 and -1: m = 0.96, v = 1.44,
    ahead 0.576, and 12.0239 + 0.576 / 1.2 = 12.5039.
    """
    model, memory = fedac().advance(model_of(10.0), zeros(), [sent(0, 12.0), sent(1, 16.0)])
    assert numbers(model) == [12.0239] * 4
    model, memory = fedac().advance(model, memory, [sent(0, 11.0), sent(1, 9.0)])
    assert numbers(model) == [12.5039] * 4


def test_a_stale_update_weighs_by_the_direction_in_which_the_model_has_gone_since():
    """The model went from 5 to 10; a fresh update by 4 weighs 1.

    By 2 the same way: cos 1, D = 3, whatever its age. By -2 against it: cos -1, so 0.1 and D = (4 - 0.2) / 1.1.
    """

    def mean_step(value):
        stale = sent(1, value, start=5.0, staleness=9)
        _, memory = fedac().advance(model_of(10.0), zeros(), [sent(0, 14.0), stale])
        return memory.mean[0].item() / 0.4

    assert mean_step(7.0) == pytest.approx(3.0)
    assert mean_step(3.0) == pytest.approx(3.8 / 1.1)


def test_groups_that_no_update_trained_stand_still_with_their_moments():
    a = ("encoder.a", "head.bias")
    model, memory = fedac().advance(model_of(10.0), zeros(), [sent(0, 12.0, groups=a), sent(1, 16.0)])
    # encoder.b, c: D = 6 of the one that trained them: m = 2.4, v = 3.6, ahead 3.84: 10 + 3.84 / sqrt(3.6)
    assert numbers(model) == [12.0239, 12.0239, 12.0239, 12.0239]  # the same: every step is scaled by its own size
    assert [round(value, 4) for value in memory.mean[:4].tolist()] == [1.6, 2.4, 2.4, 1.6]
    (model, after) = fedac().advance(model, memory, [sent(0, 12.0, groups=a)])
    assert numbers(model)[1:3] == [12.0239] * 2
    assert after.mean[1] == memory.mean[1]


def test_control_variates_divide_by_the_steps_and_move_by_the_share_of_the_clients():
    """Five steps at 0.1, by 2 and 6: C_k' = -2 / 0.5 = -4 and -12. C: 2 of 8 clients, their mean -8: -2.

    Then client 0 goes by 1 from a C of -2: C_0' = -4 + 2 - 1 / 0.5 = -4, no change; C stays.
    """
    method = fedac()
    _, memory = method.advance(model_of(10.0), zeros(), [sent(0, 12.0), sent(1, 16.0)])
    assert [memory.own[client]["head.bias"].item() for client in (0, 1)] == [-4.0, -12.0]
    assert memory.control["head.bias"].item() == -2.0
    corrections = [method.own_values(memory, client)[Named("correction", "head.bias")].item() for client in (0, 1, 2)]
    assert corrections == [2.0, 10.0, -2.0]  # C - C_k; nothing of its own yet
    _, memory = method.advance(model_of(10.0), memory, [sent(0, 11.0, control=-2.0)])
    assert [memory.own[0]["head.bias"].item(), memory.control["head.bias"].item()] == [-4.0, -2.0]


def test_with_all_clients_in_a_buffer_of_equal_weights_c_is_the_mean_of_all_c_k():
    method, memory = fedac(), zeros()
    for values in ((12.0, 16.0, 9.0), (11.0, 5.0, 15.0)):
        control = memory.control["head.bias"].item()
        updates = [replace(sent(client, value, control=control), holders=dict.fromkeys(GROUPS, Holders(3, 30)))
                   for client, value in enumerate(values)]  # fmt: skip
        _, memory = method.advance(model_of(10.0), memory, updates)
        own = [memory.own[client]["head.bias"].item() for client in range(3)]
        assert memory.control["head.bias"].item() == pytest.approx(np.mean(own), abs=1e-5)


MODALITIES = ("gray", "color")


@dataclass(frozen=True)
class Tilted(CrossEntropy):
    """Cross-entropy plus c w, whose gradient is corrected by c in every step."""

    def loss(self, network, parameters, batch, context):
        flats = {name: network.layout.flattened(parameters[name], name) for name in parameters}
        tilt = sum((torch.cat([flats[name] for name in network.groups[group]]) * context.broadcast[key]).sum()
                   for group in self.groups(network) for key in [Named("correction", group)])  # fmt: skip
        return super().loss(network, parameters, batch, context) + tilt


@pytest.mark.parametrize("executor_class", [SequentialExecutor, StackedTrainer])
def test_every_step_is_corrected(executor_class):
    network = Network(ModelSpec(encoder="mlp", width=3), {"gray": (2,), "color": (2,)}, num_classes=2)
    generator = torch.Generator().manual_seed(0)
    samples = {m: torch.randn(30, 2, generator=generator) for m in MODALITIES}, torch.arange(30) % 2
    model = network.layout.pack(network.initial_parameters(generator, torch.device("cpu")))
    spec = TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=0.1))

    def trained(objective):
        tasks = []
        for client in range(3):
            sizes = {group: at.stop - at.start for group, at in network.layout.group_columns.items()}
            drawn = {
                group: torch.randn(size, generator=torch.Generator().manual_seed(client))
                for group, size in sizes.items()
            }
            values = {**named("correction", drawn), **named("control", drawn)}
            steps = (LocalSteps(objective, 5, "joint"),)
            tasks.append(Task(client, 0, 0, steps, np.arange(10 * client, 10 * client + 10), model, model, values))
        if executor_class is SequentialExecutor:
            executor = SequentialExecutor(network, spec, 0, samples, EvaluationSets(samples))
            return [executor.train(task) for task in tasks]
        strategy = Strategy(stacks=True, group_size=64, reason="test")
        return [one for (one,) in StackedTrainer(network, spec, 0, samples, strategy).train([[t] for t in tasks])]

    for one, other in zip(trained(Corrected(MODALITIES)), trained(Tilted(MODALITIES)), strict=True):
        torch.testing.assert_close(dict(one.parameters), dict(other.parameters), rtol=1e-5, atol=1e-6)
        assert {key.modality for key in one.report} == set(network.groups)


def run(scenario_with, tmp_path, *methods, **changes):
    changes = {"clients.count": 6, "until": {"versions": 6}, "methods": list(methods), **changes}
    return run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, device="cpu")


def test_weights_and_control_variates_travel_both_ways(scenario_with, tmp_path):
    both, fedbuff = run(
        scenario_with, tmp_path, {"name": "fedac"}, {"name": "fedbuff", "server": {"size": 5}},
        **{"clients.multimodal_fraction": 0.5},
    )  # fmt: skip
    for way, fixed in (("download", 0), ("upload", 8)):  # an upload has the number of samples once
        sizes = [r.timeline.query(f"activity == '{way}'").groupby("client")["bytes"].first() for r in (both, fedbuff)]
        pd.testing.assert_series_equal(sizes[0], 2 * (sizes[1] - fixed) + fixed)
    assert both.metrics["value"].notna().all()


def test_one_client_has_nothing_to_correct():
    memory, method = zeros(), fedac()
    for value in (12.0, 15.0, 11.0):
        control = memory.control["head.bias"].item()
        update = replace(sent(0, value, control=control), holders=dict.fromkeys(GROUPS, Holders(1, 10)))
        _, memory = method.advance(model_of(10.0), memory, [update])
        corrections = [value for key, value in method.own_values(memory, 0).items() if key.name == "correction"]
        assert not any(value.any() for value in corrections)
