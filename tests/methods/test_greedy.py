"""Greedy on a linear head: speeds, when and whom a client curates, what a curation shows, and what it equals."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from interlude import parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.greedy import Curated, Greedy, GreedyOptions, log_ratios
from interlude.simulator.training.evaluation import EvaluationSets
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.objective import Batch, Context, CrossEntropy
from interlude.simulator.training.spec import OptimizerSpec, TrainingSpec
from interlude.simulator.training.task import LocalSteps, Task
from interlude.simulator.training.values import Named

BOTH = ("gray", "color")
LEFT = Named("curation_steps_left")


def batch_of(gray, color, mask=None):
    labels = torch.zeros(len(gray), dtype=torch.long)
    inputs = {"gray": torch.tensor(gray), "color": torch.tensor(color)}
    return Batch(inputs, labels, torch.arange(len(gray)), mask)


def prepared(network, **changes):
    """What a client carries after nothing, but for e.g. ``main_gray=2.0``."""
    values = dict(Greedy(GreedyOptions()).initial_memory(network, 1).first)
    for name, value in changes.items():
        if name == "left":
            values[LEFT] = torch.tensor(value)
        else:
            short, _, modality = name.rpartition("_")
            full = {"main": "main_speed", "bypass": "bypass_speed", "mean": "mean_feature", "count": "feature_count"}
            values[Named(full.get(short, short), modality)] = torch.tensor(value)
    return values


def carried(network, parameters, gradients, *, threshold=0.01, may_curate=True, batch=None, **changes):
    objective = Curated(BOTH, threshold, 5, may_curate)
    batch = batch_of([[1.0, 0.0]], [[0.0, 1.0]]) if batch is None else batch
    context = Context(parameters, prepared=prepared(network, **changes))
    return objective.carry(network, gradients, parameters, batch, context)


def gradients_of(parameters, **values):
    """Gradients of one number in each part, e.g. ``encoder_gray=2.0``, others 0."""
    of = {part.replace("_", "."): value for part, value in values.items()}
    return {name: torch.full_like(v, of.get(".".join(name.split(".")[:2]), 0.0)) for name, v in parameters.items()}


def speeds(values):
    return {(key.name[:4], key.modality): v.item() for key, v in values.items() if key.name.endswith("_speed")}


# --- speeds and when a client curates --------------------------------------------------------------------------------


def test_speeds_by_hand(identity):
    # an encoder has 2 matrices [2, 2] and 2 biases: 12 gradients of 2 are 48, its weights 4 ones: 48 / 4 = 12;
    # a slice has 4 gradients of 1, and 2 ones: 4 / 2 = 2
    network, parameters = identity
    values = carried(
        network,
        parameters,
        gradients_of(parameters, encoder_gray=2.0, head_gray=1.0, encoder_color=1.0, head_color=3.0),
        main_gray=1.0,
    )
    assert speeds(values) == {("main", "gray"): 13.0, ("bypa", "gray"): 2.0, ("main", "color"): 3.0,
                              ("bypa", "color"): 18.0}  # fmt: skip
    # s_gray = log10(2 / 13) is less than s_color = log10(6): color is favoured for 5 steps
    s = log_ratios(
        *({m: values[Named(name, m)] for m in BOTH} for name in ("bypass_speed", "main_speed"))
    )  # fmt: skip
    assert s.tolist() == pytest.approx([math.log10(2 / 13), math.log10(6)])
    assert values[LEFT].item() == 5.0
    assert [values[Named("favoured", m)].item() for m in BOTH] == [0.0, 1.0]


@pytest.mark.parametrize("limit", [{"threshold": 10.0}, {"may_curate": False}], ids=str)
def test_close_speeds_and_the_warm_up_start_nothing(identity, limit):
    network, parameters = identity
    gradients = gradients_of(parameters, encoder_gray=2.0, head_gray=1.0, encoder_color=1.0, head_color=3.0)
    values = carried(network, parameters, gradients, **limit)
    assert values[LEFT].item() == 0.0
    assert speeds(values)["main", "gray"] == 12.0


def test_a_curation_lasts_its_steps_and_nothing_is_measured_in_it(identity):
    network, parameters = identity
    gradients = gradients_of(parameters, encoder_gray=2.0, head_gray=9.0, encoder_color=1.0, head_color=3.0)
    before = {"main_gray": 1.0, "bypass_gray": 2.0, "main_color": 3.0, "bypass_color": 4.0, "favoured_color": 1.0}
    for left in (5.0, 1.0):
        values = carried(network, parameters, gradients, left=left, **before)
        assert values[LEFT].item() == left - 1
        assert list(speeds(values).values()) == [1.0, 3.0, 2.0, 4.0]
        assert [values[Named("favoured", m)].item() for m in BOTH] == [0.0, 1.0]


def test_each_mean_is_of_its_own_modality_and_padding_does_not_count(identity):
    network, parameters = identity
    batch = batch_of([[1.0, 0.0], [3.0, 0.0], [9.0, 9.0]], [[0.0, 5.0]] * 3, torch.tensor([1.0, 1.0, 0.0]))
    changes = {"mean_gray": [6.0, 3.0], "count_gray": 2.0, "mean_color": [0.0, 0.0], "count_color": 0.0}
    values = carried(network, parameters, gradients_of(parameters), batch=batch, **changes)
    # gray: (2 * (6, 3) + (2, 0)) / 3
    assert values[Named("mean_feature", "gray")].tolist() == pytest.approx([14 / 3, 2.0])
    assert values[Named("mean_feature", "color")].tolist() == [0.0, 5.0]
    assert values[Named("feature_count", "gray")].item() == 3.0


def test_in_a_curation_the_favoured_modality_alone_tells_the_samples_apart(identity):
    network, parameters = identity
    batch = batch_of([[1.0, 0.0], [4.0, 0.0]], [[0.0, 1.0], [2.0, 0.0]])
    leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    changes = {"favoured_gray": 1.0, "mean_color": [0.5, 2.5], "left": 3.0}
    context = Context(parameters, prepared=prepared(network, **changes))
    loss = Curated(BOTH, 0.01, 5, may_curate=True).loss(network, leaves, batch, context)
    # margins of class 0: 1 + 0.5 - 2.5 and 4 + 0.5 - 2.5
    assert loss.item() == pytest.approx((math.log(1 + math.e) + math.log(1 + math.exp(-2))) / 2)
    gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True), strict=True))
    trained = {name.rsplit(".", 1)[0] for name, gradient in gradients.items() if gradient.abs().sum() > 0}
    assert not any(name.startswith("encoder.color") for name in trained)
    assert {"head.gray", "head.color"} <= {".".join(name.split(".")[:2]) for name in trained}
    outside = Context(parameters, prepared=prepared(network, favoured_gray=1.0, mean_color=[0.5, 2.5]))
    plain = CrossEntropy(BOTH).loss(network, parameters, batch, outside)
    assert Curated(BOTH, 0.01, 5, may_curate=True).loss(network, parameters, batch, outside).item() == plain.item()


def test_a_curation_in_favour_of_a_modality_that_misses_is_over():
    """Of a, b and c a client curates in favour of c, which is away today; then in favour of a alone, not of c, too."""
    network = Network(ModelSpec(encoder="mlp", width=2), dict.fromkeys("abc", (2,)), num_classes=2)
    model = network.initial_parameters(torch.Generator().manual_seed(0), torch.device("cpu"))
    batch = Batch({m: torch.ones(2, 2) for m in "ab"}, torch.tensor([0, 1]), torch.arange(2))
    objective = Curated(("a", "b"), 0.01, 5, may_curate=True)
    context = Context(model, prepared(network, favoured_c=1.0, left=3.0))
    carried = objective.prepare(network, model, batch, context)
    assert carried[LEFT].item() == 0.0
    gradients = gradients_of(model, encoder_a=1.0, head_a=9.0, encoder_b=9.0, head_b=1.0)
    carried |= objective.carry(network, gradients, model, batch, Context(model, prepared=carried))
    assert carried[LEFT].item() == 5.0
    assert [carried[Named("favoured", m)].item() for m in "abc"] == [1.0, 0.0, 0.0]
    goes_on = Context(model, prepared(network, favoured_a=1.0, left=3.0))
    assert objective.prepare(network, model, batch, goes_on)[LEFT].item() == 3.0


def test_a_curation_starts_with_the_step_after_its_measurement_and_goes_on_in_the_next_local_round():
    network = Network(ModelSpec(encoder="mlp", width=4), {"gray": (3,), "color": (2,)}, num_classes=3)
    generator = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(12, *given.shape, generator=generator) for m, given in network.inputs.items()}
    samples = inputs, torch.randint(3, (12,), generator=generator)
    model = network.initial_parameters(generator, torch.device("cpu"))
    method = Greedy(GreedyOptions())
    training = TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=0.1))
    executor = SequentialExecutor(network, training, 0, samples, EvaluationSets(samples))
    memory = method.initial_memory(network, 1)
    left, unmeasured = [], []
    for window in range(3):
        steps = (LocalSteps(Curated(BOTH, 0.0, 5, may_curate=True), 3, "joint"),)
        values = method.own_values(memory, 0)
        trained = executor.submit(Task(0, window, 0, steps, np.arange(12), model, model, values)).result()
        left.append(trained.report[LEFT].item())
        unmeasured.append(trained.report[Named("main_speed", "gray")].item())
        memory = memory._replace(own={0: trained.report})
    # nine steps: measured in the first, which leaves 5; 4, 3 | 2, 1, 0 | measured, 5; 4, 3
    assert left == [3.0, 0.0, 3.0]
    assert unmeasured[0] == unmeasured[1] < unmeasured[2]


# --- whole runs ------------------------------------------------------------------------------------------------------


def test_before_curation_it_is_fedavg_and_nothing_more_travels(scenario_with, tmp_path):
    given = scenario_with({"until": {"versions": 3}, "evaluate.every_s": 1000})
    methods = [{"name": "fedavg"}, {"name": "greedy", "label": "warm", "warm_up": 3}, {"name": "greedy"}]
    records = run_scenario(parse_scenario({**given, "methods": methods}), runs=tmp_path)
    fedavg, warm, greedy = (record.metrics.drop(columns="time_s") for record in records)
    pd.testing.assert_frame_equal(fedavg, warm)
    assert not fedavg.equals(greedy)
    for sent in ("download", "upload"):
        assert len({r.timeline.query(f"activity == '{sent}'")["bytes"].unique().item() for r in records}) == 1
