"""Names that spreadsheets take for missing values stay names: NA, null, nan."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from command_line import call

from interlude import RunRecord
from interlude.simulator.record.reader import METRIC_COLUMNS


@pytest.fixture
def scenario(tmp_path, scenario_with):
    """Return the file of a scenario whose modalities, methods and variant have such names."""
    draw = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for split, num in (("train", 40), ("test", 10)):
        arrays = {name: draw.normal(size=(num, 3)).astype(np.float32) for name in ("NA", "nan", "null")}
        np.savez(tmp_path / "data" / f"{split}.npz", label=np.arange(num) % 2, **arrays)
    arrival = {name: {"per_client": {"distribution": "constant", "value_s": 1.0}} for name in ("NA", "nan", "null")}
    given = scenario_with(
        {
            "data": {"dataset": "folder", "path": str(tmp_path / "data"), "partition": {"kind": "iid"}},
            "clients.count": 2,
            "world.arrival": arrival,
            "methods": [{"name": "fedavg", "label": "NA"}, {"name": "fedasync", "label": "null"}],
            "executor": {"kind": "sequential"},
            "until.simulated_s": 6,
            "evaluate.every_s": 3,
            "variants": {"nan": {}},
        }
    )
    path = tmp_path / "null.yaml"
    path.write_text(yaml.safe_dump(given))
    return path


def test_names_are_read_back_as_they_were_written(scenario, tmp_path, capsys):
    result = call(capsys, "run", scenario, "--runs", tmp_path / "runs", "--device", "cpu", "--workers", 1)
    assert result.code == 0, result.err
    record = RunRecord(tmp_path / "runs/tiny-nan/NA-s0")
    assert set(record.metrics["modality"]) == {"fused", "NA", "nan", "null"}
    assert set(record.partition["modalities"]) == {"NA+nan+null"}
    assert record.metrics["value"].dtype == record.metrics["time_s"].dtype == float
    header, *rows = (tmp_path / "runs/tiny-nan/summary.csv").read_text().splitlines()
    assert {"accuracy_NA", "accuracy_nan", "accuracy_null"} <= set(header.split(","))
    assert [row.split(",")[0] for row in rows] == ["NA", "null"]


def test_a_value_that_is_not_a_number_stays_one(tmp_path):
    identity = {"schema": 2, "status": "complete", "label": "x", "seed": 0, "scenario": {}}
    (tmp_path / "run.json").write_text(json.dumps(identity))
    lines = [",".join(METRIC_COLUMNS), "1.5,2,loss,NA,nan", "2.0,3,loss,nan,inf\n"]
    (tmp_path / "metrics.csv").write_text("\n".join(lines))
    metrics = RunRecord(tmp_path).metrics
    assert metrics["modality"].tolist() == ["NA", "nan"]
    assert pd.isna(metrics["value"][0])
    assert metrics["value"][1] == float("inf")
