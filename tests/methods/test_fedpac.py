"""FedPAC: weights of heads, statistics, both phases of training by hand, own heads, and what travels."""

import math

import numpy as np
import pytest
import torch

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.fedpac.collaboration import head_weights
from interlude.simulator.methods.fedpac.method import FedPAC, FedPACOptions
from interlude.simulator.methods.fedpac.objective import EncodersAlone, HeadAlone
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Batch, Context
from interlude.simulator.training.values import Named

BOTH = ("gray", "color")


def weights(variances, *means):
    return head_weights(np.array(variances), np.array(means, dtype=float)).tolist()


# --- the weights of heads --------------------------------------------------------------------------------------------


def test_alike_clients_are_weighed_by_their_variances():
    # D = 0: a ~ 1 / v
    for row in weights([1.0, 3.0], [2.0, 5.0], [2.0, 5.0]):
        assert row == pytest.approx([0.75, 0.25])


def test_a_distance_counts_as_variance_of_the_other():
    # of client 0: P = diag(1, 1 + 1^2), a ~ (1, 1/2); of client 1 the other way round
    assert weights([1.0, 1.0], [0.0], [1.0]) == [pytest.approx([2 / 3, 1 / 3]), pytest.approx([1 / 3, 2 / 3])]


def test_no_weight_is_negative():
    # client 0: P = diag(1, .1, .1) + (0, 1, 2)^T (0, 1, 2); without the bound b_2 = (1.1 - 2) / 0.51 would be negative;
    # with b_2 = 0: b = (1, 1 / 1.1)
    assert weights([1.0, 0.1, 0.1], [0.0], [1.0], [2.0])[0] == pytest.approx([1.1 / 2.1, 1 / 2.1, 0.0])


def test_weights_below_a_thousandth_are_cut_off_and_the_others_sum_to_one():
    # 1 / (1 + 100^2) of 1 and 1: 5e-5
    row = weights([1.0, 1.0, 1.0], [0.0], [0.0], [100.0])[0]
    assert row[2] == 0.0
    assert row == pytest.approx([0.5, 0.5, 0.0])


def test_features_without_variance_have_weights_too():
    assert weights([0.0, 0.0], [0.0, 0.0], [0.0, 0.0]) == [pytest.approx([0.5, 0.5])] * 2
    assert weights([0.0, 0.0], [1.0, 0.0], [0.0, 0.0]) == [pytest.approx([1.0, 0.0]), pytest.approx([0.0, 1.0])]


# --- the client ------------------------------------------------------------------------------------------------------


def test_equal_samples_have_no_variance_however_sums_are_rounded():
    """A mean of squares less the square of the mean: of five equal samples it would often be a little below 0."""
    network = Network(ModelSpec(encoder="mlp", width=32), {"gray": (3,)}, num_classes=3)
    objective = HeadAlone(("gray",))
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        model = network.initial_parameters(generator, torch.device("cpu"))
        samples = 5 * torch.randn(1, 3, generator=generator).expand(5, 3)
        window = Batch({"gray": samples}, torch.zeros(5, dtype=torch.long), torch.arange(5))
        found = objective.prepare(network, model, window, Context(model))
        variance = found[Named("feature_variance")].item()
        mean = found[Named("weighted_class_mean", "gray")].flatten()
        assert variance >= 0.0
        assert weights([variance, 1.0], mean, 2 * mean)[0] == pytest.approx([1.0, 0.0], abs=1e-3)


def test_statistics_by_hand(identity):
    # gray of class 0 (1, 0) and (3, 0), of class 1 (0, 2), the rest padding: h = 2/3 (2, 0) and 1/3 (0, 2);
    # v = ((1 + 9 + 4) / 3 - 16/9 - 4/9) / 3 = 22/27
    network, parameters = identity
    window = Batch({"gray": torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [7.0, 7.0]])},
                   torch.tensor([0, 0, 1, 1]), torch.arange(4), torch.tensor([1.0, 1.0, 1.0, 0.0]))  # fmt: skip
    found = HeadAlone(("gray",)).prepare(network, parameters, window, Context(parameters))
    torch.testing.assert_close(found[Named("weighted_class_mean", "gray")], torch.tensor([[4 / 3, 0.0], [0.0, 2 / 3]]))
    assert found[Named("feature_variance")].item() == pytest.approx(22 / 27)
    # color with the same features doubles both parts of v
    both = Batch(dict.fromkeys(BOTH, window.inputs["gray"]), window.labels, window.positions, window.mask)
    found = HeadAlone(BOTH).prepare(network, parameters, both, Context(parameters))
    assert found[Named("feature_variance")].item() == pytest.approx(44 / 27)


def test_neither_phase_trains_the_others_parameters(identity):
    network, _ = identity
    assert set(HeadAlone(BOTH).groups(network)) == {"head.gray", "head.color", "head.bias"}
    assert EncodersAlone(BOTH, 1.0).groups(network) == ("encoder.gray", "encoder.color")


