"""The search with Optuna: two short trials, where it is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "optuna_search.py"


def test_the_example_finds_settings(tmp_path):
    pytest.importorskip("optuna", reason="optuna is not installed")
    options = ("--trials", "2", "--runs", tmp_path, "--least-versions", "2")
    done = subprocess.run(
        [sys.executable, EXAMPLE, *options, "--set", "until.simulated_s=20", "--set", "clients.count=4"],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("best: 0.")
    assert len(list(tmp_path.glob("clock/trial-*/mba-s100/run.json"))) == 2
