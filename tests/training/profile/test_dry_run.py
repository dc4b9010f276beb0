"""The dry run of an objective: what it touches, besides what it costs."""

import pytest
import torch

from interlude.models.decomposed import DecomposedNetwork
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.fedcmi.objective import Infiltrated
from interlude.simulator.methods.fedogm import Modulated
from interlude.simulator.methods.fedproto import TowardsPrototypes
from interlude.simulator.methods.powerofchoice import LossProbe
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.profile.dry_run import Profile
from interlude.simulator.training.values import Named, named

INPUTS = {"gray": (1, 8, 8), "color": (3, 8, 8)}
BOTH = ("gray", "color")
SPEC = ModelSpec(encoder="mlp", width=4)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (CrossEntropy(BOTH), False),
        (Infiltrated(BOTH, 1.0, 0.0, 0.0), False),  # nothing is distilled, so that no teacher is asked
        (Infiltrated(BOTH, 1.0, 1.0, 0.0), True),
        (Infiltrated(BOTH, 1.0, 1.0, 2.0), True),
    ],
)
def test_who_reads_the_received_model(objective, expected):
    assert Profile(DecomposedNetwork(SPEC, INPUTS, 3), objective, 2, {}).reads_received is expected


def test_modulation_and_the_shapes_of_its_noise():
    network = Network(SPEC, INPUTS, 3)
    plain = Profile(network, CrossEntropy(BOTH), 2, {})
    loud = Profile(network, Modulated(BOTH, 0.5, noise=True, tensors="weights"), 2, {})
    silent = Profile(network, Modulated(BOTH, 0.5, noise=False, tensors="weights"), 2, {})
    matrices = [network.shapes[n].shape for m in BOTH for n in network.groups[network.encoder_group(m)]]
    assert loud.noise_shapes == tuple(shape for shape in matrices if len(shape) >= 2)
    assert (plain.modulates, loud.modulates, silent.modulates) == (False, True, True)
    assert plain.noise_shapes == silent.noise_shapes == ()


def test_what_is_prepared_and_reported_and_its_bytes():
    network = Network(SPEC, INPUTS, 3)
    broadcast = named("prototype", {m: torch.zeros(3, 4) for m in BOTH})
    profile = Profile(network, TowardsPrototypes(BOTH, "original", 1.0), 2, broadcast)
    assert profile.prepared == (Named("prototype", "gray"), Named("prototype", "color"))
    assert profile.reported == (*profile.prepared, Named("class_count"))
    assert profile.report_bytes == 4 * (2 * 3 * 4 + 3)


def test_a_probe_has_a_dry_run_though_it_trains_nothing():
    profile = Profile(Network(SPEC, INPUTS, 3), LossProbe(BOTH), 2, {})
    assert profile.reported == (Named("loss"),)
    assert not profile.modulates


def test_operations_are_those_of_forward_and_backward_with_reading_and_updating_and_do_not_grow_with_samples():
    network = Network(SPEC, INPUTS, 3)
    step, larger, alone = (
        Profile(network, CrossEntropy(modalities), num_samples, {}).step
        for modalities, num_samples in ((BOTH, 2), (BOTH, 64), (("gray",), 2))
    )
    assert step.operations == larger.operations
    assert larger.flops == 32 * step.flops
    # one encoder more: its input is read; at least two products forward and three backward; four tensors are updated
    assert step.operations - alone.operations >= 1 + 5 + 2 * 4
