"""FedCMI's network: payloads of its parts, features, groups."""

import pytest
import torch

from interlude.models.decomposed import DecomposedNetwork
from interlude.models.network import Network
from interlude.models.spec import ModelSpec

DIGITS = {"gray": (1, 28, 28), "color": (3, 28, 28)}


def network(width=4, num_classes=3, fusion="concat", projector="linear"):
    spec = ModelSpec(encoder="mlp", width=width, fusion=fusion)
    return DecomposedNetwork(spec, {"gray": (2,), "color": (3,)}, num_classes, projector)


def given(net):
    generator = torch.Generator().manual_seed(0)
    parameters = net.initial_parameters(generator, torch.device("cpu"))
    return parameters, {m: torch.randn(5, *given.shape, generator=generator) for m, given in net.inputs.items()}


@pytest.mark.parametrize(("projector", "num_bytes"), [("linear", 1_050_624), ("mlp", 3_151_872)])
def test_payloads_are_those_of_the_papers_network(projector, num_bytes):
    net = DecomposedNetwork(ModelSpec(encoder="conv4", width=512), DIGITS, 6, projector)
    for part in ("self_projector", "infiltration_projector"):
        assert [net.group_bytes[f"{part}.{m}"] for m in DIGITS] == [num_bytes, num_bytes]
    assert [net.group_bytes[f"classifier.{m}"] for m in DIGITS] == [12_312, 12_312]
    assert net.num_bytes(("head.gray", "head.color", "head.bias")) == 24_600
    assert net.group_bytes["encoder.gray"] == 395_144


def test_features_are_the_self_projections_of_the_encoders():
    net = network()
    parameters, inputs = given(net)
    encoded = Network.features(net, parameters, inputs)
    own, infiltration = net.project(parameters, inputs)
    for m, z in encoded.items():
        for part, projected in (("self_projector", own), ("infiltration_projector", infiltration)):
            expected = z @ parameters[f"{part}.{m}.weight"].T + parameters[f"{part}.{m}.bias"]
            torch.testing.assert_close(projected[m], expected)
    features = net.features(parameters, inputs)
    assert all(torch.equal(features[m], own[m]) for m in own)
    assert torch.equal(net(parameters, inputs).logits, net.classify(parameters, own))


def test_one_classifier_reads_both_projections_of_its_modality():
    net = network()
    parameters, inputs = given(net)
    for projections in net.project(parameters, inputs):
        for m, z in projections.items():
            expected = z @ parameters[f"classifier.{m}.weight"].T + parameters[f"classifier.{m}.bias"]
            torch.testing.assert_close(net.classify_alone(parameters, m, z), expected)


def test_three_layers_have_relu_between():
    net = network(projector="mlp")
    parameters, inputs = given(net)
    z = Network.features(net, parameters, inputs)["gray"]
    for layer in (0, 2, 4):
        weight, bias = (parameters[f"self_projector.gray.{layer}.{name}"] for name in ("weight", "bias"))
        z = (z.relu() if layer else z) @ weight.T + bias
    torch.testing.assert_close(net.features(parameters, inputs)["gray"], z)


def test_a_modality_alone_trains_its_side_and_the_whole_head():
    side = {f"{p}.gray" for p in ("encoder", "self_projector", "infiltration_projector", "classifier")}
    assert set(network().groups_of(("gray",))) == side | {"head.gray", "head.color", "head.bias"}
    assert set(network().groups_of(("gray", "color"))) == set(network().groups)
    assert set(network(fusion="late_sum").groups_of(("gray",))) == side | {"head.gray", "head.color"}


def test_a_missing_modality_counts_as_zero_features():
    net = network()
    parameters, inputs = given(net)
    own = net.features(parameters, inputs)
    zero_filled = net.classify(parameters, {**own, "color": torch.zeros_like(own["color"])})
    torch.testing.assert_close(net(parameters, {"gray": inputs["gray"]}).logits, zero_filled)
