"""The documentation's own data do what it says."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from interlude.simulator.cli.main import main
from interlude.simulator.record.reader import RunRecord

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def block(language, containing):
    """Return the page's only block of a language that contains a text."""
    (found,) = (b for b in re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.S) if containing in b)
    return found


def test_the_example_writes_a_folder_and_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(block("python", "np.savez"), PAGE.name, "exec"), {})
    scenario = block("yaml", "dataset: folder")
    Path("patients.yaml").write_text(scenario.replace("/where/they/are", str(tmp_path)), encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["run", "patients.yaml", "--set", "until.simulated_s=12", "--set", "evaluate.every_s=6", "--workers", "1"])
    assert stopped.value.code == 0, capsys.readouterr().err
    record = RunRecord(tmp_path / "runs/patients/mba-s0")
    assert record.is_complete
    assert record.metrics["value"].notna().all()
    patients = pd.Series(np.load("train.npz")["key_patient"]).value_counts().sort_index()
    assert record.partition.groupby("client")["count"].sum().tolist() == patients.tolist()
    held = record.partition.groupby("client")["modalities"].first()
    assert held.value_counts().to_dict() == {"heart+camera": 6, "heart": 3, "camera": 3}
