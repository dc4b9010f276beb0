"""What goes wrong. Now: an update's upload breaks off and the update is lost."""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from simulator.arrays import Floats
from simulator.randomness import ClientDraws
from simulator.world.arrivals import Probability


class FaultSpec(BaseModel):
    """What a scenario says of faults; nothing fails unless it says so."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    dropout_probability: Probability = Field(
        0.0,
        description="chance that a local round's upload breaks off at a uniform fraction and the update is lost",
    )


class _BreakPoint:
    """Where an upload breaks: the first `probability` of the unit interval is stretched to fractions, the rest is 1."""

    def __init__(self, probability: float) -> None:
        self._probability = probability

    def ppf(self, uniform: Floats) -> Floats:
        return np.minimum(uniform / self._probability, 1.0)


class Faults:
    """The faults of every client.

    Args:
        spec: what the scenario says.
        seed: the run's seed.
    """

    def __init__(self, spec: FaultSpec, seed: int) -> None:
        self._drops = spec.dropout_probability > 0.0
        self._break_points = ClientDraws(seed, "dropout", _BreakPoint(spec.dropout_probability))

    def upload_fraction(self, client: int, window: int) -> float:
        """Return the fraction of the local round's upload that gets through; 1 means that it arrives."""
        return self._break_points.at(client, window) if self._drops else 1.0
