"""FedAvg-p: what is dropped, that it is not waited for, and FedAvg without dropping."""

import pandas as pd
import pytest

from interlude import parse_scenario, run_scenario
from interlude.simulator.methods.modality_dropping import ModalityDropping, ModalityDroppingOptions

BOTH = ("gray", "color")
SCENARIO = {
    "name": "dropping",
    "data": {"dataset": "cg-digits"},
    "model": {"encoder": "mlp", "width": 16},
    "clients": {"count": 6},
    "world": {
        "arrival": {
            "gray": {"per_client": {"distribution": "constant", "value_s": 2.0}},
            "color": {"per_client": {"distribution": "constant", "value_s": 9.0}},
        },
        "compute": {"throughput_gflops": 1.0},
        "network": {"uplink_mbps": 8, "downlink_mbps": 8, "latency_ms": 0},
    },
    "training": {"window_samples": 32, "optimizer": {"learning_rate": 0.05}},
    "until": {"versions": 4},
    "evaluate": {"every_s": 1000},
}


def run(tmp_path, *methods, timing_only=False, **changes):
    scenario = parse_scenario({**SCENARIO, **changes, "methods": list(methods)})
    return run_scenario(scenario, runs=tmp_path, timing_only=timing_only)


def trained(record):
    """Return the modalities trained by each client in each round, e.g. ``gray+color``."""
    return record.timeline.query("activity == 'train'").pivot(index="client", columns="version", values="modality")


@pytest.mark.parametrize(
    ("uniform", "modalities", "expected"),
    [
        (0.0, BOTH, "gray"),
        (0.39, BOTH, "gray"),  # [0, 0.4) and [0.4, 0.8): each half of p
        (0.4, BOTH, "color"),
        (0.79, BOTH, "color"),
        (0.8, BOTH, None),
        (0.99, BOTH, None),
        (0.1, ("gray",), None),
        (0.5, ("a", "b", "c", "d"), "c"),  # 0.5 / 0.8 = 0.625 of 4
    ],
)
def test_what_a_number_drops_by_hand(uniform, modalities, expected):
    method = ModalityDropping(ModalityDroppingOptions(probability=0.8))
    assert method.dropped(uniform, modalities) == expected


def test_certain_dropping_leaves_one_modality_and_none_drops_nothing():
    everything, nothing = (ModalityDropping(ModalityDroppingOptions(probability=p)) for p in (1.0, 0.0))
    assert {everything.dropped(u / 64, BOTH) for u in range(64)} == set(BOTH)
    assert {nothing.dropped(u / 64, BOTH) for u in range(64)} == {None}


def test_without_dropping_it_is_fedavg_number_for_number(tmp_path):
    never = {"name": "fedavg-p", "probability": 0.0}
    fedavg, dropping, fixed = run(tmp_path, {"name": "fedavg"}, never, {**never, "label": "fixed", "fixed": True})
    for record in (dropping, fixed):
        pd.testing.assert_frame_equal(fedavg.metrics, record.metrics)
        pd.testing.assert_frame_equal(fedavg.timeline, record.timeline)


def test_a_dropped_modality_is_neither_waited_for_nor_trained_nor_sent(tmp_path):
    # the data are there 2 s (gray) and 9 s (color) after the start of a round
    (record,) = run(tmp_path, {"name": "fedavg-p", "probability": 1.0}, timing_only=True, until={"versions": 1})
    timeline = record.timeline
    train = timeline.query("activity == 'train'").set_index("client")
    assert set(train["modality"]) == set(BOTH)
    assert (train["start_s"] == train["modality"].map({"gray": 2.0, "color": 9.0})).all()
    waits = timeline.query("activity == 'wait'").set_index("client")["modality"]
    pd.testing.assert_series_equal(waits.sort_index(), train["modality"].sort_index())
    # gray 8x8: (64 * 16 + 16 + 16 * 16 + 16) * 4 B, slice 160 * 4 B, bias 40 B, n_k 8 B; color has 128 * 16 inputs more
    uploads = timeline.query("activity == 'upload' and outcome == 'done'").set_index("client")["bytes"]
    assert (uploads == train["modality"].map({"gray": 5248 + 688, "color": 5248 + 8192 + 688})).all()
    # It drops a modality after it has downloaded everything.
    assert timeline.query("activity == 'download'")["bytes"].nunique() == 1


def test_a_fixed_choice_never_changes_and_a_random_one_does(tmp_path):
    changes = {"clients": {"count": 40}, "until": {"versions": 5}}
    fixed, random = run(
        tmp_path,
        {"name": "fedavg-p", "label": "fixed", "fixed": True},
        {"name": "fedavg-p", "label": "random"},
        timing_only=True,
        **changes,
    )
    assert (trained(fixed).nunique(axis=1) == 1).all()
    assert set(trained(fixed)[0]) == {"gray", "color", "gray+color"}
    assert (trained(random).nunique(axis=1) > 1).mean() > 0.5
    # 200 rounds at p = 1/2: deviation of the share 0.035; half of the dropped are gray
    shares = trained(random).stack().value_counts(normalize=True)
    assert shares["gray+color"] == pytest.approx(0.5, abs=0.12)
    assert shares["gray"] == pytest.approx(0.25, abs=0.1)


def test_a_client_with_one_modality_keeps_it(tmp_path):
    clients = {"count": 6, "multimodal_fraction": 0.0}
    always = {"name": "fedavg-p", "probability": 1.0}
    fedavg, dropping = run(tmp_path, {"name": "fedavg"}, always, timing_only=True, clients=clients)
    pd.testing.assert_frame_equal(fedavg.timeline, dropping.timeline)


@pytest.mark.parametrize("switch", [{"fixed": True}, {"server": {"rule": "on_arrival"}},
                                    {"server": {"rule": "buffered", "size": 2}}, {"waiting": "first"},
                                    {"waiting": "opportunistic"}])  # fmt: skip
@pytest.mark.parametrize("timing_only", [False, True])
def test_it_runs_under_every_server_and_waiting(switch, timing_only, tmp_path):
    clients = {"count": 4, "multimodal_fraction": 0.5}
    (record,) = run(tmp_path, {"name": "fedavg-p", **switch}, timing_only=timing_only, clients=clients)
    assert record.info["totals"]["versions"] == 4
