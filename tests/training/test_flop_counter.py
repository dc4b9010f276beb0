"""FLOPs are those that PyTorch's own counter counts, on every encoder."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from interlude.models.inputs import InputSpec
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.profile import dry_run
from interlude.simulator.training.profile.dry_run import Profile, Work

SHAPES = {"mlp": (3, 8, 8), "conv4": (3, 16, 16), "conv1d": (9, 32), "resnet18": (3, 32, 32)}


def reference(function):
    with FlopCounterMode(display=False) as counter:
        result = function()
    return result, Work(int(counter.get_total_flops()), 0)


@pytest.mark.parametrize("encoder", SHAPES)
@pytest.mark.parametrize("num_samples", [1, 5])
def test_the_counter_agrees_with_pytorchs_own(encoder, num_samples, monkeypatch):
    inputs = {name: InputSpec(SHAPES[encoder]) for name in ("a", "b")}
    network = Network(ModelSpec(encoder=encoder, width=16), inputs, num_classes=4)
    objective = CrossEntropy(("a", "b"))
    ours = Profile(network, objective, num_samples, {}).step.flops
    monkeypatch.setattr(dry_run, "_counted", reference)
    assert ours == Profile(network, objective, num_samples, {}).step.flops > 0


def test_attention_and_batched_products_are_counted():
    def products():
        query = torch.empty(2, 3, 5, 8, device="meta")
        return torch.nn.functional.scaled_dot_product_attention(query, query, query) @ query.transpose(-1, -2)

    assert dry_run._counted(products)[1].flops == reference(products)[1].flops > 0
