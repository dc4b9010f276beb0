"""What a BMSFed client minimises and reports, by hand."""

import math

import pytest
import torch

from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.bmsfed import BMSFed, BMSFedOptions
from interlude.simulator.methods.bmsfed.enhancement import ModalEnhanced
from interlude.simulator.methods.bmsfed.measures import Measuring, MeasuringOnly, accuracy
from interlude.simulator.training.objective import Batch, Context
from interlude.simulator.training.profile.costs import CostModel
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.values import Named, by_modality, named

MODALITIES = ("gray", "color")


@pytest.fixture
def identity_network():
    """Encoders that return their non-negative input (width 2) and a head that returns gray's feature."""
    network = Network(ModelSpec(encoder="mlp", width=2), {"gray": (2,), "color": (2,)}, num_classes=2)
    parameters = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
    for name in parameters:
        if name.endswith("weight") and name != "head.color.weight":
            parameters[name] = torch.eye(2)
    return network, parameters


# Own prototypes are the two samples themselves: gray's are 2 apart, color's 1, so that s_gray = 1 / (1 + e^-2) and
# s_color = 1 / (1 + e^-1).
WINDOW = Batch(
    {"gray": torch.tensor([[1.0, 0.0], [1.0, 2.0]]), "color": torch.tensor([[1.0, 0.0], [1.0, 1.0]])},
    torch.tensor([0, 1]),
    torch.arange(2),
)
S_GRAY, S_COLOR = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-1))
CE = math.log(1 + math.exp(-1))  # gray's logits are (1, 0) for class 0 and (1, 2) for class 1
GLOBAL = {"gray": torch.tensor([[9.0, 9.0], [8.0, 8.0]]), "color": torch.tensor([[1.0, 0.0], [4.0, 0.0]])}


def loss_of(objective, network, parameters, window, broadcast):
    context = Context(parameters, broadcast)
    prepared = objective.prepare(network, parameters, window, context)
    return objective.loss(network, parameters, window, Context(parameters, broadcast, prepared)).item(), prepared


def test_the_modality_that_is_behind_is_enhanced(identity_network):
    # rho = s_gray / s_color = 1.2048: beta = 0.2048 on color, gamma = clip(1 / rho - 1) = 0 on gray.
    # Color to global (1, 0), (4, 0): sample 0 is 0 and 3 away: log(1 + e^-3); sample 1, of class 1, is 1 and sqrt 10
    # away: log(1 + e^(sqrt 10 - 1)).
    beta = S_GRAY / S_COLOR - 1
    enhancement = (math.log(1 + math.exp(-3)) + math.log(1 + math.exp(math.sqrt(10) - 1))) / 2
    loss, prepared = loss_of(ModalEnhanced(MODALITIES), *identity_network, WINDOW, named("prototype", GLOBAL))
    weights = {m: w.item() for m, w in by_modality(prepared, "weight").items()}
    assert weights == pytest.approx({"gray": 0.0, "color": beta}, rel=1e-5)
    assert loss == pytest.approx(CE + beta * enhancement, rel=1e-5)


def test_the_other_one_is_enhanced_where_it_is_behind(identity_network):
    # swapped data: rho = 0.83, gamma = 1 / rho - 1 = 0.2048 on gray; all logits are gray's: (1, 0) and (1, 1)
    swapped = Batch({"gray": WINDOW.inputs["color"], "color": WINDOW.inputs["gray"]}, WINDOW.labels, WINDOW.positions)
    prototypes = {"gray": GLOBAL["color"], "color": GLOBAL["gray"]}
    enhancement = (math.log(1 + math.exp(-3)) + math.log(1 + math.exp(math.sqrt(10) - 1))) / 2
    loss, _ = loss_of(ModalEnhanced(MODALITIES), *identity_network, swapped, named("prototype", prototypes))
    assert loss == pytest.approx((CE + math.log(2)) / 2 + (S_GRAY / S_COLOR - 1) * enhancement, rel=1e-5)


def test_local_prototypes_are_the_clients_own(identity_network):
    # color to its own (1, 0), (1, 1): both samples log(1 + e^-1)
    loss, _ = loss_of(ModalEnhanced(MODALITIES, source="local"), *identity_network, WINDOW, {})
    assert loss == pytest.approx(CE + (S_GRAY / S_COLOR - 1) * math.log(1 + math.exp(-1)), rel=1e-5)


def test_a_uni_modal_client_is_told_how_far_it_is_behind(identity_network):
    # color alone: logits 0, CE = log 2; ratio 1.25 -> beta 0.25
    enhancement = (math.log(1 + math.exp(-3)) + math.log(1 + math.exp(math.sqrt(10) - 1))) / 2
    broadcast = {**named("prototype", GLOBAL), Named("ratio"): torch.tensor(1.25)}
    loss, _ = loss_of(ModalEnhanced(("color",), is_weak=True), *identity_network, WINDOW, broadcast)
    assert loss == pytest.approx(math.log(2) + 0.25 * enhancement, rel=1e-5)


