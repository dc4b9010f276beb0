"""MBA: merges by hand, and the identities that hold whatever the reconstruction."""

import math

import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from interlude import parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.fedasync import FedAsync
from interlude.simulator.methods.mba import MBA, MBAOptions
from interlude.simulator.methods.mba.imbalance import Imbalance
from interlude.simulator.methods.waiting import Ready
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.profile.costs import CostModel
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.values import named


def arrived(value, *, report=None, staleness=0, num_samples=1, start=0.0):
    names = ("encoder.gray.w", "head.gray.weight", "encoder.color.w", "head.color.weight", "head.bias")
    return ClientUpdate(
        client=0,
        groups=("encoder.gray", "head.gray", "encoder.color", "head.color", "head.bias"),
        num_samples=num_samples,
        staleness=staleness,
        parameters={name: torch.tensor([value]) for name in names},
        start={name: torch.tensor([start]) for name in names},
        report=report or {},
    )


def distances(**values):
    return named("distance", {modality: torch.tensor(value) for modality, value in values.items()})


# --- the server ------------------------------------------------------------------------------------------------------


def merge(options, updates, memory=None, model=0.0):
    network_modalities = ("gray", "color")
    start = dict.fromkeys(arrived(0.0).parameters, torch.tensor([model]))
    merged, memory = MBA(options).advance(start, memory or Imbalance(network_modalities), updates)
    return {name: value.item() for name, value in merged.items()}, memory


def test_each_modality_is_mixed_by_its_own_weight():
    # D = (0.6, 0.2): r = (1.5, 0.5). alpha 0.4, s(3) = 1/2: base 0.2. gamma 2: 0.2 * 2.25 = 0.45, 0.2 * 0.25 = 0.05.
    options = MBAOptions(
        gamma=2.0, server={"rule": "on_arrival", "mixing": 0.4, "staleness": {"function": "polynomial"}}
    )
    merged, _ = merge(options, [arrived(10.0, report=distances(gray=0.6, color=0.2), staleness=3)])
    assert merged["encoder.gray.w"] == pytest.approx(4.5)
    assert merged["head.gray.weight"] == pytest.approx(4.5)
    assert merged["encoder.color.w"] == pytest.approx(0.5)
    assert merged["head.bias"] == pytest.approx(2.0)


def test_mixing_weights_are_clipped():
    # 0.6 * 1.5^2 = 1.35 -> alpha_max 0.9
    merged, _ = merge(MBAOptions(gamma=2.0), [arrived(10.0, report=distances(gray=0.6, color=0.2))])
    assert merged["encoder.gray.w"] == pytest.approx(9.0)


def test_a_coupled_merge_mixes_everything_alike():
    for acts in ("none", "client"):
        options = MBAOptions(imbalance_acts=acts)
        merged, _ = merge(options, [arrived(10.0, report=distances(gray=0.6, color=0.2))])
        assert list(merged.values()) == pytest.approx([6.0] * 5)


def test_gamma_zero_merges_as_fedasync_whatever_is_reported():
    updates = [arrived(10.0, report=distances(gray=0.6, color=0.2), staleness=2)]
    merged, memory = merge(MBAOptions(gamma=0.0), updates)
    start = dict.fromkeys(updates[0].parameters, torch.tensor([0.0]))
    plain = FedAsync(FedAsync.Options()).merge(start, None, updates)
    assert merged == {name: value.item() for name, value in plain.items()}
    assert memory.ratios("far")["gray"].item() == pytest.approx(1.5)  # measured all the same


def test_buffered_weights_prefer_the_faithful():
    # gray: n s e^{-gamma d} = 1 * e^0 and 3 * e^{-ln 3} = 1: half each. Deltas 4 and 8: 6.
    # color: second update reported nothing, so it takes the buffer's mean, 0.5, as the first has: weights 1/4, 3/4: 7.
    # bias: 1/4 and 3/4: 7.
    updates = [
        arrived(4.0, report=distances(gray=0.0, color=0.5), num_samples=1),
        arrived(9.0, report=distances(gray=math.log(3.0)), num_samples=3, start=1.0),
    ]
    options = MBAOptions(gamma=1.0, server={"rule": "buffered", "size": 2})
    merged, _ = merge(options, updates)
    assert merged["encoder.gray.w"] == pytest.approx(6.0)
    assert merged["encoder.color.w"] == pytest.approx(7.0)
    assert merged["head.bias"] == pytest.approx(7.0)


