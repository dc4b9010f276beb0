"""What the tests of accelerators share: small worlds for every method, and the places that may wait for a device."""

import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

from every_method import EVERY_METHOD
from tiny_scenario import TINY

import interlude
from interlude import RunRecord

_PRODUCT = f"{Path(interlude.__file__).parent}/"

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

WORLD: dict[str, Any] = {
    "name": "small",
    "seed": 0,
    "data": {"dataset": "cg-digits", "partition": {"kind": "dirichlet", "alpha": 1.0}},
    "model": {"encoder": "mlp", "width": 4},
    "clients": {"count": 5, "multimodal_fraction": 0.8},
    "world": TINY["world"],
    "training": {
        "window_samples": 40,
        "batch_size": 32,
        "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.5, "weight_decay": 0.001},
    },
    "until": {"simulated_s": 8},
    "evaluate": {"every_s": 8, "samples": 50},
    "executor": {"group_size": 16},
}
"""A few small local rounds of two mini-batches, the second one ragged."""


def small_scenario(method: str, **sections: Any) -> dict[str, Any]:
    """Return the mapping of a scenario of one method, with other sections where given."""
    entry = dict(EVERY_METHOD[method])
    if method == "harmony":  # the federation that clusters is the last of three
        sections = {"until": {"simulated_s": 14}, **sections}
    if method == "pow-d":
        entry |= {"candidates": 4, "server": {"rule": "barrier", "clients_per_round": 3}}
    return {**deepcopy(WORLD), "methods": [entry], **sections}


def content(record: RunRecord) -> dict[str, bytes]:
    """Return the files of a run but run.json, which says how long it took."""
    paths = sorted(path for path in record.path.rglob("*") if path.is_file() and path.name != "run.json")
    return {path.relative_to(record.path).as_posix(): path.read_bytes() for path in paths}


def place() -> str:
    """Return the innermost function of the product that is running, ``file.py:function``, but for those that copy."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(_PRODUCT) and not code.co_filename.endswith("transfer.py"):
            name = code.co_qualname.partition(".<locals>")[0]
            return f"{code.co_filename.removeprefix(_PRODUCT)}:{name}"
        frame = frame.f_back
    return "elsewhere"
