"""FedCMI: merges and personal branches by hand, and what it becomes without its terms."""

from typing import Literal

import pandas as pd
import pytest
import torch

from interlude import parse_scenario, run_scenario
from interlude.models.decomposed import DecomposedNetwork
from interlude.models.groups import group_of
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.fedavg import FedAvg, FedAvgOptions
from interlude.simulator.methods.fedcmi import FedCMI, FedCMIOptions
from interlude.simulator.methods.fedcmi.objective import Infiltrated
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.profile.costs import CostModel

BOTH = ("gray", "color")


# --- the server ------------------------------------------------------------------------------------------------------


def arrived(net, modalities, value, client=0, num_samples=1):
    full = {name: torch.full(shape.shape, value) for name, shape in net.shapes.items()}
    return ClientUpdate(client, net.groups_of(modalities), num_samples, 0, full, full, {})


def test_each_side_is_merged_over_its_holders_and_the_head_over_all(net):
    # sides: gray over 1 (n = 1) and 4 (n = 2) = 3, color over 1 alone; head (1 + 2 * 4) / 3 = 3
    model = {name: torch.zeros(shape.shape) for name, shape in net.shapes.items()}
    merged = FedCMI(FedCMIOptions()).merge(
        model, {}, [arrived(net, BOTH, 1.0), arrived(net, ("gray",), 4.0, num_samples=2)]
    )
    values = {group: merged[names[0]].flatten()[0].item() for group, names in net.groups.items()}
    assert {v for g, v in values.items() if g.endswith(".gray") or g.startswith("head.")} == {3.0}
    assert {v for g, v in values.items() if g.endswith(".color") and not g.startswith("head.")} == {1.0}


def test_a_personal_branch_stays_with_its_client(net):
    method = FedCMI(FedCMIOptions(personalised_branch=True))
    model = {name: torch.zeros(shape.shape) for name, shape in net.shapes.items()}
    updates = [arrived(net, BOTH, 1.0, client=3), arrived(net, ("gray",), 4.0, client=5)]
    merged, memory = method.advance(model, method.initial_memory(net, 9), updates)
    assert method.model_for(merged, memory, 0) is merged
    for client, value, own in ((3, 1.0, BOTH), (5, 4.0, ("gray",))):
        downloaded = method.model_for(merged, memory, client)
        changed = {group_of(n) for n in merged if not torch.equal(downloaded[n], merged[n])}
        personal = {f"{part}.{m}" for part in ("infiltration_projector", "classifier") for m in own}
        assert changed <= personal
        assert all((downloaded[n] == value).all() for g in personal for n in net.groups[g])


# --- whole runs ------------------------------------------------------------------------------------------------------

SCENARIO = {
    "name": "fedcmi",
    "data": {"dataset": "cg-digits"},
    "model": {"encoder": "mlp", "width": 16},
    "clients": {"count": 4},
    "world": {
        "arrival": {m: {"per_client": {"distribution": "uniform", "low_s": 1.0, "high_s": 3.0}} for m in BOTH},
        "compute": {"throughput_gflops": 0.1},
        "network": {"uplink_mbps": 2, "downlink_mbps": 8, "latency_ms": 50},
    },
    "training": {"window_samples": 64, "optimizer": {"learning_rate": 0.05, "momentum": 0.9}},
    "until": {"versions": 4},
    "evaluate": {"every_s": 100},
}
BARE = {"c1": 0.0, "c2": 0.0, "proximal": 0.0}


class DecomposedFedAvgOptions(FedAvgOptions):
    name: Literal["test_fedcmi:DecomposedFedAvg"] = "test_fedcmi:DecomposedFedAvg"


class DecomposedFedAvg(FedAvg):
    Options = DecomposedFedAvgOptions

    def network(self, spec, inputs, num_classes):
        return DecomposedNetwork(spec, inputs, num_classes)


def run(tmp_path, *methods, timing_only=False, **changes):
    scenario = parse_scenario({**SCENARIO, **changes, "methods": list(methods)})
    return run_scenario(scenario, runs=tmp_path, timing_only=timing_only)


def test_without_its_terms_it_is_fedavg_on_the_decomposed_network(tmp_path):
    first, second = run(tmp_path, {"name": "fedcmi", **BARE}, {"name": "test_fedcmi:DecomposedFedAvg"})
    pd.testing.assert_frame_equal(first.metrics, second.metrics)
    pd.testing.assert_frame_equal(first.timeline, second.timeline)


def test_distillation_starts_after_the_warm_up_and_is_paid_for(tmp_path, net):
    (record,) = run(tmp_path, {"name": "fedcmi", "warm_up": 2}, timing_only=True)
    flops = record.timeline.query("activity == 'train'").groupby("version")["flops"].unique()
    assert [len(values) for values in flops] == [1, 1, 1, 1]
    costs = flops.str[0]
    assert costs[0] == costs[1] < costs[2] == costs[3]
    # temperatures: encoder (two layers 2x2), self projector and classifier of both, 3 samples: 2 * 3 * 4 * 4 * 2
    assert CostModel(net, 4, {}).profile(Infiltrated(BOTH, c1=2.0, c2=1.0, kappa=2.0), 3).prepare.flops == 192


def test_a_client_with_one_modality_moves_its_side_and_the_head(tmp_path):
    clients = {"count": 4, "multimodal_fraction": 0.0}
    (record,) = run(tmp_path, {"name": "fedcmi"}, timing_only=True, clients=clients, until={"versions": 1})
    net = DecomposedNetwork(ModelSpec(encoder="mlp", width=16), {"gray": (1, 8, 8), "color": (3, 8, 8)}, num_classes=10)
    expected = {net.num_bytes(net.groups_of((m,))) for m in BOTH}
    assert set(record.timeline.query("activity == 'download'")["bytes"]) == expected
    uploads = record.timeline.query("activity == 'upload' and outcome == 'done'")
    assert set(uploads["bytes"]) == {n + 8 for n in expected}  # and n_k


MIXED = {"clients": {"count": 4, "multimodal_fraction": 0.5}, "until": {"versions": 3}, "evaluate": {"every_s": 4}}


@pytest.fixture(scope="module")
def unswitched(tmp_path_factory):
    (record,) = run(tmp_path_factory.mktemp("runs"), {"name": "fedcmi"}, **MIXED)
    return record.metrics["value"]


@pytest.mark.parametrize("switch", [{"c1": 0.0}, {"c2": 0.0}, {"kappa": 5.0}, {"class_wise": False}, {"warm_up": 0},
                                    {"proximal": 0.0}, {"projector": "mlp"}, {"personalised_branch": True},
                                    {"server": {"rule": "on_arrival"}}, {"server": {"rule": "buffered", "size": 2}},
                                    {"waiting": "first"}, {"waiting": "opportunistic"}])  # fmt: skip
def test_every_switch_runs_with_clients_of_one_modality_and_changes_the_result(switch, unswitched, tmp_path):
    (record,) = run(tmp_path, {"name": "fedcmi", **switch}, **MIXED)
    assert record.metrics["value"].notna().all()
    assert not record.metrics["value"].equals(unswitched)
