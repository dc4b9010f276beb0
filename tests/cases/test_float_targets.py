"""Counts become accuracies in float64: a target that is met on paper is met in the record."""

import pytest
import torch

from interlude.models.network import ModelSpec, Network
from interlude.simulator.training.evaluation import EvaluationSets, evaluate


@pytest.mark.parametrize("num_samples", [10, 100, 450, 1000])
def test_every_share_of_the_test_samples_is_the_float_of_the_same_name(num_samples):
    """A model of zeros says class 0 of everything, so its accuracy is the share of zeros among the labels."""
    network = Network(ModelSpec(encoder="mlp", width=1), {"a": (1,)}, num_classes=2)
    parameters = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
    inputs = {"a": torch.zeros(num_samples, 1)}
    for right in range(1, num_samples + 1, max(1, num_samples // 50)):
        labels = (torch.arange(num_samples) >= right).long()
        found = evaluate(network, parameters, EvaluationSets((inputs, labels)))
        assert found.accuracy == {"fused": right / num_samples, "a": right / num_samples}


def test_a_loss_of_many_samples_is_summed_in_float64():
    """Seven chunks of log 2 each: in float32 the sum loses the last digits of the mean."""
    network = Network(ModelSpec(encoder="mlp", width=1), {"a": (1,)}, num_classes=2)
    parameters = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
    chunk = evaluate(
        network, parameters, EvaluationSets(({"a": torch.zeros(2048, 1)}, torch.zeros(2048, dtype=torch.long)))
    )
    whole = evaluate(
        network, parameters, EvaluationSets(({"a": torch.zeros(7 * 2048, 1)}, torch.zeros(7 * 2048, dtype=torch.long)))
    )
    assert whole.loss == pytest.approx(chunk.loss, rel=1e-12)
