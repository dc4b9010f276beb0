"""AGM: shares of the logits, coefficients, running means and modulated gradients by hand, and what it equals."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from interlude import parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.agm import AGM, AGMOptions, Modulated, coefficients
from interlude.simulator.methods.coalitions import coalitions, shapley_values
from interlude.simulator.training.batches import BatchOrders
from interlude.simulator.training.evaluation import EvaluationSets
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.executors.strategy import choose_strategy
from interlude.simulator.training.objective import Batch, Context, CrossEntropy
from interlude.simulator.training.profile.costs import CostModel
from interlude.simulator.training.spec import ExecutorSpec, OptimizerSpec, TrainingSpec
from interlude.simulator.training.stacked.trainer import StackedTrainer
from interlude.simulator.training.task import LocalSteps, Task
from interlude.simulator.training.values import Named

BOTH = ("gray", "color")


def scores(**values):
    return {m: torch.tensor(value) for m, value in values.items()}


def floats(tensors):
    return {m: value.item() for m, value in tensors.items()}


# --- coefficients ----------------------------------------------------------------------------------------------------


def test_coefficients_by_hand_and_that_the_two_signs_push_opposite_ways():
    # now gray leads by 0.5, usually by 0.1: rho = e^0.5 and e^-0.5, R = e^0.1 and e^-0.1
    now, usual = scores(gray=0.5, color=1.0), scores(gray=0.8, color=0.9)
    slowed, sped_up = math.exp(2 * (math.exp(0.1) - math.exp(0.5))), math.exp(2 * (math.exp(-0.1) - math.exp(-0.5)))
    assert slowed < 1 < sped_up
    assert floats(coefficients(now, usual, 2.0, "official")) == pytest.approx({"gray": slowed, "color": sped_up})
    assert floats(coefficients(now, usual, 2.0, "bmsfed")) == pytest.approx({"gray": sped_up, "color": slowed})


def test_a_modality_as_good_as_usual_is_left_alone_and_a_lead_is_cut_at_ten():
    assert floats(coefficients(scores(a=0.3, b=0.7), scores(a=0.3, b=0.7), 2.5, "official")) == {"a": 1.0, "b": 1.0}
    # R_a = e^3 = 20.1 and rho_a = e^-3: the difference counts as 10
    far = coefficients(scores(a=3.0, b=0.0), scores(a=0.0, b=3.0), 0.5, "official")
    assert far["a"].item() == pytest.approx(math.exp(5.0))


def test_with_three_modalities_each_is_compared_with_the_mean_of_the_others():
    # before the first mini-batch S = 0, so R = 1; a is 0.5 (0.4 + 0.6) - 0.2 = 0.3 ahead
    found = coefficients(scores(a=0.2, b=0.4, c=0.6), scores(a=0.0, b=0.0, c=0.0), 1.0, "official")
    assert found["a"].item() == pytest.approx(math.exp(1 - math.exp(0.3)))


def test_shares_are_marginal_contributions_and_sum_to_the_whole():
    # worth a 1, b 2, c 3, ab 5, ac 4, bc 6, abc 10. a: 1/3 of 1, 1/6 of ab - b = 3 and ac - c = 1, 1/3 of abc - bc = 4
    worth = dict(zip(coalitions("abc"), map(torch.tensor, (1.0, 2.0, 3.0, 5.0, 4.0, 6.0, 10.0)), strict=True))
    found = floats(shapley_values("abc", worth))
    assert found["a"] == pytest.approx(1 / 3 + 3 / 6 + 1 / 6 + 4 / 3)
    assert sum(found.values()) == pytest.approx(10.0)


# --- one mini-batch --------------------------------------------------------------------------------------------------


@pytest.fixture
def one_sample():
    """Encoders that return their input, a head that adds both features up and b = (1, -1); one sample of class 0."""
    network = Network(ModelSpec(encoder="mlp", width=2), dict.fromkeys(BOTH, (2,)), num_classes=2)
    parameters = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
    for name in parameters:
        if name.endswith("weight"):
            parameters[name] = torch.eye(2)
    parameters["head.bias"] = torch.tensor([1.0, -1.0])
    inputs = {"gray": torch.tensor([[2.0, 0.0]]), "color": torch.tensor([[0.0, 1.0]])}
    return network, parameters, Batch(inputs, torch.tensor([0]), torch.tensor([0]))


def context(parameters, gray=0.0, color=0.0, count=0.0):
    values = {("score", "gray"): gray, ("score", "color"): color, ("score_count", "gray"): count}
    values["score_count", "color"] = count
    return Context(parameters, prepared={Named(*key): torch.tensor(value) for key, value in values.items()})


def test_scores_share_the_bias_and_join_the_mean_after_the_step(one_sample):
    # o_gray = (2, 0) + (1, -1) / 2, margin 3: s = log(1 + e^-3); o_color = (0, 1) + (1, -1) / 2, margin 0: s = log 2
    network, parameters, batch = one_sample
    of = context(parameters, gray=0.7, color=0.1, count=3.0)
    carried = Modulated(BOTH, 1.0, "official").carry(network, {}, parameters, batch, of)
    assert {(key.name, key.modality): value.item() for key, value in carried.items()} == pytest.approx(
        {
            ("score", "gray"): (3 * 0.7 + math.log(1 + math.exp(-3))) / 4,
            ("score", "color"): (3 * 0.1 + math.log(2)) / 4,
            ("score_count", "gray"): 4.0,
            ("score_count", "color"): 4.0,
        }
    )


def test_the_gradient_of_each_share_is_scaled_and_the_loss_is_not(one_sample):
    network, parameters, batch = one_sample
    names = [*parameters]

    def loss_and_gradients(objective, of):
        leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
        loss = objective.loss(network, leaves, batch, of)
        return loss.item(), dict(zip(names, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    plain, unscaled = loss_and_gradients(CrossEntropy(BOTH), Context(parameters))
    loss, scaled = loss_and_gradients(Modulated(BOTH, 1.0, "official"), context(parameters, gray=0.5, color=0.4))
    now = scores(gray=math.log(1 + math.exp(-3)), color=math.log(2))
    ks = coefficients(now, scores(gray=0.5, color=0.4), 1.0, "official")
    assert loss == pytest.approx(plain)
    for name in names:
        k = (ks["gray"] + ks["color"]) / 2 if name == "head.bias" else ks[name.split(".")[1]]
        torch.testing.assert_close(scaled[name], k * unscaled[name])
    assert ks["gray"].item() != pytest.approx(1.0)


def test_gradients_are_clipped_together_where_the_heads_are_large():
    def clipped(encoder, head, most_gradient=1.0):
        given = {"encoder.gray.weight": torch.tensor([encoder]), "head.gray.weight": torch.tensor([head])}
        objective = Modulated(BOTH, 1.0, "official", most_gradient)
        found = objective.modulate(None, given, given, None, Context({}), torch.ones_like)
        return [value.item() for value in found.values()]

    assert clipped(3.0, -4.0) == pytest.approx([0.6, -0.8])
    assert clipped(3.0, 0.9) == pytest.approx([3.0, 0.9])  # an encoder's alone is not looked at
    assert clipped(3.0, 4.0, None) == [3.0, 4.0]


def test_the_mean_runs_over_the_mini_batches_each_scored_before_its_step():
    network = Network(ModelSpec(encoder="mlp", width=4), {"gray": (3,), "color": (2,)}, num_classes=3)
    generator = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(8, *given.shape, generator=generator) for m, given in network.inputs.items()}
    samples = inputs, torch.randint(3, (8,), generator=generator)
    model = network.initial_parameters(generator, torch.device("cpu"))
    method, objective = AGM(AGMOptions()), Modulated(BOTH, 2.5, "official")
    training = TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=0.5))
    executor = SequentialExecutor(network, training, 0, samples, EvaluationSets(samples))
    values = method.own_values(method.initial_memory(network, 1), 0)

    def trained(num_steps):
        steps = (LocalSteps(objective, num_steps, "joint"),)
        return executor.submit(Task(0, 0, 0, steps, np.arange(8), model, model, values)).result()

    after_one, after_two = trained(1), trained(2)
    at = (
        BatchOrders(0, 4)
        .batches(Task(0, 0, 0, (), np.arange(8), model, model), LocalSteps(objective, 2, "joint"))
        .each()
    )
    by_hand = []
    for positions, parameters in zip(at, (model, after_one.parameters), strict=True):
        features = network.features(parameters, {m: x[positions] for m, x in inputs.items()})
        share = network.classify(parameters, {"gray": features["gray"]}) - parameters["head.bias"] / 2
        by_hand.append(torch.nn.functional.cross_entropy(share, samples[1][positions]).item())
    assert after_two.report[Named("score", "gray")].item() == pytest.approx(np.mean(by_hand), rel=1e-5)
    assert after_two.report[Named("score_count", "color")].item() == 2.0


def test_clients_of_a_stack_carry_their_own_means_for_as_many_steps_as_they_have():
    # three and two mini-batches, the last of each smaller
    network = Network(ModelSpec(encoder="mlp", width=4), {"gray": (3,), "color": (2,)}, num_classes=3)
    generator = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(19, *given.shape, generator=generator) for m, given in network.inputs.items()}
    samples = inputs, torch.randint(3, (19,), generator=generator)
    model = network.initial_parameters(generator, torch.device("cpu"))
    training = TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=0.5))
    method = AGM(AGMOptions())
    values = method.own_values(method.initial_memory(network, 2), 0)

    def task(client, window, num_steps):
        steps = (LocalSteps(Modulated(BOTH, 2.5, "official"), num_steps, "joint"),)
        return Task(client, 0, 0, steps, window, model, model, values)

    tasks = [task(0, np.arange(7), 2), task(1, np.arange(7, 19), 3)]
    strategy = choose_strategy(ExecutorSpec(strategy="stacked"), network, torch.device("cpu"), 4)
    stacked = StackedTrainer(network, training, 0, samples, strategy).train([[task] for task in tasks])
    sequential = SequentialExecutor(network, training, 0, samples, EvaluationSets(samples))
    for (trained,), given, count in zip(stacked, tasks, (2.0, 3.0), strict=True):
        expected = sequential.train(given)
        assert trained.report.keys() == expected.report.keys()
        assert trained.report[Named("score_count", "gray")].item() == count
        for key, value in expected.report.items():
            torch.testing.assert_close(trained.report[key], value)
        torch.testing.assert_close(dict(trained.parameters), dict(expected.parameters))


def test_scores_are_paid_for():
    class Uncounted(Modulated):
        def carry(self, network, gradients, parameters, batch, context):
            return {}

    network = Network(ModelSpec(encoder="mlp", width=5), {"gray": (6,), "color": (4,)}, num_classes=3)
    method = AGM(AGMOptions())
    costs = CostModel(network, 4, method.own_values(method.initial_memory(network, 1), 0))
    # both encoders, and each slice of the head twice: alone and together
    scores_flops = 2 * 4 * (6 * 5 + 5 * 5 + 4 * 5 + 5 * 5 + 2 * (5 * 3 + 5 * 3))
    without, plain = (costs.step(of, 4).flops for of in (Uncounted(BOTH, 2.5, "official"), CrossEntropy(BOTH)))
    assert costs.step(Modulated(BOTH, 2.5, "official"), 4).flops == without + scores_flops
    assert without > plain


# --- whole runs ------------------------------------------------------------------------------------------------------

ROUNDS = {"until": {"versions": 3}, "evaluate.every_s": 1000}


def run(given, tmp_path, *methods, **options):
    return run_scenario(parse_scenario({**given, "methods": list(methods)}), runs=tmp_path, **options)


def test_without_strength_it_is_fedavg_and_the_scores_never_travel(scenario_with, tmp_path):
    fedavg, still, agm = run(
        scenario_with(ROUNDS),
        tmp_path,
        {"name": "fedavg"},
        {"name": "agm", "label": "0", "alpha": 0, "most_gradient": None},
        {"name": "agm"},
    )
    values = [record.metrics.drop(columns="time_s") for record in (fedavg, still, agm)]
    pd.testing.assert_frame_equal(values[0], values[1])
    assert not values[0].equals(values[2])
    for sent in ("download", "upload"):
        assert len({r.timeline.query(f"activity == '{sent}'")["bytes"].unique().item() for r in (fedavg, agm)}) == 1


def test_each_client_goes_on_with_its_own_means(scenario_with, tmp_path, monkeypatch):
    noted = []
    remember = AGM.remember

    def noting(method, memory, updates):
        noted.append(remember(method, memory, updates))
        return noted[-1]

    monkeypatch.setattr(AGM, "remember", noting)
    # one window of 32 samples is one mini-batch: after three rounds every S is the mean of three scores
    run(scenario_with(ROUNDS), tmp_path, {"name": "agm"}, workers=1)
    counts = [[memory.of(client)[Named("score_count", "gray")].item() for client in range(4)] for memory in noted]
    assert counts == [[float(version)] * 4 for version in (1, 2, 3)]
    assert len({memory.of(0)[Named("score", "gray")].item() for memory in noted}) == 3


@pytest.mark.parametrize(
    "switch",
    [{"server": {"rule": "on_arrival"}}, {"waiting": "first"}, {"sign": "bmsfed", "versions": 2}],
    ids=str,
)
def test_it_runs_under_every_server_and_waiting(switch, scenario_with, tmp_path):
    given = scenario_with({"clients.multimodal_fraction": 0.5, "until": {"versions": 5}})
    (record,) = run(given, tmp_path, {"name": "agm", **switch})
    assert record.metrics["value"].notna().all()
