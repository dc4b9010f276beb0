"""Parameters in one vector: the same values under the same names, groups side by side."""

import pickle

import pytest
import torch

from interlude.models.decomposed import DecomposedNetwork
from interlude.models.groups import group_of
from interlude.models.network import Network
from interlude.models.packed import pack
from interlude.models.spec import ModelSpec

NETWORKS = {
    "mlp": Network(ModelSpec(encoder="mlp", width=5), {"a": (6,), "b": (4,)}, 3),
    "conv4": Network(ModelSpec(encoder="conv4", width=5, fusion="late_sum"), {"a": (1, 8, 8), "b": (3, 8, 8)}, 3),
    "decomposed": DecomposedNetwork(ModelSpec(encoder="mlp", width=5), {"a": (6,), "b": (4,)}, 3),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]


@pytest.fixture
def parameters(network):
    return network.initial_parameters(torch.Generator().manual_seed(0), torch.device("cpu"))


def test_packing_changes_no_value_and_no_shape(parameters):
    packed = pack(parameters)
    assert set(packed) == set(parameters)
    for name, value in parameters.items():
        assert torch.equal(packed[name], value)


def test_views_look_at_the_vector(parameters):
    packed = pack(parameters)
    name = next(iter(packed))
    packed.flat.zero_()
    assert not packed[name].any()


def test_groups_are_contiguous_and_neighbours_are_one_span(network, parameters):
    layout = pack(parameters).layout
    for group, columns in layout.group_columns.items():
        inside = sum(parameters[name].numel() for name in network.groups[group])
        assert columns.stop - columns.start == inside
        assert {group_of(name) for name in layout.names_in(columns)} == {group}
    total = sum(value.numel() for value in parameters.values())
    assert layout.spans(network.groups) == (slice(0, total),)


def test_a_bank_of_vectors_is_seen_parameter_by_parameter(parameters):
    packed = pack(parameters)
    bank = torch.stack([packed.flat, 2 * packed.flat])
    for name, columns in packed.layout.columns.items():
        value = packed.layout.shaped(bank[:, columns], name)
        assert torch.equal(value[1], 2 * parameters[name])
        assert torch.equal(packed.layout.flattened(value, name)[0], packed.flat[packed.layout.columns[name]])


def test_a_network_that_travels_is_the_same_network(network, parameters):
    copy = pickle.loads(pickle.dumps(network))
    assert copy.groups == network.groups
    inputs = {m: torch.ones(2, *given.shape) for m, given in network.inputs.items()}
    assert torch.equal(copy(parameters, inputs).logits, network(parameters, inputs).logits)
