"""Every method on an accelerator that needs none: no mixed devices, the CPU's results, and few crossings.

A run of one process, since PyTorch keeps a pretend device for the life of its process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from every_method import EVERY_METHOD

ONCE = {
    "simulator/data/dataset.py:to_device": "the data set moves before the run",
    "models/network.py:Network.initial_parameters": "so does version 0 of the model",
    "models/prototype_head.py:PrototypeNetwork.initial_parameters": "likewise",
}
"""Places that send and wait, which is cheap once a run."""

EVALUATION = {
    "simulator/training/evaluation.py:_accuracies_and_losses": "metrics, at once for models evaluated together",
    "simulator/training/nearest_mean.py:nearest_mean_accuracies": "likewise",
    "simulator/training/executors/in_process.py:InProcess.check_losses": "deferred to an evaluation: a loss of NaN",
    "simulator/run/observer.py:Observer.write": "a method's own metrics, with an evaluation that was read",
}
END = {"simulator/record/writer.py:RunWriter.add_model": "the last model is written"}
DECISIONS = {
    "simulator/methods/asyncfeded.py:euclidean_staleness": "local epochs, whole numbers, follow from a distance",
    "simulator/methods/bmsfed/balance.py:Balance.lead_over": "roles follow from how far modalities lead",
    "simulator/methods/bmsfed/balance.py:Balance.weak": "and from which one is behind",
    "simulator/methods/facility_location.py:GradientMap.matrix": "clients are chosen by distances",
    "simulator/methods/fedasmu.py:FedASMU.advance": "controls are learned on the host, where mixing weights are made",
    "simulator/methods/fedmchain/consensus.py:agreement": "clusters are made by SciPy",
    "simulator/methods/fedpac/method.py:_statistics": "heads are combined by a quadratic programme of SciPy",
    "simulator/methods/gblending/method.py:Blend.updated": "weights of heads, which a later dispatch sends",
    "simulator/methods/harmony/method.py:Harmony.advance": "clusters of clients",
    "simulator/methods/mfedmc/method.py:MFedMC._rank": "uploads are granted by the clients' losses",
    "simulator/methods/mfedmc/offers.py:Offers.priorities": "clients offer what matters most",
    "simulator/methods/pisces.py:utilities": "clients are chosen by their losses",
    "simulator/methods/powerofchoice.py:largest": "likewise",
}
"""What is read between dispatch and merge, or by a merge: only where the next event of the clock follows from it."""
REJECTS = {"simulator/training/executors/base.py:are_finite": "whether an update is merged, at once for a merge"}
REFERENCE = {"simulator/training/executors/sequential.py:SequentialExecutor.train": "the reference reads its losses"}

MOST_SENT_PER_LOCAL_ROUND = 2.0
"""Copies to the device: measured at 0.2 to 1.7, one a stack and up to three a merge; one a tensor were 1 to 13."""

STACK = "simulator/training/stacked/trainer.py:StackedTrainer._run_steps"

EXTRA = {
    "looped": {"methods.0": EVERY_METHOD["mba"], "executor": {"strategy": "looped"}},
    "sequential": {"methods.0": EVERY_METHOD["fedogm"], "executor": {"kind": "sequential"}},
    "rejecting": {"methods.0": EVERY_METHOD["fedavg"], "training.on_divergence": "reject"},
    "conv4": {"methods.0": EVERY_METHOD["fedavg"], "model.encoder": "conv4", "until": {"simulated_s": 5}},
    "validated": {
        "methods.0": EVERY_METHOD["fedasync"],
        "evaluate": {"every_s": 3, "samples": 50, "validation": 0.1, "nearest_mean_samples": 50},
    },
}
"""Runs besides one of each method."""

RESUMED = {"fedac": 12, "mba": 20, "fedmsplit": 12}
"""Methods with much memory, and the event of the clock after which they are stopped."""


def request_of(scenario_with, name):
    """Return a request of a run in a world of a few small local rounds."""
    changes = {
        "clients": {"count": 5, "multimodal_fraction": 0.8},
        "data.partition": {"kind": "dirichlet", "alpha": 1.0},
        "model": {"encoder": "mlp", "width": 4},
        "training": {
            "window_samples": 40,
            "batch_size": 32,
            "optimizer": {"learning_rate": 0.05, "momentum": 0.5, "weight_decay": 0.001},
        },
        "until": {"simulated_s": 7},
        "evaluate": {"every_s": 7, "samples": 50},
        "executor": {"group_size": 16},
    }
    method = dict(EVERY_METHOD.get(name, {}))
    if name == "pow-d":
        method |= {"candidates": 4, "server": {"rule": "barrier", "clients_per_round": 3}}
    scenario = scenario_with(changes | ({"methods": [method]} if method else EXTRA[name]))
    return {"scenario": scenario, "stop_at": RESUMED.get(name)}


@pytest.fixture(scope="module")
def found(scenario_with):
    """Return what the process found of every run."""
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), *filter(None, sys.path)]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(here / "plays.py")],
        input=json.dumps({name: request_of(scenario_with, name) for name in (*EVERY_METHOD, *EXTRA)}),
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
    assert of["same_files"] == ["metrics.csv", "model.safetensors"], f"metrics differ by {of['apart']}"
    assert of["local_rounds"] >= 5
    assert of["accelerator"] == "pretend:1"


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
    read = {place for of in found.values() for place in of.get("read", ())}
    sent = {place for of in found.values() for place in of.get("waited", ())}
    assert read == (EVALUATION | END | DECISIONS | REJECTS | REFERENCE).keys()
    assert sent == ONCE.keys()


@pytest.mark.parametrize("name", EXTRA)
def test_strategies_rejection_and_validation_run_there_as_on_the_cpu(found, name):
    of = found[name]
    assert "error" not in of, of["error"]
    assert of["same_order"]
    assert of["apart"] <= (1e-4 if name == "conv4" else 0.0)  # stacked there, one client after the other on a CPU
    assert of["read"].keys() <= (EVALUATION | END | REJECTS | REFERENCE).keys()
    assert of["waited"].keys() <= ONCE.keys()


@pytest.mark.parametrize("method", RESUMED)
def test_a_run_that_is_stopped_there_is_resumed_to_the_same_bytes(found, method):
    assert found[method]["resumed"]