def test_buffered_weights_of_large_distances_are_numbers():
    # e^-200 is zero in float32; only the difference, ln 3, counts: 3/4 and 1/4
    updates = [arrived(4.0, report=distances(gray=200.0)), arrived(8.0, report=distances(gray=200.0 + math.log(3.0)))]
    merged, _ = merge(MBAOptions(server={"rule": "buffered", "size": 2}), updates)
    assert merged["encoder.gray.w"] == pytest.approx(5.0, rel=1e-4)


def test_two_updates_of_one_client_in_a_buffer_count_as_two():
    options = MBAOptions(server={"rule": "buffered", "size": 2})
    merged, _ = merge(options, [arrived(4.0), arrived(8.0)])
    assert merged["encoder.gray.w"] == pytest.approx(6.0)


# --- identities, through whole runs ----------------------------------------------------------------------------------


def accuracy_curves(mapping, methods, tmp_path) -> list[pd.DataFrame]:
    records = run_scenario(parse_scenario({**mapping, "methods": methods}), runs=tmp_path)
    return [r.metrics[r.metrics["metric"].isin(["accuracy", "loss"])].reset_index(drop=True) for r in records]


SCENARIO = {
    "name": "identity",
    "data": {"dataset": "cg-digits"},
    "model": {"encoder": "mlp", "width": 16},
    "clients": {"count": 5},
    "world": {
        "arrival": {
            "gray": {"per_client": {"distribution": "lognormal", "median_s": 2.0, "sigma": 1.0}, "jitter_sigma": 0.3},
            "color": {"per_client": {"distribution": "lognormal", "median_s": 2.0, "sigma": 1.0}, "jitter_sigma": 0.3},
        },
        "compute": {"throughput_gflops": 0.05},
        "network": {"uplink_mbps": 2, "downlink_mbps": 8, "latency_ms": 50},
        "faults": {"dropout_probability": 0.1},
    },
    "training": {"optimizer": {"learning_rate": 0.05, "momentum": 0.9}},
    "until": {"simulated_s": 15},
    "evaluate": {"every_s": 5},
}
SHORT = {
    "training": {**SCENARIO["training"], "window_samples": 64},
    "until": {"simulated_s": 6},
    "evaluate": {"every_s": 6, "samples": 100},
    "executor": {"kind": "sequential"},
}
PLAIN = {"name": "fedasync", "proximal": 0.0}
R0 = {"distance": "drift", "late_term": False, "imbalance_acts": "server"}
"""The reading that has neither a term nor a forward pass where there is no gap."""


def test_without_gamma_beta_and_gap_training_it_is_fedasync_number_for_number(tmp_path):
    bare = {"name": "mba", **R0, "gamma": 0.0, "beta": 0.0, "waiting": "all"}
    fedasync, mba = accuracy_curves(SCENARIO, [PLAIN, bare], tmp_path)
    pd.testing.assert_frame_equal(fedasync, mba)


def test_gamma_zero_ignores_the_imbalance_at_clients_and_server(tmp_path):
    terms = {"late_term": True, "distance": "prediction", "gamma": 0.0}
    methods = [{"name": "mba", "label": acts, "imbalance_acts": acts, **terms} for acts in ("server", "client", "both")]
    server, *others = accuracy_curves({**SCENARIO, **SHORT}, methods, tmp_path)
    for other in others:
        pd.testing.assert_frame_equal(server, other)


def test_without_arrival_gaps_it_is_fedasync_waiting_for_all_number_for_number(tmp_path):
    together = {"per_client": {"distribution": "constant", "value_s": 3.0}}
    world = {**SCENARIO["world"], "arrival": {"gray": together, "color": together}}
    readings = [
        {"label": "drift"},
        {"label": "idle", "waiting": "all"},
        {"label": "input", "distance": "displacement", "anchor": "input"},
        {"label": "late-without-weight", "late_term": True, "beta": 0.0, "imbalance_acts": "both"},
        {"label": "nothing-measured", "distance": "prediction", "imbalance_acts": "none"},
    ]
    methods = [PLAIN, *({"name": "mba", **R0, **reading} for reading in readings)]
    fedasync, *others = accuracy_curves({**SCENARIO, "world": world}, methods, tmp_path)
    for other in others:
        pd.testing.assert_frame_equal(fedasync, other)


