import math

import pytest
import torch

from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.training.evaluation import EvaluationSets, evaluate, evaluate_together, has_diverged


def test_accuracies_of_fused_and_single_modalities_by_hand():
    # Linear on purpose: width 2, identity-like weights, so that features are the (non-negative) inputs themselves.
    network = Network(ModelSpec(encoder="mlp", width=2), {"a": (2,), "b": (2,)}, num_classes=2)
    parameters = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
    for name in parameters:
        if name.endswith("weight"):
            parameters[name] = torch.eye(2)
    a = torch.tensor([[3.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 1.0]])  # says 0 0 1 1
    b = torch.tensor([[0.0, 1.0], [0.0, 9.0], [0.0, 1.0], [5.0, 0.0]])  # says 1 1 1 0
    labels = torch.tensor([0, 1, 1, 1])
    # fused: 3 vs 1 -> 0; 3 vs 9 -> 1; 0 vs 2 -> 1; 5 vs 1 -> 0, so 3 of 4; a alone 3 of 4; b alone 2 of 4
    result = evaluate(network, parameters, EvaluationSets(({"a": a, "b": b}, labels)))
    assert result.accuracy == {"fused": 0.75, "a": 0.75, "b": 0.5}
    logits = torch.tensor([[3.0, 1.0], [3.0, 9.0], [0.0, 2.0], [5.0, 1.0]])
    assert abs(result.loss - torch.nn.functional.cross_entropy(logits, labels).item()) < 1e-6


def test_nearest_class_means_by_hand():
    """Features are the inputs; the means, of a: (1, 0) of class 0, (5, 0) of class 1; of b: (1, 1) and (1, 4)."""
    network = Network(ModelSpec(encoder="mlp", width=2), {"a": (2,), "b": (2,)}, num_classes=3)
    models = []
    for scale in (1.0, 0.0):  # of the second, every feature is 0: all means are equally near, and the first is taken
        parameters = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
        for name in parameters:
            if name.startswith("encoder") and name.endswith("weight"):
                parameters[name] = scale * torch.eye(2)
        models.append(parameters)
    references = (
        {
            "a": torch.tensor([[0.0, 0.0], [5.0, 0.0], [2.0, 0.0]]),
            "b": torch.tensor([[0.0, 1.0], [1.0, 4.0], [2.0, 1.0]]),
        },
        torch.tensor([0, 1, 0]),  # none of class 2, whose mean would be 0 and is near to nothing
    )
    test = (
        {
            "a": torch.tensor([[2.9, 0.0], [3.1, 0.0], [0.0, 0.0], [9.0, 9.0]]),  # says 0 1 0 1
            "b": torch.tensor([[9.0, 2.4], [9.0, 2.6], [0.0, 0.0], [0.0, 2.0]]),  # says 0 1 0 0
        },
        torch.tensor([0, 1, 2, 1]),
    )
    sets = EvaluationSets(test, references=references)
    for stacks in (False, True):
        found = [one.nearest_mean_accuracy for one in evaluate_together(network, models, sets, stacks)]
        assert found == [{"a": 0.75, "b": 0.5}, {"a": 0.25, "b": 0.25}]


@pytest.mark.parametrize(
    ("loss", "num_classes", "diverged"),
    [
        (math.nan, 10, True),
        (math.inf, 10, True),
        (23.1, 10, True),  # 10 ln 10 = 23.026
        (22.9, 10, False),
        (7.0, 2, True),  # 10 ln 2 = 6.931
        (6.9, 2, False),
        (0.0, 1, False),
    ],
)
def test_a_loss_that_is_not_finite_or_ten_times_a_guess_is_of_a_model_that_diverged(loss, num_classes, diverged):
    assert has_diverged(loss, num_classes) is diverged
