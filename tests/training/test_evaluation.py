import torch

from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.training.evaluation import EvaluationSets, evaluate


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
