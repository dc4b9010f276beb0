"""Harmony: federations side by side, clusters, heads and distances by hand, and what travels when."""

import math

import numpy as np
import pytest
import torch

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.harmony.clusters import clusters
from interlude.simulator.methods.harmony.method import Harmony, HarmonyOptions
from interlude.simulator.methods.harmony.objective import Alone, Fused
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Batch, Context
from interlude.simulator.training.values import Named

BOTH = ("gray", "color")


@pytest.fixture
def network():
    return Network(ModelSpec(encoder="mlp", width=2), dict.fromkeys(BOTH, (2,)), num_classes=2)


def filled(network, value):
    return {name: torch.full(shape.shape, value) for name, shape in network.shapes.items()}


# --- clusters --------------------------------------------------------------------------------------------------------


def test_each_modality_is_scaled_before_clients_are_clustered():
    # unscaled, the first column alone would tell them apart: {0, 1}, {2, 3}; scaled, the second does
    points = np.array([[10.0, 0.001], [11.0, 0.009], [12.0, 0.001], [12.0, 0.010]])
    found = clusters(points, 2)
    assert found[0] == found[2] != found[1] == found[3]


def test_clusters_by_hand():
    # starts at 1.0 and, farthest, 0.0; 0.4 is nearer to 0 and moves that centre to 0.2
    assert clusters(np.array([[0.0], [4.0], [10.0]]), 2) == [1, 1, 0]
    assert len(set(clusters(np.array([[0.0], [4.0], [10.0]]), 3))) == 3


def test_alike_clients_are_one_cluster():
    assert clusters(np.zeros((3, 2)), 3) == [0, 0, 0]
    assert clusters(np.array([[1.0, 2.0]]), 3) == [0]


# --- the client ------------------------------------------------------------------------------------------------------


def test_a_modality_alone_trains_its_encoder_and_slice(network):
    assert set(Alone(("gray",)).groups(network)) == {"encoder.gray", "head.gray"}


def test_encoders_turn_slower_in_the_fusion(network):
    gradients = filled(network, 1.0)
    found = Fused(BOTH, 0.1).modulate(network, gradients, gradients, None, Context({}), torch.ones_like)
    for name, gradient in found.items():
        assert gradient.flatten()[0].item() == pytest.approx(0.1 if name.startswith("encoder") else 1.0)


def test_the_distance_is_of_angles_to_the_federated_encoder(network):
    # 12 numbers of an encoder: twice as long is no distance; one of 12 flipped: cos = 10 / 12
    federated, own = filled(network, 1.0), filled(network, 2.0)
    own["encoder.color.layers.1.bias"] = torch.tensor([-2.0, 2.0])
    report = Fused(BOTH, 0.1).report(network, own, Batch({}, torch.tensor([0]), torch.tensor([0])), Context(federated))
    assert report[Named("encoder_distance", "gray")].item() == pytest.approx(0.0, abs=1e-6)
    assert report[Named("encoder_distance", "color")].item() == pytest.approx(1 - 10 / 12)


# --- the server ------------------------------------------------------------------------------------------------------


def update(network, client, value, groups, num_samples=1, **distances):
    report = {Named("encoder_distance", m): torch.tensor(distance) for m, distance in distances.items()}
    return ClientUpdate(client, groups, num_samples, 0, filled(network, value), {}, report)


def test_the_federation_of_a_modality_is_a_plain_mean(network):
    method, model, groups = Harmony(HarmonyOptions()), filled(network, 7.0), Alone(("gray",)).groups(network)
    updates = [update(network, 0, 1.0, groups), update(network, 1, 2.0, groups, num_samples=9)]
    merged, memory = method.advance(model, {}, updates)
    assert {name: value.flatten()[0].item() for name, value in merged.items()} == {
        name: 1.5 if ".gray." in name else 7.0 for name in model
    }
    assert memory == {}


def test_heads_are_means_of_clusters_and_encoders_each_clients_own(network):
    # distances of 0 and 1 (twice): two clusters, of heads 1 and (4 + 6) / 2; nobody's change counts twice
    method, model = Harmony(HarmonyOptions(num_clusters=2)), filled(network, 7.0)
    heads = tuple(group for group in network.groups if group.startswith("head"))
    updates = [
        update(network, 0, 1.0, heads, gray=0.0, color=0.1),
        update(network, 1, 4.0, heads, num_samples=9, gray=0.5, color=0.1),
        update(network, 2, 6.0, heads, gray=0.5, color=0.1),
    ]
    merged, memory = method.advance(model, {}, updates)
    for name, value in merged.items():
        expected = 11 / 3 if name.startswith("head") else 7.0
        torch.testing.assert_close(value, torch.full_like(value, expected))
    for client, head, encoder in ((0, 1.0, 1.0), (1, 5.0, 4.0), (2, 5.0, 6.0), (3, 11 / 3, 7.0)):
        received = method.model_for(merged, memory, client)
        start = method.start_for(received, memory, client)
        for name in model:
            is_head = name.startswith("head")
            assert received[name].flatten()[0].item() == pytest.approx(head if is_head else 7.0)
            assert start[name].flatten()[0].item() == pytest.approx(head if is_head else encoder)


