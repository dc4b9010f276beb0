"""FedNH: the head of prototypes, what clients report, how prototypes move, and what travels."""

import math

import pytest
import torch

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.prototype_head import SCALE, PrototypeNetwork, prototype_name
from interlude.models.spec import ModelSpec
from interlude.simulator.federation.rules import Barrier, Buffered
from interlude.simulator.methods.fednh import BesidePrototypes, FedNH, FedNHOptions, smoothed
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Batch, Context
from interlude.simulator.training.values import Named

BOTH = ("gray", "color")


def network_of(num_classes=2, width=2, fusion="concat"):
    return PrototypeNetwork(ModelSpec(encoder="mlp", width=width, fusion=fusion), dict.fromkeys(BOTH, (2,)),
                            num_classes, 20.0)  # fmt: skip


@pytest.fixture
def identity():
    """Encoders that return their non-negative input; prototypes (1, 0), (0, 1) of gray and (0.6, 0.8), (1, 0)."""
    network = network_of()
    parameters = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
    for name in parameters:
        if name.endswith("weight"):
            parameters[name] = torch.eye(2)
    parameters["head.color.weight"] = torch.tensor([[0.6, 0.8], [1.0, 0.0]])
    parameters[SCALE] = torch.tensor([10.0])
    return network, parameters


# --- the head --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", ["concat", "late_sum"])
def test_prototypes_start_orthogonal_and_of_length_one(fusion):
    network = network_of(num_classes=5, width=8, fusion=fusion)
    parameters = network.initial_parameters(torch.Generator().manual_seed(0), torch.device("cpu"))
    assert parameters[SCALE].tolist() == [20.0]
    for modality in BOTH:
        w = parameters[prototype_name(modality)]
        torch.testing.assert_close(w @ w.T, torch.eye(5))
    assert set(network.groups) == {"encoder.gray", "encoder.color", "head.gray", "head.color", "head._shared"}
    assert network.shared_groups == ("head._shared",)
    crowded = network_of(num_classes=5).initial_parameters(torch.Generator().manual_seed(0), torch.device("cpu"))
    torch.testing.assert_close(crowded["head.gray.weight"].norm(dim=1), torch.ones(5))


def test_logits_by_hand_do_not_depend_on_lengths(identity):
    network, parameters = identity
    # gray (3, 4) -> (0.6, 0.8), cosines 0.6, 0.8; color (0, 7) -> (0, 1), cosines 0.8, 0: s / 2 times their sums
    inputs = {"gray": torch.tensor([[3.0, 4.0]]), "color": torch.tensor([[0.0, 7.0]])}
    assert network(parameters, inputs).logits[0].tolist() == pytest.approx([5 * 1.4, 5 * 0.8])
    # color alone: z = [0; z_hat], length 1, against w / sqrt(2)
    alone = network(parameters, {"color": inputs["color"]}).logits[0]
    assert alone.tolist() == pytest.approx([10 * 0.8 / math.sqrt(2), 0.0])


# --- the client ------------------------------------------------------------------------------------------------------


def test_no_gradient_trains_a_prototype():
    network = network_of()
    assert BesidePrototypes(BOTH, learns_scale=True, most_gradient=10.0).groups(network) == (
        "encoder.gray", "encoder.color", "head._shared")  # fmt: skip
    assert BesidePrototypes(("gray",), learns_scale=False, most_gradient=10.0).groups(network) == ("encoder.gray",)


def test_class_means_are_of_directions(identity):
    # class 0: gray (2, 0) and (0, 9), both count alike: (1, 1) / sqrt(2); class 1 has only padding
    network, parameters = identity
    window = Batch({"gray": torch.tensor([[2.0, 0.0], [0.0, 9.0], [5.0, 5.0]])}, torch.tensor([0, 0, 1]),
                   torch.arange(3), torch.tensor([1.0, 1.0, 0.0]))  # fmt: skip
    report = BesidePrototypes(("gray",), True, 10.0).report(network, parameters, window, Context({}))
    assert report[Named("prototype", "gray")].tolist() == [pytest.approx([math.sqrt(0.5)] * 2), [0.0, 0.0]]
    assert report[Named("class_count")].tolist() == [2.0, 0.0]


def test_the_gradient_is_clipped_as_a_whole():
    gradients = {"a": torch.tensor([30.0]), "b": torch.tensor([40.0])}
    objective = BesidePrototypes(BOTH, True, 10.0)

    def clipped(given):
        found = objective.modulate(network_of(), given, {}, None, Context({}), torch.ones_like)
        return [value.item() for value in found.values()]

    assert clipped(gradients) == pytest.approx([6.0, 8.0])
    assert clipped({name: gradient / 10 for name, gradient in gradients.items()}) == [3.0, 4.0]


# --- the server ------------------------------------------------------------------------------------------------------