def test_a_constant_weighs_what_is_behind_in_the_mini_batch_by_global_prototypes(identity_network):
    # By its own prototypes color is behind over the window. By the global ones gray is: its samples are sqrt 145 and
    # sqrt 113, sqrt 113 and sqrt 85 away from classes 0 and 1: scores 1 / (1 + e^1.41), 1 / (1 + e^-1.41), of mean 0.5.
    # Color's are 1 / (1 + e^-3) and 1 / (1 + e^2.162), 0.953 and 0.103, of mean 0.528. In a mini-batch of sample 1
    # alone color is behind, 0.103 against 0.804.
    constant = 2.0
    away = [[math.sqrt(8**2 + 9**2), math.sqrt(7**2 + 8**2)], [math.sqrt(8**2 + 7**2), math.sqrt(7**2 + 6**2)]]
    gray = (math.log(1 + math.exp(away[0][0] - away[0][1])) + math.log(1 + math.exp(away[1][1] - away[1][0]))) / 2
    objective, broadcast = ModalEnhanced(MODALITIES, constant=constant), named("prototype", GLOBAL)
    loss, prepared = loss_of(objective, *identity_network, WINDOW, broadcast)
    assert by_modality(prepared, "weight") == {}
    assert loss == pytest.approx(CE + constant * gray, rel=1e-5)
    second = Batch({m: x[1:] for m, x in WINDOW.inputs.items()}, WINDOW.labels[1:], WINDOW.positions[1:])
    color = math.log(1 + math.exp(math.sqrt(10) - 1))
    assert loss_of(objective, *identity_network, second, broadcast)[0] == pytest.approx(CE + constant * color, rel=1e-5)


def test_a_constant_always_weighs_one_modality_alone(identity_network):
    # color alone: logits 0, CE = log 2; no ratio is needed
    enhancement = (math.log(1 + math.exp(-3)) + math.log(1 + math.exp(math.sqrt(10) - 1))) / 2
    for is_weak in (False, True):
        objective = ModalEnhanced(("color",), is_weak=is_weak, constant=2.0)
        loss, _ = loss_of(objective, *identity_network, WINDOW, named("prototype", GLOBAL))
        assert loss == pytest.approx(math.log(2) + 2.0 * enhancement, rel=1e-5)
    assert BMSFed(BMSFedOptions(coefficient="code")).options.weight == 2.0


# Of class 0 two samples, of class 1 one; the second one's color looks like class 1's, and color's means are 1 and 2.
ACCURATE = Batch(
    {
        "gray": torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 2.0]]),
        "color": torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 0.0]]),
    },
    torch.tensor([0, 0, 1]),
    torch.arange(3),
)


def test_accuracies_by_hand(identity_network):
    # gray: all are nearest to their own mean. color: (0, 0) is nearest to class 0's (1, 0), (2, 0) to class 1's (2, 0),
    # which is wrong for the second sample: 2 of 3. So rho = 1.5 and beta = 0.5.
    objective = ModalEnhanced(MODALITIES, ratio="accuracy")
    network, parameters = identity_network
    report = objective.report(network, parameters, ACCURATE, Context(parameters))
    assert by_modality(report, "score") == pytest.approx({"gray": 1.0, "color": 2 / 3})
    prepared = objective.prepare(network, parameters, ACCURATE, Context(parameters, named("prototype", GLOBAL)))
    assert by_modality(prepared, "weight") == pytest.approx({"gray": 0.0, "color": 0.5})


def test_an_accuracy_leaves_padding_out_and_is_never_zero(identity_network):
    # the first two samples are padding, and the third is right
    padded = Batch(ACCURATE.inputs, ACCURATE.labels, ACCURATE.positions, torch.tensor([0.0, 0.0, 1.0]))
    network, parameters = identity_network
    measured = Measuring(MODALITIES, "accuracy").report(network, parameters, padded, Context(parameters))
    assert by_modality(measured, "score") == pytest.approx({"gray": 1.0, "color": 1.0})
    assert accuracy(torch.zeros(4), Batch({}, torch.zeros(4), torch.arange(4))).item() == 0.25


def test_a_probe_reports_what_the_received_model_measures(identity_network):
    # training doubled every parameter; the probe's report is that of `test_the_report_by_hand`
    network, received = identity_network
    objective = ModalEnhanced(MODALITIES, moment="before", source="local")
    _, prepared = loss_of(objective, network, received, WINDOW, {})
    trained = {name: 2 * value for name, value in received.items()}
    report = objective.report(network, trained, WINDOW, Context(received, {}, prepared))
    assert report.keys() == ModalEnhanced(MODALITIES).report(network, trained, WINDOW, Context(received)).keys()
    assert by_modality(report, "score") == pytest.approx({"gray": S_GRAY, "color": S_COLOR})
    torch.testing.assert_close(by_modality(report, "prototype"), dict(WINDOW.inputs))


