"""The text encoder: golden values by hand, padding, payload, and which encoder reads what."""

import pytest
import torch

from interlude.models.encoders import misfit
from interlude.models.inputs import InputSpec
from interlude.models.network import Network
from interlude.models.spec import ModelSpec

WORDS = InputSpec((4,), num_tokens=5)


@pytest.fixture
def net():
    spec = ModelSpec(encoder={"text": "text", "level": "mlp"}, width=3)
    return Network(spec, {"text": WORDS, "level": (2,)}, num_classes=2)


def parameters(net):
    return net.initial_parameters(torch.Generator().manual_seed(0), torch.device("cpu"))


def test_features_are_a_layer_on_the_mean_embedding_of_the_words(net):
    p = {name: torch.zeros_like(value) for name, value in parameters(net).items()}
    embedding = torch.zeros(5, 128)
    embedding[0] = 99.0  # padding: never read
    embedding[2, 0], embedding[3, 0], embedding[4, 1] = 2.0, 6.0, 9.0
    p["encoder.text.embedding"] = embedding.t()
    p["encoder.text.linear.weight"] = torch.eye(3, 128)
    p["encoder.text.linear.bias"] = torch.tensor([0.5, -4.0, 0.0])
    texts = torch.tensor([[2, 3, 0, 0], [3, 0, 2, 4], [0, 0, 0, 0]], dtype=torch.int32)
    features = net.features(p, {"text": texts})["text"]
    torch.testing.assert_close(features, torch.tensor([[4.5, 0.0, 0.0], [8 / 3 + 0.5, 0.0, 0.0], [0.5, 0.0, 0.0]]))


def test_padding_trains_no_embedding_and_gives_no_nan(net):
    p = {name: value.requires_grad_() for name, value in parameters(net).items()}
    texts = torch.tensor([[2, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.int32)
    net(p, {"text": texts}).logits.square().sum().backward()
    gradient = p["encoder.text.embedding"].grad
    assert gradient.isfinite().all()
    assert gradient.any(dim=0).tolist() == [False, False, True, False, False]


def test_the_payload_is_a_row_for_each_token_and_one_layer(net):
    assert net.group_bytes["encoder.text"] == 4 * (5 * 128 + 128 * 3 + 3)
    assert net.example(["text"], 6)["text"].dtype == torch.int32


def test_embeddings_start_standard_normal():
    net = Network(ModelSpec(encoder="text", width=3), {"text": InputSpec((4,), num_tokens=2000)}, num_classes=2)
    embedding = parameters(net)["encoder.text.embedding"]
    assert abs(embedding.mean()) < 0.02
    assert abs(embedding.std() - 1.0) < 0.02


@pytest.mark.parametrize(
    ("encoder", "given", "said"),
    [
        ("text", WORDS, None),
        ("mlp", WORDS, "'mlp' cannot read tokens; use text"),
        ("text", InputSpec((3, 8, 8)), "'text' cannot read numbers; use conv4 or mlp or resnet18"),
        ("text", InputSpec((9,)), "'text' cannot read numbers; use mlp"),
        ("conv4", InputSpec((9,)), "'conv4' wants images, not samples of shape (9,); use mlp"),
        (
            "conv4",
            InputSpec((3, 2, 8, 8)),
            "'conv4' wants images, not samples of shape (3, 2, 8, 8); use mlp or resnet18",
        ),
        ("resnet18", InputSpec((3, 2, 8, 8)), None),
    ],
)
def test_an_encoder_that_cannot_read_a_modality_is_told_with_those_that_can(encoder, given, said):
    assert misfit(encoder, given) == said
