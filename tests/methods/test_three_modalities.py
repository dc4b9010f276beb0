"""Every method on a user's own three modalities, at clients and in samples that lack some, with one class or sample."""

import numpy as np
import pandas as pd
import pytest
from every_method import EVERY_METHOD

import interlude
from interlude import parse_scenario, run_scenario
from interlude.simulator.methods import METHODS

SIZES = {"a": 6, "b": 3, "c": 4}
OWNERS = [0, *[1] * 12, *[2] * 20, *[3] * 20, *[4] * 20]
"""Each sample's client: client 0 holds one, client 1 a dozen of one class, the others twenty of three classes."""


@interlude.dataset
def make():
    """Return three modalities that tell the class well, poorly and not at all."""
    draw = np.random.default_rng(0)
    owners = np.array(OWNERS)
    labels = np.where(owners == 1, 2, np.arange(len(owners)) % 3)

    def samples(own):
        told = {"a": 2.0, "b": 0.5, "c": 0.0}
        noise = {m: draw.normal(size=(len(own), size)).astype(np.float32) for m, size in SIZES.items()}
        noise["b"][4::9] = np.nan  # these samples lack it
        return {**{m: x + np.float32(told[m]) * own[:, None] for m, x in noise.items()}, "label": own}

    return {**samples(labels), "key_owner": owners}, samples(np.arange(30) % 3)


ENTRIES = {
    **EVERY_METHOD,
    "mba-readings": {
        "name": "mba",
        "distance": "prediction",
        "anchor": "input",
        "late_term": True,
        "imbalance_acts": "both",
    },
}


def num_versions(name):
    """Return enough for every client to have trained: a version is a round, or one client's update."""
    return 3 if METHODS[name].Options(name=name).server.rule == "barrier" else 20


def scenario(scenario_with, entry, kind):
    arrivals = {m: {"per_client": {"distribution": "lognormal", "median_s": 2.0, "sigma": 0.8}} for m in SIZES}
    return parse_scenario(
        scenario_with(
            {
                "name": f"three-{kind}",
                "data": {"dataset": f"{__name__}:make", "partition": {"kind": "natural", "key": "owner"}},
                "model.width": 8,
                "clients": {"count": 5, "modalities": {"b": 0.8, "c": 0.6}},
                "world.arrival": arrivals,
                "training.batch_size": 8,
                "methods": [entry],
                "until": {"versions": num_versions(entry["name"])},
                "evaluate": {"every_s": 20},
                "executor": {"kind": kind},
            }
        )
    )


@pytest.mark.parametrize("name", ENTRIES)
def test_every_method_trains_three_modalities_alike_one_by_one_and_batched(name, scenario_with, tmp_path):
    entry = ENTRIES[name]
    plain, batched = (
        run_scenario(scenario(scenario_with, entry, kind), runs=tmp_path, device="cpu", workers=1)[0]
        for kind in ("sequential", "auto")
    )
    assert np.isfinite(plain.metrics["value"]).all()
    assert {"a", "b", "c", "fused"} <= set(plain.metrics["modality"])
    pd.testing.assert_frame_equal(plain.timeline, batched.timeline)
    pd.testing.assert_frame_equal(plain.metrics, batched.metrics, rtol=1e-3, atol=0.04)  # a test sample may tip over
    assert plain.info["totals"]["versions"] == num_versions(entry["name"])
    counts = plain.partition.groupby("client")["count"].agg(["sum", "size"])
    assert counts.loc[0].tolist() == [1, 1]
    assert counts.loc[1].tolist() == [12, 1]
    trained = plain.timeline[plain.timeline["activity"].str.startswith("train")]
    assert {0, 1} <= set(trained["client"])
    assert len(set(plain.partition["modalities"])) > 1