def test_the_pull_by_hand_with_own_means_of_unknown_classes(identity):
    # class 0 has a global mean of gray (1, 2), of color none; class 1 none at all.
    # gray (1, 0), (3, 0) of class 0 and (0, 4) of class 1: squares / 2: 2, 4 and 0, mean 2
    # color (1, 0), (0, 0), (5, 5): own mean (0.5, 0): 1/8, 1/8, 0, mean 1/12
    network, parameters = identity
    inputs = {"gray": torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 4.0]]),
              "color": torch.tensor([[1.0, 0.0], [0.0, 0.0], [5.0, 5.0]])}  # fmt: skip
    batch = Batch(inputs, torch.tensor([0, 0, 1]), torch.arange(3))
    broadcast = {Named("prototype", "gray"): torch.tensor([[1.0, 2.0], [0.0, 0.0]]),
                 Named("prototype", "color"): torch.zeros(2, 2)}  # fmt: skip

    def loss(weight):
        objective = EncodersAlone(BOTH, weight)
        prepared = objective.prepare(network, parameters, batch, Context(parameters, broadcast))
        return objective.loss(network, parameters, batch, Context(parameters, broadcast, prepared)).item()

    plain = sum(math.log(1 + math.exp(-margin)) for margin in (2.0, 3.0, 4.0)) / 3
    assert loss(0.0) == pytest.approx(plain)
    assert loss(0.5) == pytest.approx(plain + 0.5 * (2.0 + 1 / 12) / 2)


# --- the server ------------------------------------------------------------------------------------------------------


def update(network, client, value, *, modalities=BOTH, num_samples=1, mean=0.0, variance=1.0):
    groups = network.groups_of(modalities)
    parameters = {n: torch.full(s.shape, value if ".".join(n.split(".")[:2]) in groups else -1.0)
                  for n, s in network.shapes.items()}  # fmt: skip
    report = {Named("feature_variance"): torch.tensor(variance), Named("class_count"): torch.tensor([1.0, 0.0])}
    for m in modalities:
        report[Named("weighted_class_mean", m)] = torch.tensor([[mean, 0.0], [0.0, 0.0]])
        report[Named("prototype", m)] = torch.tensor([[value, 0.0], [0.0, 0.0]])
    return ClientUpdate(client, groups, num_samples, 0, parameters, {}, report)


def test_encoders_are_shared_and_each_client_gets_its_own_head(identity):
    # h = 0 and sqrt(1/2) in each of two modalities: D = 1 apart, as above (2/3, 1/3) and (1/3, 2/3)
    network, model = identity
    method = FedPAC(FedPACOptions())
    updates = [update(network, 0, 0.0), update(network, 1, 3.0, num_samples=3, mean=math.sqrt(0.5))]
    merged, memory = method.advance(model, method.initial_memory(network, 3), updates)
    downloaded = [method.model_for(merged, memory, client) for client in range(3)]
    for name in model:
        mean = 9 / 4  # by samples
        expected = [1.0, 2.0, mean] if name.startswith("head") else [mean] * 3
        assert [own[name].flatten()[0].item() for own in downloaded] == pytest.approx(expected)
    assert method.broadcast(memory)[Named("prototype", "gray")].tolist() == [[1.5, 0.0], [0.0, 0.0]]


def test_a_slice_is_combined_over_those_that_trained_it_and_a_missing_modality_is_zeros(identity):
    # h^gray = 0 for all, h^color = 0 of client 0 and missing of client 1: alike. gray 1/2 each, color client 0 alone
    network, model = identity
    method = FedPAC(FedPACOptions())
    updates = [update(network, 0, 1.0), update(network, 1, 5.0, modalities=("gray",))]
    _, memory = method.advance(model, method.initial_memory(network, 2), updates)
    first, second = memory.heads[0], memory.heads[1]
    assert [first[f"head.{m}.weight"][0, 0].item() for m in BOTH] == [3.0, 1.0]
    assert {name.split(".")[1] for name in second} == {"gray", "bias"}
    # all the weight of color on a client without it: client 0 keeps its own slice
    far = [update(network, 0, 1.0, variance=1e6), update(network, 1, 5.0, modalities=("gray",), variance=1e-6)]
    _, memory = method.advance(model, method.initial_memory(network, 2), far)
    assert [memory.heads[0][f"head.{m}.weight"][0, 0].item() for m in BOTH] == [5.0, 1.0]


@pytest.mark.parametrize("rule", ["on_arrival", "buffered"])
def test_other_server_rules_are_refused(rule, scenario_with):
    with pytest.raises(BadInputError, match=rf"server\.rule: must be 'barrier'; given '{rule}'"):
        parse_scenario(scenario_with({"methods": [{"name": "fedpac", "server": {"rule": rule}}]}))


# --- whole runs ------------------------------------------------------------------------------------------------------


def test_what_travels_and_that_the_pull_begins_with_the_second_round(scenario_with, tmp_path):
    methods = [{"name": "fedavg"}, {"name": "fedpac"}, {"name": "fedpac", "label": "free", "weight": 0}]
    given = scenario_with({"methods": methods, "until": {"versions": 2}, "evaluate.every_s": 1})
    fedavg, fedpac, free = run_scenario(parse_scenario(given), runs=tmp_path)
    down, up = (
        [r.timeline.query(f"activity == '{sent}'")["bytes"].unique().item() for r in (fedavg, fedpac)]
        for sent in ("download", "upload")
    )
    means = 2 * 10 * 16 * 4
    assert down[1] == down[0] + means
    assert up[1] == up[0] + 2 * means + 40 + 4
    of = [r.metrics.query("metric == 'loss'").groupby("version")["value"].first() for r in (fedpac, free)]
    assert of[0][1] == of[1][1]
    assert of[0][2] != of[1][2]


def test_one_client_alone_keeps_its_head(scenario_with, tmp_path):
    given = scenario_with({"clients.count": 1, "methods": [{"name": "fedpac"}], "until": {"versions": 3}})
    (record,) = run_scenario(parse_scenario(given), runs=tmp_path)
    losses = record.metrics.query("metric == 'loss'")["value"]
    assert losses.iloc[-1] < losses.iloc[0]
