"""The command for a machine with a GPU runs, a moment of each part, on the CPU."""

import json
import subprocess
import sys

import measure
import torch


def test_every_part_runs_on_the_cpu_and_is_written_down(tmp_path):
    command = [sys.executable, measure.__file__, "--output", tmp_path, "--smoke", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["left_out"] == []
    assert [row["is_same"] for row in found["resumption"]] == [True]
    assert [(row["same_order"], row["loss_apart"]) for row in found["correctness"]] == [(True, 0.0)]
    assert [row["group_size"] for row in found["speed"]] == [1, 4]
    assert all(row["apart_from_looped"] < 1e-4 for row in found["speed"])
    text = (tmp_path / "gpu.md").read_text()
    assert f"Device: cpu; PyTorch {torch.__version__}" in text
    assert "| S1 | 4 |" in text
    assert "| fedavg | yes | 0 | 0 |" in text


def test_without_a_gpu_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert measure.main(["--output", str(tmp_path)]) == 0
    assert "skipped: --device: 'cuda' asked for, but PyTorch finds no CUDA device here" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
