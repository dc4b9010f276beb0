"""The command for a machine with a GPU runs, a moment of each part, on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent


def measure(tmp_path, *flags):
    """Return what the command printed; it must succeed."""
    done = subprocess.run(
        [sys.executable, HERE / "measure.py", "--output", tmp_path, *flags],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_part_runs_on_the_cpu_and_is_written_down(tmp_path):
    measure(tmp_path, "--smoke", "--device", "cpu")
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["left_out"] == []
    assert [row["is_same"] for row in found["resumption"]] == [True]
    assert [(row["same_order"], row["loss_apart"]) for row in found["correctness"]] == [(True, 0.0)] * 2
    assert [row["group_size"] for row in found["speed"]] == [1, 4]
    assert all(row["apart_from_looped"] < 1e-4 for row in found["speed"])
    text = (tmp_path / "gpu.md").read_text()
    assert f"Device: cpu; PyTorch {torch.__version__}" in text
    assert "| S1 | 4 |" in text
    assert "| fedavg | yes | 0 | 0 |" in text


def test_without_a_gpu_it_says_so(tmp_path):
    assert "skipped: --device: 'cuda' asked for, but PyTorch finds no CUDA device here" in measure(tmp_path)
    assert not list(tmp_path.iterdir())