def test_a_client_without_a_modality_keeps_its_other_parts(network):
    method, model = Harmony(HarmonyOptions(num_clusters=1)), filled(network, 7.0)
    of_gray = ("head.gray", "head.bias")
    updates = [update(network, 0, 1.0, of_gray, gray=0.2), update(network, 1, 3.0, (*of_gray, "head.color"), gray=0.2)]
    _, memory = method.advance(model, {}, updates)
    assert memory[0].head["head.gray.weight"][0, 0].item() == 2.0
    assert "head.color.weight" not in memory[0].head
    assert {name.split(".")[1] for name in memory[0].encoders} == {"gray"}


# --- whole runs ------------------------------------------------------------------------------------------------------


def run(given, tmp_path, entry, **options):
    scenario = parse_scenario({**given, "methods": [{"name": "harmony", **entry}]})
    (record,) = run_scenario(scenario, runs=tmp_path, **options)
    return record


def test_what_travels_in_either_stage(scenario_with, tmp_path):
    given = scenario_with({"until": {"versions": 4}})
    record = run(given, tmp_path, {"unimodal_rounds": 1}, timing_only=True)
    network = Network(ModelSpec(encoder="mlp", width=16), {"gray": (1, 8, 8), "color": (3, 8, 8)}, 10)
    alone = [network.num_bytes((f"encoder.{m}", f"head.{m}")) for m in BOTH]
    whole, heads = network.num_bytes(tuple(network.groups)), network.num_bytes(("head.gray", "head.color", "head.bias"))
    down, up = (record.timeline.query(f"activity == '{sent}'")["bytes"].tolist() for sent in ("download", "upload"))
    # a round of four clients in each modality, then two of the fusion, of which the first brings the encoders
    assert sorted(down) == sorted([*alone * 4, *[whole] * 4, *[heads] * 4])
    assert sorted(up) == sorted([*[size + 8 for size in alone] * 4, *[heads + 2 * 4 + 8] * 8])


def test_federations_run_side_by_side_and_wait_for_their_own_modality_alone(scenario_with, tmp_path):
    # color takes 9 s, gray 1 s: clients with color alone do not hold up the federation of gray
    arrival = {
        m: {"per_client": {"distribution": "constant", "value_s": s}} for m, s in (("gray", 1.0), ("color", 9.0))
    }
    changes = {"world.arrival": arrival, "clients.multimodal_fraction": 0.0, "until": {"versions": 12}}
    given = scenario_with(changes)
    record = run(given, tmp_path, {"unimodal_rounds": 6}, timing_only=True)
    held = record.partition.groupby("client")["modalities"].first()
    assert set(held) == {"gray", "color"}
    merges = record.timeline.query("activity == 'merge'")
    by_client = merges.groupby("client").size()
    assert (by_client[held == "gray"] == 6).all()
    ends = {m: merges[merges["client"].isin(held.index[held == m])]["end_s"] for m in BOTH}
    assert ends["gray"].max() < 6 * 9.0 < ends["color"].max()


def test_clients_with_one_modality_are_in_no_round_of_the_fusion(scenario_with, tmp_path):
    given = scenario_with({"clients.multimodal_fraction": 0.5, "until": {"versions": 6}})
    record = run(given, tmp_path, {"unimodal_rounds": 2})
    assert record.metrics["value"].notna().all()
    held = record.partition.groupby("client")["modalities"].first()
    late = record.timeline.query("activity == 'merge' and version > 4")["client"]
    assert set(late) == set(held.index[held.str.contains(r"\+|,| ")])


def test_it_learns_with_some_clients_a_round_in_a_world_with_faults(scenario_with, tmp_path):
    given = scenario_with({"world.faults": {"dropout_probability": 0.2}, "until": {"versions": 14}})
    record = run(given, tmp_path, {"unimodal_rounds": 4, "server": {"clients_per_round": 2}})
    losses = record.metrics.query("metric == 'loss'")["value"]
    assert losses.iloc[-1] < losses.iloc[0] < 3 * math.log(10)


@pytest.mark.parametrize("rule", ["on_arrival", "buffered"])
def test_other_server_rules_are_refused(rule, scenario_with):
    with pytest.raises(BadInputError, match=rf"server\.rule: must be 'barrier'; given '{rule}'"):
        parse_scenario(scenario_with({"methods": [{"name": "harmony", "server": {"rule": rule}}]}))


def test_other_waiting_is_refused(scenario_with):
    with pytest.raises(BadInputError, match=r"waiting: must be 'all'; given 'first'"):
        parse_scenario(scenario_with({"methods": [{"name": "harmony", "waiting": "first"}]}))
