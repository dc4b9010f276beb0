"""Joules: powers times seconds, by hand."""

import numpy as np
import pandas as pd
import pytest
from timeline_rows import rows_of

from interlude.simulator.federation.accounting.energy import Energy
from interlude.simulator.federation.timeline import SpanRow

WATTS = {"train": np.array([5.0, 7.0]), "radio": np.array([2.0, 3.0]), "idle": np.array([0.5, 0.25])}
SPANS = [
    (0, "download", 0.0, 1.0),
    (0, "train", 1.0, 3.0),
    (0, "off", 3.0, 5.0),
    (0, "train", 5.0, 6.0),
    (0, "upload", 6.0, 7.0),
    (0, "backoff", 7.0, 9.0),
    (0, "upload", 9.0, 10.0),
    (0, "merge", 10.0, 10.0),
    (1, "idle", 0.0, 4.0),
    (1, "train_unimodal", 4.0, 10.0),
]


def test_every_span_draws_its_power_and_who_is_off_draws_nothing():
    rows = [
        SpanRow(client, activity, "done", False, start_s, end_s)._asdict() for client, activity, start_s, end_s in SPANS
    ]
    timeline = pd.DataFrame(rows).rename(columns={"num_bytes": "bytes"})
    energy = Energy(WATTS, every_s=4.0)
    for part in (timeline[:4], timeline[4:]):
        energy.add(rows_of(part))
    moments_s, joules = energy.until(10.0)
    assert moments_s.tolist() == [0.0, 4.0, 8.0, 10.0]
    assert joules["train"] == pytest.approx([0.0, 10.0, 15.0 + 28.0, 15.0 + 42.0])
    assert joules["radio"] == pytest.approx([0.0, 2.0, 4.0, 6.0])
    assert joules["idle"] == pytest.approx([0.0, 1.0, 1.5, 2.0])


def test_joules_are_in_the_record_and_grow_with_time(wild, run):
    scenario = wild({"name": "fedasync"}, {"name": "fedavg"})
    scenario["world"]["energy"] = {"train_w": 4, "radio_w": 2, "idle_w": 1}
    for record in run(scenario):
        curve = record.metrics.query("metric == 'energy_j'").set_index("time_s")["value"]
        spans = record.timeline[record.timeline["activity"] != "merge"]
        power = spans["activity"].map(lambda activity: 4 if "train" in activity else 2 if "load" in activity else 1)
        by_hand = float((power * (spans["end_s"] - spans["start_s"])).sum())
        assert sum(record.info["totals"]["energy_j"].values()) == pytest.approx(by_hand) == curve.iloc[-1]
        assert curve.index.tolist() == [float(t) for t in range(16)]
        assert curve.iloc[0] == 0.0
        assert curve.is_monotonic_increasing
