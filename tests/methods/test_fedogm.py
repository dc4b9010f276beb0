"""FedOGM: scores, coefficients and modulated gradients by hand, and FedAvg where there is nothing to modulate."""

import math

import pandas as pd
import pytest
import torch

from interlude import parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.errors import CannotRunError
from interlude.simulator.methods.fedogm import Modulated, coefficients, modulated_names
from interlude.simulator.training.objective import Batch, Context, CrossEntropy
from interlude.simulator.training.profile.costs import CostModel

BOTH = ("gray", "color")


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def scores(**values):
    return {m: torch.tensor(value) for m, value in values.items()}


def floats(tensors):
    return {m: value.item() for m, value in tensors.items()}


# --- coefficients ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fusion", "of_gray", "of_color"), [("concat", 3.0, 0.0), ("late_sum", 4.0, 1.0)])
def test_scores_by_hand(fusion, of_gray, of_color):
    # gray (2, 0), color (0, 1), label 0; the margin of class 0 is what each alone says plus b_0 - b_1 of its bias.
    # concat: b = (1, -1), half of it each: gray 2 + 1, color -1 + 1. late_sum: each its own, whole: 2 + 2, -1 + 2.
    network = Network(ModelSpec(encoder="mlp", width=2, fusion=fusion), dict.fromkeys(BOTH, (2,)), num_classes=2)
    parameters = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
    for name in parameters:
        if name.endswith("weight"):
            parameters[name] = torch.eye(2)
        elif name.startswith("head"):
            parameters[name] = torch.tensor([1.0, -1.0])
    inputs = {"gray": torch.tensor([[2.0, 0.0]]), "color": torch.tensor([[0.0, 1.0]])}
    batch = Batch(inputs, torch.tensor([0]), torch.tensor([0]))
    found = Modulated(BOTH, 0.5, noise=False, tensors="conv").scores(network, parameters, batch)
    assert floats(found) == pytest.approx({"gray": sigmoid(of_gray), "color": sigmoid(of_color)})


def test_only_the_dominant_modality_is_slowed():
    # ratio 0.6 / 0.2 = 3 and 1/3
    found = floats(coefficients(scores(gray=0.2, color=0.6), alpha=0.5))
    assert found == pytest.approx({"gray": 1.0, "color": 1 - math.tanh(1.5)})
    assert found["gray"] == 1.0


def test_balance_and_strength_zero_leave_gradients_alone():
    assert floats(coefficients(scores(gray=0.4, color=0.4), alpha=0.5)) == {"gray": 1.0, "color": 1.0}
    assert floats(coefficients(scores(gray=0.2, color=0.6), alpha=0.0)) == {"gray": 1.0, "color": 1.0}


def test_with_three_modalities_each_is_compared_with_the_mean_of_the_others():
    # 0.6 / 0.15 = 4; 0.2 / 0.35 and 0.1 / 0.4 are below 1
    found = floats(coefficients(scores(a=0.6, b=0.2, c=0.1), alpha=0.1))
    assert found == pytest.approx({"a": 1 - math.tanh(0.4), "b": 1.0, "c": 1.0})


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.fixture
def conv():
    """A network with convolutions, a batch of which color knows more, and gradients 0, 1, 2, ..."""
    network = Network(ModelSpec(encoder="conv4", width=4), {"gray": (1, 8, 8), "color": (3, 8, 8)}, num_classes=2)
    generator = torch.Generator().manual_seed(0)
    parameters = network.initial_parameters(generator, torch.device("cpu"))
    inputs = {m: torch.randn(6, *given.shape, generator=generator) for m, given in network.inputs.items()}
    with torch.no_grad():
        labels = network(parameters, {"color": inputs["color"]}).logits.argmax(dim=1)
    gradients = {n: torch.arange(float(s.numel())).reshape(s.shape) for n, s in network.shapes.items()}
    return network, parameters, Batch(inputs, labels, torch.arange(6)), gradients


def modulated(conv, **options):
    network, parameters, batch, gradients = conv
    objective = Modulated(BOTH, **({"alpha": 0.8, "noise": False, "tensors": "conv"} | options))
    k = coefficients(objective.scores(network, parameters, batch), objective.alpha)
    found = objective.modulate(network, gradients, parameters, batch, Context(parameters), torch.ones_like)
    return found, floats(k)


def test_convolution_kernels_of_the_dominant_encoder_are_scaled_and_nothing_else(conv):
    found, k = modulated(conv)
    assert k["gray"] == 1.0
    assert 0.0 < k["color"] < 1 - math.tanh(0.8)
    for name, gradient in conv[3].items():
        is_scaled = name.startswith("encoder.color") and gradient.dim() == 4
        torch.testing.assert_close(found[name], gradient * k["color"] if is_scaled else gradient)