def test_prototypes_by_hand_and_that_an_absent_class_keeps_its_own():
    # class 0: 1 (1, 0) + 3 (0, 1) = (1, 3), hat (1, 3) / sqrt(10); 0.9 (1, 0) + 0.1 of it, and hat again
    w = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    local = [
        (torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([1.0, 0.0])),
        (torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.tensor([3.0, 0.0])),
    ]
    x, y = 0.9 + 0.1 / math.sqrt(10), 0.3 / math.sqrt(10)
    length = math.hypot(x, y)
    found = smoothed(w, local, 0.9)
    assert found[0].tolist() == pytest.approx([x / length, y / length])
    assert torch.equal(found[1], w[1])
    torch.testing.assert_close(smoothed(w, local, 1.0), w)


def update(network, value, *, modalities, num_samples=1, staleness=0):
    start = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
    groups = BesidePrototypes(modalities, True, 10.0).groups(network)
    trained = {n: torch.full_like(v, value) for n, v in start.items() if ".".join(n.split(".")[:2]) in groups}
    report = {Named("prototype", m): torch.tensor([[0.0, 1.0], [0.0, 0.0]]) for m in modalities}
    counts = {Named("class_count"): torch.tensor([float(num_samples), 0.0])}
    return ClientUpdate(0, groups, num_samples, staleness, {**start, **trained}, start, {**report, **counts})


def test_encoders_are_averaged_plainly_and_prototypes_that_nobody_reports_stay():
    network = network_of()
    model = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
    model |= {prototype_name(m): torch.eye(2) for m in BOTH}
    updates = [update(network, 1.0, modalities=("gray",)), update(network, 4.0, modalities=("gray",), num_samples=9)]
    merged = FedNH(FedNHOptions()).merge(model, None, updates)
    # a mean by samples would be 3.7
    assert {v for n, v in merged.items() for v in v.flatten().tolist() if n.startswith("encoder.gray")} == {2.5}
    assert merged[SCALE].item() == 2.5
    assert all(torch.equal(merged[n], model[n]) for n in model if ".color." in n)
    length = math.hypot(0.9, 0.1)
    assert merged["head.gray.weight"][0].tolist() == pytest.approx([0.9 / length, 0.1 / length])
    assert merged["head.gray.weight"][1].tolist() == [0.0, 1.0]


def test_the_servers_step_and_staleness_scale_the_change_of_encoders():
    network = network_of()
    model = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
    updates = [update(network, 2.0, modalities=BOTH, staleness=3), update(network, 4.0, modalities=BOTH)]
    half = FedNH(FedNHOptions(server=Barrier(), server_learning_rate=0.5)).merge(model, None, updates)
    assert half["encoder.gray.layers.1.weight"].flatten()[0].item() == 1.5
    # (1 + 3)^-1/2 * 2 / 2 + 4 / 2
    buffered = FedNH(FedNHOptions(server=Buffered())).merge(model, None, updates)
    assert buffered["encoder.gray.layers.1.weight"].flatten()[0].item() == pytest.approx(2.5)


# --- whole runs ------------------------------------------------------------------------------------------------------


def test_no_head_goes_up(scenario_with, tmp_path):
    given = scenario_with({"methods": [{"name": "fednh"}], "until": {"versions": 2}})
    (record,) = run_scenario(parse_scenario(given), runs=tmp_path, timing_only=True)
    network = Network(ModelSpec(encoder="mlp", width=16), {"gray": (1, 8, 8), "color": (3, 8, 8)}, 10)
    encoders = network.num_bytes(("encoder.gray", "encoder.color"))
    prototypes = 2 * 10 * 16 * 4
    sent = [record.timeline.query(f"activity == '{sent}'")["bytes"].unique().item() for sent in ("download", "upload")]
    assert sent == [encoders + prototypes + 4, encoders + 4 + prototypes + 40 + 8]


@pytest.mark.parametrize("switch", [{"server": {"rule": "on_arrival"}}, {"server": {"rule": "buffered", "size": 2}},
                                    {"waiting": "first"}, {"learns_scale": False, "scale": 30}], ids=str)  # fmt: skip
def test_it_learns_under_every_server_and_waiting(switch, scenario_with, tmp_path):
    given = scenario_with({"clients.multimodal_fraction": 0.5, "until": {"versions": 12}})
    (record,) = run_scenario(parse_scenario({**given, "methods": [{"name": "fednh", **switch}]}), runs=tmp_path)
    losses = record.metrics.query("metric == 'loss'")["value"]
    assert losses.iloc[-1] < losses.iloc[0]


def test_gap_training_which_would_train_and_send_prototypes_is_refused(scenario_with):
    with pytest.raises(BadInputError, match=r"waiting: must be one of all, first; given 'opportunistic'"):
        parse_scenario(scenario_with({"methods": [{"name": "fednh", "waiting": "opportunistic"}]}))