def test_gap_training_costs_no_joint_training_its_place(tmp_path):
    bare = {"name": "mba", "anchor": "none", "late_term": False, "imbalance_acts": "none"}
    methods = [bare, {**bare, "label": "idle", "waiting": "all"}]
    records = run_scenario(parse_scenario({**SCENARIO, "methods": methods}), runs=tmp_path, timing_only=True)
    with_gaps, idle = [r.timeline[r.timeline["activity"] == "train"].reset_index(drop=True) for r in records]
    assert (records[0].timeline["activity"] == "train_unimodal").any()
    columns = ["client", "start_s", "end_s"]
    pd.testing.assert_frame_equal(with_gaps[columns], idle[columns], rtol=1e-9)


SWITCHES = [
    {"anchor": "none"},
    {"anchor": "input"},
    {"anchor_form": "class_mean"},
    {"delta": "squared"},
    {"distance": "displacement"},
    {"distance": "drift"},
    {"late_term": False},
    {"imbalance_acts": "client"},
    {"imbalance_acts": "server"},
    {"imbalance_acts": "none"},
    {"lazy_when": "near"},
    {"server": {"rule": "buffered", "size": 3}},
    {"server": {"rule": "barrier"}},
    {"waiting": "first"},
]


def test_every_switch_runs_and_changes_the_result(tmp_path):
    methods = [{"name": "mba", "label": f"v{i}", **switch} for i, switch in enumerate([{}, *SWITCHES])]
    base, *switched = accuracy_curves({**SCENARIO, **SHORT}, methods, tmp_path)
    assert all(curves["value"].notna().all() for curves in switched)
    assert [s for s, curves in zip(SWITCHES, switched, strict=True) if base["value"].equals(curves["value"])] == []


def test_the_readings_report_who_can_report(tmp_path):
    # gray comes first everywhere: only a prediction is known of color
    arrival = {m: {"per_client": {"distribution": "constant", "value_s": s}} for m, s in (("gray", 1), ("color", 2))}
    world = {**SCENARIO["world"], "arrival": arrival}
    names = ["drift", "displacement", "prediction"]
    methods = [{"name": "mba", "label": name, "distance": name} for name in names]
    scenario = parse_scenario({**SCENARIO, "world": world, "until": {"simulated_s": 5}, "methods": methods})
    records = run_scenario(scenario, runs=tmp_path)
    reported = {r.label: set(r.metrics.query("metric == 'distance'")["modality"]) for r in records}
    assert reported == {"drift": {"gray"}, "displacement": {"gray"}, "prediction": {"gray", "color"}}


@pytest.mark.parametrize(
    ("switches", "num_down", "num_up"),
    [
        ({}, 0, 1),
        ({"imbalance_acts": "both"}, 2, 1),
        ({"imbalance_acts": "both", "distance": "prediction"}, 2, 2),
        ({"imbalance_acts": "both", "beta": 0.0}, 0, 1),
        ({"imbalance_acts": "client", "anchor": "none", "distance": "prediction"}, 0, 2),  # no term to weigh
        ({"imbalance_acts": "client", "anchor": "none", "distance": "prediction", "late_term": True}, 2, 2),
        ({"anchor": "input"}, 0, 0),  # no drift
        ({"anchor": "input", "distance": "displacement"}, 0, 1),
        ({"imbalance_acts": "none"}, 0, 0),
    ],
)
def test_floats_beside_the_model(switches, num_down, num_up):
    network = Network(ModelSpec(encoder="mlp", width=4), {"gray": (3,), "color": (3,)}, num_classes=2)
    method = MBA(MBAOptions(**R0 | switches))
    broadcast = method.broadcast(method.initial_memory(network, 3))
    assert len(broadcast) == num_down
    steps = LocalSteps(method.objective(None, Ready(("gray", "color"), ("gray",))), 1, "joint")
    assert CostModel(network, 4, broadcast).of_task((steps,), 8).report_bytes == 4 * num_up


def test_a_single_modality_has_its_turn_in_the_fused_loss():
    terms = MBAOptions(**R0 | {"late_term": True})
    assert MBA(terms).objective(None, Ready(("gray",))) == CrossEntropy(("gray",))
    assert MBA(terms).objective(None, Ready(("a", "b", "c"), ("b",))).late == ("a", "c")


def test_class_means_are_no_inputs():
    with pytest.raises(ValidationError, match="anchor_form 'class_mean' is no input: it needs anchor 'target'"):
        MBAOptions(anchor="input", anchor_form="class_mean")