def test_noise_has_the_deviation_of_each_kernels_gradient_and_goes_to_both_encoders(conv):
    # 0 .. n-1 has the deviation sqrt(n (n + 1) / 12)
    found, k = modulated(conv, noise=True)
    for name, gradient in conv[3].items():
        if gradient.dim() == 4:
            n = gradient.numel()
            expected = k[name.split(".")[1]] * gradient + math.sqrt(n * (n + 1) / 12)
            torch.testing.assert_close(found[name], expected)
        else:
            assert torch.equal(found[name], gradient)


def test_linear_layers_are_an_extension(conv):
    found, k = modulated(conv, tensors="weights")
    name = "encoder.color.layers.12.weight"
    torch.testing.assert_close(found[name], k["color"] * conv[3][name])
    assert torch.equal(found["head.color.weight"], conv[3]["head.color.weight"])


def test_kernels_of_series_are_convolutions_too():
    network = Network(ModelSpec(encoder="conv1d", width=4), {"gray": (3, 32), "color": (3, 32)}, num_classes=2)
    found = modulated_names(network, "gray", "conv")
    assert found == [n for n in network.groups["encoder.gray"] if network.shapes[n].dim() == 3] != []


def test_scores_are_paid_for():
    network = Network(ModelSpec(encoder="mlp", width=5), {"gray": (6,), "color": (4,)}, num_classes=3)
    costs = CostModel(network, 4, {})
    forward = 2 * 4 * (6 * 5 + 5 * 5 + 4 * 5 + 5 * 5 + 5 * 3 + 5 * 3)
    plain = costs.step(CrossEntropy(BOTH), 4).flops
    assert costs.step(Modulated(BOTH, 0.5, noise=True, tensors="conv"), 4).flops == plain + forward


# --- whole runs ------------------------------------------------------------------------------------------------------

SCENARIO = {
    "name": "fedogm",
    "data": {"dataset": "cg-digits"},
    "model": {"encoder": "mlp", "width": 16},
    "clients": {"count": 4},
    "world": {
        "arrival": {m: {"per_client": {"distribution": "uniform", "low_s": 1.0, "high_s": 3.0}} for m in BOTH},
        "compute": {"throughput_gflops": 1.0},
        "network": {"uplink_mbps": 2, "downlink_mbps": 8, "latency_ms": 50},
    },
    "training": {"window_samples": 64, "optimizer": {"learning_rate": 0.05}},
    "until": {"versions": 2},
    "evaluate": {"every_s": 4},
}
CONV = {
    "model": {"encoder": "conv4", "width": 16},
    "clients": {"count": 2},
    "training": {"window_samples": 32, "optimizer": {"learning_rate": 0.05}},
}


def values(tmp_path, *methods, timing_only=False, **changes):
    scenario = parse_scenario({**SCENARIO, **changes, "methods": list(methods), "evaluate": {"every_s": 1000}})
    records = run_scenario(scenario, runs=tmp_path, timing_only=timing_only)
    assert all(record.info["totals"]["versions"] == scenario.until.versions for record in records)
    return [record.metrics.drop(columns="time_s") for record in records]


def test_without_strength_and_noise_it_is_fedavg(tmp_path):
    bare = {"name": "fedogm", "alpha": 0.0, "noise": False}
    fedavg, fedogm, slowed = values(tmp_path, {"name": "fedavg"}, bare, {"name": "fedogm", "label": "x"}, **CONV)
    pd.testing.assert_frame_equal(fedavg, fedogm)
    assert not fedavg.equals(slowed)


def test_without_convolutions_the_published_rule_is_refused_and_linear_layers_are_the_way_out(tmp_path):
    said = "methods.1.tensors: 'conv' modulates .* no encoder has any, .* would be FedAvg; use tensors: weights"
    with pytest.raises(CannotRunError, match=said):
        values(tmp_path, {"name": "fedavg"}, {"name": "fedogm"})
    assert not any(tmp_path.iterdir())
    fedavg, other = values(tmp_path, {"name": "fedavg"}, {"name": "fedogm", "tensors": "weights"})
    assert not fedavg.equals(other)


def test_modulation_ends_and_its_cost_with_it(tmp_path):
    scenario = parse_scenario({**SCENARIO, "methods": [{"name": "fedogm", "tensors": "weights", "versions": 1}]})
    (record,) = run_scenario(scenario, runs=tmp_path, timing_only=True)
    first, second = record.timeline.query("activity == 'train'").groupby("version")["flops"].max()
    assert first > second


@pytest.mark.parametrize("switch", [{"server": {"rule": "on_arrival"}}, {"server": {"rule": "buffered", "size": 2}},
                                    {"waiting": "first"}, {"waiting": "opportunistic"},
                                    {"versions": None}])  # fmt: skip
@pytest.mark.parametrize("timing_only", [False, True])
def test_it_runs_under_every_server_and_waiting(switch, timing_only, tmp_path):
    clients = {"count": 4, "multimodal_fraction": 0.5}
    values(tmp_path, {"name": "fedogm", "tensors": "weights", **switch}, timing_only=timing_only, clients=clients)
