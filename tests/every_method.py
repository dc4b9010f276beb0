"""An entry of every shipped method that fits the tests: small networks without convolutions, and short local rounds."""

from collections.abc import Iterable
from typing import Any

from interlude.simulator.methods import METHODS
from interlude.simulator.methods.base import Method

EVERY_METHOD: dict[str, dict[str, Any]] = {
    **{name: {"name": name} for name in METHODS},
    "fedogm": {"name": "fedogm", "tensors": "weights"},
    "fedcompass": {"name": "fedcompass", "min_steps": 1, "max_steps": 4},
    "harmony": {"name": "harmony", "unimodal_rounds": 1},
}

_OF_CLIENTS = (
    "broadcast",
    "client_round",
    "joint_training",
    "learning_rate_scale",
    "local_steps",
    "model_for",
    "network",
    "num_steps",
    "objective",
    "own_values",
    "start_for",
    "values_for",
)


def _overrides(name: str, hooks: Iterable[str]) -> bool:
    return any(getattr(METHODS[name], hook) is not getattr(Method, hook) for hook in hooks)


TRAINS_ITS_OWN_WAY = {
    name: entry
    for name, entry in EVERY_METHOD.items()
    if name in ("fedavg", "fedprox") or _overrides(name, _OF_CLIENTS)
}
"""Those whose clients do anything but FedAvg's: for all others training is FedAvg's under every executor."""

DECIDES = {
    name: entry
    for name, entry in EVERY_METHOD.items()
    if name in ("fedasync", "mba", "fedasmu") or METHODS[name].selects or METHODS[name].assigns
}
"""Those whose order of events may depend on what was learned, and a few whose may not."""
