"""MBA: merges by hand, and the identities that hold whatever the reconstruction."""

import math

import pandas as pd
import pytest
import torch

from interlude import parse_scenario, run_scenario
from interlude.simulator.methods.mba import MBA, MBAOptions
from interlude.simulator.methods.mba.imbalance import Imbalance
from interlude.simulator.training.merge import ClientUpdate
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
    merged, _ = merge(MBAOptions(decoupled=False), [arrived(10.0, report=distances(gray=0.6, color=0.2))])
    assert list(merged.values()) == pytest.approx([6.0] * 5)


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
PLAIN = {"name": "fedasync", "proximal": 0.0}


def test_without_gamma_beta_and_gap_training_it_is_fedasync_number_for_number(tmp_path):
    bare = {"name": "mba", "gamma": 0.0, "beta": 0.0, "waiting": "all"}
    fedasync, mba = accuracy_curves(SCENARIO, [PLAIN, bare], tmp_path)
    pd.testing.assert_frame_equal(fedasync, mba)


def test_gamma_zero_merges_every_modality_as_fedasync_would(tmp_path):
    # the same clients, so gap training and anchors stay on; only the server rule differs
    with_gamma_0 = {"name": "mba", "gamma": 0.0}
    coupled = {"name": "mba", "label": "coupled", "decoupled": False}
    first, second = accuracy_curves(SCENARIO, [with_gamma_0, coupled], tmp_path)
    pd.testing.assert_frame_equal(first, second)


def test_without_arrival_gaps_it_is_its_wait_for_all_ablation(tmp_path):
    together = {"per_client": {"distribution": "constant", "value_s": 3.0}}
    world = {**SCENARIO["world"], "arrival": {"gray": together, "color": together}}
    methods = [{"name": "mba"}, {"name": "mba", "label": "idle", "waiting": "all"}]
    first, second = accuracy_curves({**SCENARIO, "world": world}, methods, tmp_path)
    pd.testing.assert_frame_equal(first, second)


def test_gap_training_costs_no_joint_training_its_place(tmp_path):
    methods = [{"name": "mba", "anchor": "none"}, {"name": "mba", "label": "idle", "waiting": "all"}]
    records = run_scenario(parse_scenario({**SCENARIO, "methods": methods}), runs=tmp_path, timing_only=True)
    with_gaps, idle = [r.timeline[r.timeline["activity"] == "train"].reset_index(drop=True) for r in records]
    assert (records[0].timeline["activity"] == "train_unimodal").any()
    columns = ["client", "start_s", "end_s"]
    pd.testing.assert_frame_equal(with_gaps[columns], idle[columns], rtol=1e-9)


@pytest.mark.parametrize("switch", [{"anchor": "none"}, {"anchor": "class_mean"}, {"distance": "squared"},
                                    {"lazy_when": "near"}, {"anchor_weights": "imbalance"}, {"decoupled": False},
                                    {"server": {"rule": "buffered", "size": 3}}, {"server": {"rule": "barrier"}},
                                    {"waiting": "first"}])  # fmt: skip
def test_every_ablation_switch_runs_and_changes_the_result(switch, tmp_path):
    base, switched = accuracy_curves(SCENARIO, [{"name": "mba"}, {"name": "mba", "label": "x", **switch}], tmp_path)
    assert switched["value"].notna().all()
    assert not base["value"].equals(switched["value"])


def test_anchor_weights_travel_down(tmp_path):
    methods = [{"name": "mba"}, {"name": "mba", "label": "weighted", "anchor_weights": "imbalance"}]
    records = run_scenario(parse_scenario({**SCENARIO, "methods": methods}), runs=tmp_path, timing_only=True)
    downloads = [r.timeline.query("activity == 'download' and end_s < 15")["bytes"].unique() for r in records]
    assert downloads[1] - downloads[0] == [8]  # two float32
