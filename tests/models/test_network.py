"""Networks: the payloads of the papers, zero-filling, groups."""

import re

import pytest
import torch

from interlude.models.encoders import misfit
from interlude.models.groups import group_of
from interlude.models.inputs import InputSpec
from interlude.models.network import Network
from interlude.models.spec import ModelSpec

DIGITS = {"gray": (1, 28, 28), "color": (3, 28, 28)}


def network(fusion="concat", encoder="mlp", width=8, shapes=None, norm="group"):
    spec = ModelSpec(encoder=encoder, width=width, fusion=fusion, norm=norm)
    return Network(spec, shapes or {"gray": (1, 4, 4), "color": (3, 4, 4)}, num_classes=10)


def parameters(net, seed=0):
    return net.initial_parameters(torch.Generator().manual_seed(seed), torch.device("cpu"))


def inputs(net, batch=5):
    generator = torch.Generator().manual_seed(1)
    return {m: torch.randn(batch, *given.shape, generator=generator) for m, given in net.inputs.items()}


def test_cg_mnist_payloads_are_those_of_the_papers_network():
    net = network(encoder="conv4", width=512, shapes=DIGITS)
    assert net.group_bytes["encoder.gray"] == 395_144
    assert net.group_bytes["encoder.color"] == 401_560
    assert net.num_bytes(("head.gray", "head.color", "head.bias")) == 41_000


def test_resnet18_payloads_are_those_of_the_papers_network():
    net = network(encoder="resnet18", width=512, shapes={"audio": (1, 257, 299), "visual": (3, 3, 224, 224)})
    assert net.group_bytes["encoder.audio"] == 44_680_960
    assert net.group_bytes["encoder.visual"] == 44_706_048


@pytest.mark.parametrize("fusion", ["concat", "late_sum"])
def test_a_missing_modality_counts_as_zero_features(fusion):
    net = network(fusion)
    p = parameters(net)
    given = inputs(net)
    features = net.features(p, given)
    zero_filled = net.classify(p, {**features, "color": torch.zeros_like(features["color"])})
    if fusion == "late_sum":  # its other classifier still adds its bias, which starts at 0
        assert not p["head.color.bias"].any()
    torch.testing.assert_close(net(p, {"gray": given["gray"]}).logits, zero_filled)


def test_concat_head_is_one_linear_layer_on_the_concatenation():
    net = network()
    p = parameters(net)
    z = net.features(p, inputs(net))
    weight = torch.cat([p["head.gray.weight"], p["head.color.weight"]], dim=1)
    expected = torch.cat([z["gray"], z["color"]], dim=1) @ weight.T + p["head.bias"]
    torch.testing.assert_close(net.classify(p, z), expected)


def test_a_modality_trains_its_encoder_its_slice_and_the_shared_bias():
    assert network().groups_of(("gray",)) == ("encoder.gray", "head.bias", "head.gray")
    assert network("late_sum").groups_of(("gray",)) == ("encoder.gray", "head.gray")


def test_groups_cover_every_parameter_once():
    net = network()
    names = [name for group in net.groups.values() for name in group]
    assert sorted(names) == sorted(net.shapes)
    assert all(group_of(name) == group for group, members in net.groups.items() for name in members)


@pytest.mark.parametrize("encoder", ["conv4", "resnet18"])
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_image_encoders_give_features_of_the_asked_width(encoder, norm):
    net = network(encoder=encoder, width=24, shapes={"gray": (1, 32, 32), "color": (3, 32, 32)}, norm=norm)
    output = net(parameters(net), inputs(net, batch=2))
    assert output.logits.shape == (2, 10)
    assert {z.shape for z in output.features.values()} == {(2, 24)}


def test_a_batch_of_one_tiny_image_has_no_statistics_and_no_error():
    net = network(encoder="resnet18", width=8, shapes={"gray": (1, 8, 8)}, norm="batch")
    logits = net(parameters(net), inputs(net, batch=1)).logits
    assert torch.isfinite(logits).all()


def test_video_features_are_the_mean_over_frames():
    net = network(encoder="resnet18", width=16, shapes={"visual": (3, 2, 32, 32)})
    p = parameters(net)
    video = inputs(net, batch=2)["visual"]
    frames = [net.features(p, {"visual": video[:, :, t]})["visual"] for t in range(2)]
    torch.testing.assert_close(net.features(p, {"visual": video})["visual"], torch.stack(frames).mean(0))


def test_the_same_generator_gives_the_same_model_and_touches_no_global_state():
    net = network()
    state = torch.random.get_rng_state()
    first, second = parameters(net, 3), parameters(net, 3)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["encoder.gray.layers.1.weight"], parameters(net, 4)["encoder.gray.layers.1.weight"])
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("fusion", "deviation"),
    [
        ("concat", 0.04398),  # one layer of 1,024 inputs and 10 outputs: sqrt(2 / 1034)
        ("late_sum", 0.06190),  # each classifier a layer of 512 inputs: sqrt(2 / 522)
    ],
)
def test_a_concatenation_head_starts_as_one_layer_and_summed_classifiers_as_layers_of_their_own(fusion, deviation):
    p = parameters(network(fusion, width=512, shapes={"gray": (4,), "color": (4,)}))
    for modality in ("gray", "color"):  # 5,120 numbers each, so their deviation is within 1 % (sigma)
        assert p[f"head.{modality}.weight"].std().item() == pytest.approx(deviation, rel=0.04)


@pytest.mark.parametrize(
    ("encoder", "shape", "said"),
    [
        ("conv1d", (3, 128), None),
        ("conv1d", (3, 28, 28), "wants series .* use conv4 or mlp or resnet18"),
        ("conv1d", (20,), "use mlp$"),
        ("conv4", (3, 128), "wants images.* use conv1d or mlp"),
        ("mlp", (3, 128), None),
    ],
)
def test_an_encoder_says_what_it_cannot_read_and_what_can(encoder, shape, said):
    found = misfit(encoder, InputSpec(shape))
    assert found is None if said is None else re.search(said, found)


@pytest.mark.parametrize("fusion", ["concat", "late_sum"])
@pytest.mark.parametrize("modality", ["half", "type", "training", "forward", "parameters", "weight"])
def test_a_modality_may_be_called_like_an_attribute_of_modules(fusion, modality):
    network = Network(ModelSpec(encoder="mlp", width=4, fusion=fusion), {modality: (3,), "other": (2,)}, 2)
    parameters = network.initial_parameters(torch.Generator().manual_seed(0), torch.device("cpu"))
    output = network(parameters, {modality: torch.ones(5, 3), "other": torch.ones(5, 2)})
    assert output.logits.shape == (5, 2)
    assert f"head.{modality}.weight" in parameters
