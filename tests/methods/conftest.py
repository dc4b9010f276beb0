"""Networks by hand for the tests of objectives."""

import pytest
import torch

from interlude.models.network import Network
from interlude.models.spec import ModelSpec


@pytest.fixture
def identity():
    """Encoders of gray and color that return their non-negative input, and a head that adds both features up."""
    network = Network(ModelSpec(encoder="mlp", width=2), {"gray": (2,), "color": (2,)}, num_classes=2)
    parameters = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
    for name in parameters:
        if name.endswith("weight"):
            parameters[name] = torch.eye(2)
    return network, parameters
