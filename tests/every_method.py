"""An entry of every shipped method that fits the tests: small networks without convolutions, and short local rounds."""

from typing import Any

from interlude.simulator.methods import METHODS

EVERY_METHOD: dict[str, dict[str, Any]] = {
    **{name: {"name": name} for name in METHODS},
    "fedogm": {"name": "fedogm", "tensors": "weights"},
    "fedcompass": {"name": "fedcompass", "min_steps": 1, "max_steps": 4},
    "harmony": {"name": "harmony", "unimodal_rounds": 1},
}
