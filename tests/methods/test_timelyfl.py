"""TimelyFL: deadlines and shares on paper times, means of each parameter, frozen layers, what is paid and sent."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from paper_world import play
from updates import NAMES, model_of, update_of

from interlude import parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.timelyfl import (
    OutputSide,
    TimelyFL,
    TimelyFLOptions,
    layers_of,
    num_bytes,
)
from interlude.simulator.training.evaluation import EvaluationSets
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.executors.strategy import Strategy
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.profile.costs import shared_costs
from interlude.simulator.training.spec import OptimizerSpec, TrainingSpec
from interlude.simulator.training.stacked.trainer import StackedTrainer
from interlude.simulator.training.task import LocalSteps, Task

NETWORK = Network(ModelSpec(encoder="mlp", width=5), {"gray": (4,), "color": (3,)}, num_classes=3)
MODALITIES = ("gray", "color")


def trained_of(value, names, **changes):
    return replace(update_of(value, **changes), message=tuple(names))


def test_a_parameter_is_the_mean_over_the_clients_that_trained_it():
    """encoder.a: 20 of 1 sample and 40 of 3: 35; encoder.b: 40 alone; the rest by nobody, whatever was uploaded."""
    updates = [trained_of(20.0, NAMES[:1], num_samples=1), trained_of(40.0, NAMES[:2], num_samples=3)]
    merged = TimelyFL(TimelyFLOptions()).merge(model_of(10.0), None, updates)
    assert [merged[name].item() for name in NAMES] == [35.0, 40.0, 10.0, 10.0]


@pytest.mark.parametrize(("num_frozen", "first_trained"), [(0, "layers.1.weight"), (1, "layers.3.weight"), (2, None)])
def test_layers_are_frozen_from_the_input_side_and_the_head_never(num_frozen, first_trained):
    objective = OutputSide(MODALITIES, num_frozen, 2)
    names = objective.trained(NETWORK)
    first = next((name for name in names if name.startswith("encoder.gray")), None)
    assert first == (first_trained and f"encoder.gray.{first_trained}")
    assert {"head.bias", "head.gray.weight", "head.color.weight"} <= set(names)
    assert ("encoder.gray" in objective.groups(NETWORK)) == (first is not None)
    assert [len(layer) for layer in layers_of(NETWORK, "gray")] == [2, 2]


def test_a_frozen_layer_saves_its_part_of_the_backward_pass_and_no_forward_pass():
    """Forward: 2 x (20 + 25 + 15) FLOPs a sample for gray, 2 x (15 + 25 + 15) for color; 230 in all.

    Backward of a layer [o, i]: 2 o i for the weights, 2 o i for its input, but none for the first trained layer's: all
    layers 2 x 230 - 70; without the first layers the head's and two middle ones', 2 x 160 - 100; the head alone: 60.
    """
    costs = shared_costs(NETWORK, 1, {})
    flops = [costs.step(OutputSide(MODALITIES, frozen, 2), 1).flops for frozen in range(3)]
    assert flops == [230 + 390, 230 + 220, 230 + 60]
    assert flops[0] == costs.step(CrossEntropy(MODALITIES), 1).flops


def test_the_payload_is_of_the_trained_parameters():
    # gray: 25 + 5; color: 25 + 5; head: 15 + 15 + 3; 4 bytes each
    assert num_bytes(NETWORK, OutputSide(MODALITIES, 1, 2).trained(NETWORK)) == (30 + 30 + 33) * 4


AT_ONCE = {"gray": (0.0,) * 3, "color": (0.0,) * 3}


def spans(played, client, activity):
    return [(start_s, end_s) for k, what, start_s, end_s, *_ in played.spans if (k, what) == (client, activity)]


def test_the_fast_repeat_and_the_slow_freeze_until_the_deadline():
    """Whole rounds take 1 + 2 s + 1: clients 0, 1, 2 with mini-batches of 2, 4 and 6 s: 4, 6 and 8 s; T = 6 s.

    Probes of 1 + 2 s + 1 are over at 8 s. Client 0 has 6 - 2 = 4 s for trainings of 2 s: two. Client 1: one. Client 2
    has 4 s for what takes it 6: its first layers are frozen. All are back by 14 s, and merged; the next round's probes
    end at 22 s.
    """
    played = play({"name": "timelyfl", "target": 0.6}, 28.0, delays_s=AT_ONCE, step_s=(1.0, 2.0, 3.0))
    assert [end_s - start_s for start_s, end_s in spans(played, 0, "train")] == [2, 4, 2, 4]
    assert [end_s - start_s for start_s, end_s in spans(played, 1, "train")] == [4, 4, 4, 4]
    (probe, (start_s, end_s), *_) = spans(played, 2, "train")
    assert probe == (1, 7)
    assert 2 < end_s - start_s <= 4
    assert {(client, at_s) for client, at_s, *_ in played.merges} == {(k, at) for k in range(3) for at in (14, 28)}
    assert {staleness for *_, staleness in played.merges} == {0}


def test_a_client_late_with_the_head_alone_is_dropped_and_waits_for_nobody():
    """Client 2 takes 60 s for a mini-batch, of which a forward pass is more than T = 6 s allow."""
    played = play({"name": "timelyfl", "target": 0.6}, 200.0, delays_s=AT_ONCE, step_s=(1.0, 2.0, 30.0))
    assert {client for client, *_ in played.merges} == {0, 1}
    assert sorted({at_s for _, at_s, *_ in played.merges})[:2] == pytest.approx([62 + 6, 68 + 6 + 6])


def test_waiting_for_data_counts_into_the_estimate():
    """Equal clients, data after 5 s: 5 + 2 + 1 = 8 s each, so nobody is late, freezes or repeats."""
    late = {"gray": (5.0,) * 3, "color": (5.0,) * 3}
    played = play({"name": "timelyfl"}, 12.0, delays_s=late, step_s=(1.0,) * 3)
    assert [end_s - start_s for start_s, end_s in spans(played, 0, "train")] == [2, 2]
    assert {(client, at_s) for client, at_s, *_ in played.merges} == {(k, 12) for k in range(3)}


def run(scenario_with, tmp_path, *methods, **changes):
    changes = {"clients.count": 4, "until": {"versions": 4}, "methods": list(methods), **changes}
    return run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, device="cpu")


def test_with_the_slowest_ones_deadline_and_one_epoch_it_trains_as_fedavg(scenario_with, tmp_path):
    """Windows alternate between probes and trainings, so clients have one window only: their whole shard."""
    changes = {
        "training.window_samples": None,
        "world.arrival.gray.per_client": {"distribution": "constant", "value_s": 2},
    }
    timely, fedavg = run(
        scenario_with, tmp_path, {"name": "timelyfl", "target": 1.0, "most_epochs": 1}, {"name": "fedavg"}, **changes
    )
    merged = [r.timeline.query("activity == 'merge'").groupby("version")["client"].agg(set) for r in (timely, fedavg)]
    pd.testing.assert_series_equal(*merged)
    trained = [
        r.timeline.query("activity == 'train' and flops > 0").groupby("client")["flops"].max() for r in (timely, fedavg)
    ]
    pd.testing.assert_series_equal(*trained)


def test_rounds_are_ended_by_the_method_alone():
    with pytest.raises(ValueError, match="TimelyFL ends its rounds itself"):
        TimelyFLOptions(server={"deadline_s": 5.0})


@pytest.mark.parametrize("executor_class", [SequentialExecutor, StackedTrainer])
def test_frozen_layers_neither_decay_nor_move_by_momentum_or_a_proximal_term(executor_class):
    generator = torch.Generator().manual_seed(0)
    samples = {m: torch.randn(20, size, generator=generator) for m, size in (("gray", 4), ("color", 3))}
    samples = samples, torch.arange(20) % 3
    model = NETWORK.layout.pack(NETWORK.initial_parameters(generator, torch.device("cpu")))
    start = NETWORK.layout.pack({name: value + 0.1 for name, value in model.items()})
    spec = TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=0.1, momentum=0.9, weight_decay=0.1))
    objective = OutputSide(MODALITIES, 1, 2)
    steps = LocalSteps(CrossEntropy(MODALITIES), 2, "first"), LocalSteps(objective, 3, "joint", proximal=0.5)
    tasks = [Task(k, 0, 0, steps[k:], np.arange(10 * k, 10 * k + 10), start, model) for k in range(2)]
    if executor_class is SequentialExecutor:
        executor = SequentialExecutor(NETWORK, spec, 0, samples, EvaluationSets(samples))
        _, partly = (executor.train(task).parameters for task in tasks)
    else:
        strategy = Strategy(stacks=True, group_size=64, reason="test")
        chains = StackedTrainer(NETWORK, spec, 0, samples, strategy).train([[task] for task in tasks])
        partly = chains[1][0].parameters
    moved = {name for name, value in partly.items() if not torch.equal(value, start[name])}
    assert moved == set(objective.trained(NETWORK))
