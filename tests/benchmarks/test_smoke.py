"""Every benchmark still runs: a few seconds of each, for its sake and not for its numbers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

RESULTS = {
    "bench_clock.py": r"^mba +this +[\d,]+ +[\d,]+ +[\d,]+",
    "bench_colour.py": r"^variance 0\.03, epoch 1: train 0\.\d+, test 0\.\d+",
    "bench_estimate.py": r"^smoke +mba +\d\.\d\d +\d\.\d\d +\d\.\d\d",
    "bench_palette.py": r"^0\.5 +0\.\d{3} +[01]\.\d{3} +[01]\.\d{3}$",
    "bench_peers.py": r"^plain loop +[\d,.]+ +1\.00",
    "bench_scale.py": r"^fedasync +exponents: time -?\d",
    "bench_training.py": r"^async run, batched +[\d,.]+ +\d",
}
"""A line that each script prints when all went well."""


def test_every_benchmark_has_a_smoke_test():
    assert {path.name for path in HERE.glob("bench_*.py")} == RESULTS.keys()


@pytest.mark.parametrize("script", RESULTS)
def test_a_benchmark_runs_and_prints_its_result(script, tmp_path):
    done = subprocess.run(
        [sys.executable, HERE / script, "--smoke"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(RESULTS[script], done.stdout, re.MULTILINE), done.stdout