@pytest.mark.parametrize("objective", [Measuring(MODALITIES), ModalEnhanced(("gray",))])
def test_without_enhancement_or_a_rival_it_is_cross_entropy(identity_network, objective):
    assert loss_of(objective, *identity_network, WINDOW, named("prototype", GLOBAL))[0] == pytest.approx(CE, rel=1e-5)


def test_the_report_by_hand(identity_network):
    network, parameters = identity_network
    report = ModalEnhanced(MODALITIES).report(network, parameters, WINDOW, Context(parameters))
    assert {m: s.item() for m, s in by_modality(report, "score").items()} == pytest.approx(
        {"gray": S_GRAY, "color": S_COLOR}
    )
    torch.testing.assert_close(by_modality(report, "prototype"), dict(WINDOW.inputs))
    assert report[Named("class_count")].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        # two modalities of 10 x 512 float32 = 20,480 bytes, two scores, ten counts
        (ModalEnhanced(MODALITIES), 2 * 20_480 + 2 * 4 + 40),
        (ModalEnhanced(("color",), is_weak=True), 20_480 + 4 + 40),
        (ModalEnhanced(MODALITIES, shares=False), 2 * 4),
        (ModalEnhanced(MODALITIES, moment="before", source="local"), 2 * 20_480 + 2 * 4 + 40),
        (ModalEnhanced(("color",), moment="never", constant=2.0), 0),
    ],
)
def test_payload_of_a_report(objective, expected):
    network = Network(ModelSpec(encoder="mlp", width=512), {"gray": (4,), "color": (4,)}, num_classes=10)
    method = BMSFed(BMSFedOptions())
    costs = CostModel(network, 4, method.broadcast(method.initial_memory(network, 3)))
    cost = costs.of_task((LocalSteps(objective, 1, "joint"),), 4)
    assert cost.report_bytes == expected
    assert cost.groups == network.groups_of(objective.modalities)


def test_measuring_only_trains_nothing_and_costs_one_forward_pass():
    network = Network(ModelSpec(encoder="mlp", width=512), {"gray": (4,), "color": (4,)}, num_classes=10)
    costs = CostModel(network, 4, {})
    cost = costs.of_task((LocalSteps(MeasuringOnly(MODALITIES), 0, "measure"),), 4)
    assert (cost.groups, cost.report_bytes) == ((), 2 * 20_480 + 2 * 4 + 40)
    assert cost.flops == costs.profile(Measuring(MODALITIES), 4).report.flops > 0
    # a probe measures once, before training: one forward pass less than a multi-modal client
    probe = ModalEnhanced(MODALITIES, moment="before", source="local")
    assert costs.profile(probe, 4).prepare.flops == cost.flops
    assert costs.profile(probe, 4).report.flops == 0


def test_of_three_modalities_those_below_the_others_mean_are_enhanced():
    # every feature is its input; the classes are 2, 1 and 0 apart, so gray separates best and depth not at all
    network = Network(ModelSpec(encoder="mlp", width=1), dict.fromkeys(("gray", "color", "depth"), (1,)), 2)
    parameters = {
        n: torch.eye(1) if n.startswith("encoder") and n.endswith("weight") else torch.zeros(s.shape)
        for n, s in network.shapes.items()
    }
    inputs = {m: torch.tensor([[1.0], [1.0 + d]]) for m, d in (("gray", 2.0), ("color", 1.0), ("depth", 0.0))}
    window = Batch(inputs, torch.tensor([0, 1]), torch.arange(2))
    objective = ModalEnhanced(("gray", "color", "depth"))
    broadcast = named("prototype", {m: torch.ones(2, 1) for m in inputs})
    prepared = objective.prepare(network, parameters, window, Context(parameters, broadcast=broadcast))
    gray, color, depth = (1 / (1 + math.exp(-d)) for d in (2.0, 1.0, 0.0))
    weights = {m: w.item() for m, w in by_modality(prepared, "weight").items()}
    expected = {"gray": 0.0, "color": max((gray + depth) / 2 / color - 1, 0), "depth": (gray + color) / 2 / depth - 1}
    assert weights == pytest.approx(expected, rel=1e-5)
    # by a constant, the last of all alone
    objective = ModalEnhanced(("gray", "color", "depth"), constant=2.0)
    target = {m: torch.tensor([[1.0], [1.0 + d]]) for m, d in (("gray", 2.0), ("color", 1.0), ("depth", 0.5))}
    loss, _ = loss_of(objective, network, parameters, window, named("prototype", target))
    # depth's features are both 1: at distances 0 and 0.5 of its prototypes
    enhancement = (math.log(1 + math.exp(-0.5)) + math.log(1 + math.exp(0.5))) / 2
    assert loss == pytest.approx(math.log(2) + 2.0 * enhancement, rel=1e-5)
