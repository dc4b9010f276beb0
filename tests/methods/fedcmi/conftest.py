"""Shared by the tests of FedCMI: a small decomposed network."""

import pytest

from interlude.models.decomposed import DecomposedNetwork
from interlude.models.spec import ModelSpec


@pytest.fixture
def net():
    return DecomposedNetwork(ModelSpec(encoder="mlp", width=2), {"gray": (2,), "color": (2,)}, num_classes=2)
