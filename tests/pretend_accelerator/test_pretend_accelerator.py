"""Every method on an accelerator that needs none: no mixed devices, the CPU's results, and few crossings.

A run of one process, since PyTorch keeps a pretend device for the life of its process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerators import DECISIONS, END, EVALUATION, ONCE, REFERENCE, REJECTS, WORLD, small_scenario
from every_method import EVERY_METHOD

MOST_SENT_PER_LOCAL_ROUND = 2.0
"""Copies to the device: measured at 0.2 to 1.7, one a stack and up to three a merge; one a tensor were 1 to 13."""

STACK = "simulator/training/stacked/trainer.py:StackedTrainer._run_steps"

EXTRA = {
    "looped": small_scenario("fedogm", executor={"strategy": "looped"}),
    "sequential": small_scenario("fedprox", executor={"kind": "sequential"}),
    "rejecting": small_scenario("fedavg", training={**WORLD["training"], "on_divergence": "reject"}),
    "conv4": small_scenario(
        "fedavg",
        model={"encoder": "conv4", "width": 4},
        world={**WORLD["world"], "compute": {"throughput_gflops": 50.0}},
    ),
    "validated": small_scenario(
        "fedasync", evaluate={"every_s": 3, "samples": 50, "validation": 0.1, "nearest_mean_samples": 50}
    ),
}
"""Runs besides one of each method."""

RESUMED = {"fedac": 12, "mba": 12, "fedmsplit": 7}
"""Methods with much memory, and the event of the clock after which they are stopped."""


@pytest.fixture(scope="module")
def found():
    """Return what the process found of every run."""
    scenarios = {**{method: small_scenario(method) for method in EVERY_METHOD}, **EXTRA}
    requests = {name: {"scenario": given, "stop_at": RESUMED.get(name)} for name, given in scenarios.items()}
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), *filter(None, sys.path)]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(here / "plays.py")],
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(900)  # all runs are played at the first test
def test_the_pretend_device_refuses_what_a_gpu_refuses_and_counts_what_crosses(found):
    assert found["instrument"] == {"refused": 3, "read": 3, "sent and waited": 2, "sent": 1}


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_every_method_runs_there_as_on_the_cpu(found, method):
    of = found[method]
    assert "error" not in of, of["error"]
    assert of["same_order"]
    assert of["other_files"] == [], f"metrics differ by {of['apart']}"
    assert of["versions"] >= 1
    assert of["accelerator"] == "pretend:0"


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_nothing_is_read_back_but_what_a_decision_needs(found, method):
    assert found[method]["read"].keys() <= (EVALUATION | END | DECISIONS).keys()
    assert found[method]["waited"].keys() <= ONCE.keys()


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_a_stack_of_clients_is_sent_to_the_device_in_one_copy(found, method):
    of = found[method]
    assert of["sent"].get(STACK, 0) <= of["stacks"]
    assert sum(of["sent"].values()) <= MOST_SENT_PER_LOCAL_ROUND * of["local_rounds"]


def test_every_place_that_may_read_does(found):
    runs = [of for name, of in found.items() if name != "instrument"]
    assert {place for of in runs for place in of["read"]} == (EVALUATION | END | DECISIONS | REJECTS | REFERENCE).keys()
    assert {place for of in runs for place in of["waited"]} == ONCE.keys()


@pytest.mark.parametrize("name", EXTRA)
def test_strategies_rejection_and_validation_run_there_as_on_the_cpu(found, name):
    of = found[name]
    assert "error" not in of, of["error"]
    assert of["same_order"]
    assert of["versions"] >= 1
    assert of["apart"] <= (1e-4 if name == "conv4" else 0.0)  # stacked there, one client after the other on a CPU
    assert of["read"].keys() <= (EVALUATION | END | REJECTS | REFERENCE).keys()
    assert of["waited"].keys() <= ONCE.keys()


@pytest.mark.parametrize("method", RESUMED)
def test_a_run_that_is_stopped_there_is_resumed_to_the_same_bytes(found, method):
    assert found[method]["resumed"]
