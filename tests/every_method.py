"""An entry of every shipped method that runs on the tests' small networks, which have no convolutions."""

from typing import Any

from interlude.simulator.methods import METHODS

EVERY_METHOD: dict[str, dict[str, Any]] = {
    **{name: {"name": name} for name in METHODS},
    "fedogm": {"name": "fedogm", "tensors": "weights"},
    "harmony": {"name": "harmony", "unimodal_rounds": 1},
}
