"""What goes wrong in a local round; and at the server, see `interlude.simulator.world.outages`.

* ``crash``: the device dies at a uniform fraction of the time that the local round would take undisturbed. Everything
  of that round is lost; the client is idle again at once, without an update.
* ``dropout``: the upload breaks off at a uniform fraction and the update is lost.
* ``upload_loss``: an upload gets lost, which the client notices only at its end, when no acknowledgement comes. It is
  sent again after a pause that grows from attempt to attempt, until it gets through or the attempts are used up.
"""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt

from interlude.simulator.arrays import Floats
from interlude.simulator.randomness import ClientDraws
from interlude.simulator.world.arrivals import Misses, Probability
from interlude.simulator.world.outages import Outages, OutageSpec


class UploadLossSpec(BaseModel):
    """Uploads that get lost and are sent again."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    probability: Probability = Field(description="chance that an attempt gets lost")
    max_attempts: PositiveInt = Field(5, description="attempts after which the client gives up and the update is lost")
    backoff_s: NonNegativeFloat = Field(1.0, description="pause after the first lost attempt")
    backoff_factor: float = Field(2.0, ge=1, description="each pause is so many times the one before")


class FaultSpec(BaseModel):
    """The ``faults`` section; nothing fails unless it is set."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    dropout_probability: Probability = Field(
        0.0,
        description="chance that a local round's upload breaks off at a uniform fraction and the update is lost",
    )
    crash_probability: Probability = Field(
        0.0,
        description="chance that the device dies at a uniform fraction of a local round and all of it is lost",
    )
    upload_loss: UploadLossSpec | None = Field(None, description="uploads that get lost and are sent again")
    outages: OutageSpec | None = Field(None, description="when the server is away")


class _BreakPoint:
    """When a fault strikes: the first `probability` of the unit interval maps to fractions, the rest to 1."""

    def __init__(self, probability: float) -> None:
        self._probability = probability

    def ppf(self, uniform: Floats) -> Floats:
        return np.minimum(uniform / self._probability, 1.0)


class Faults:
    """The faults of every client, and the server's.

    Args:
        spec: what the scenario says.
        seed: the run's seed.
    """

    def __init__(self, spec: FaultSpec, seed: int) -> None:
        self._drops = spec.dropout_probability > 0.0
        self._break_points = ClientDraws(seed, "dropout", _BreakPoint(spec.dropout_probability))
        self._crashes = spec.crash_probability > 0.0
        self._crash_points = ClientDraws(seed, "crash", _BreakPoint(spec.crash_probability))
        self.upload_loss = spec.upload_loss
        """How uploads get lost and are sent again; None: never lost."""
        loss = 0.0 if spec.upload_loss is None else spec.upload_loss.probability
        self._losses = ClientDraws(seed, "upload-loss", Misses(loss)) if loss > 0.0 else None
        self.outages = None if spec.outages is None else Outages(spec.outages, seed)
        """When the server is away; None: never."""

    @property
    def draws(self) -> list[ClientDraws]:
        """What every local round reads."""
        points = [*([self._break_points] if self._drops else []), *([self._crash_points] if self._crashes else [])]
        return points if self._losses is None else [*points, self._losses]

    @property
    def only_dropout(self) -> bool:
        """Whether an upload that breaks off is the only possible fault."""
        return not self._crashes and self._losses is None and self.outages is None

    def upload_fraction(self, client: int, window: int) -> float:
        """Return the fraction of the local round's upload that gets through; 1 means that it arrives."""
        return self._break_points.at(client, window) if self._drops else 1.0

    def crash_fraction(self, client: int, window: int) -> float:
        """Return the fraction of the local round after which the device dies; 1 means that it does not."""
        return self._crash_points.at(client, window) if self._crashes else 1.0

    def num_lost_attempts(self, client: int, window: int) -> int:
        """Return how many attempts to upload get lost before one gets through, with unlimited attempts."""
        return 0 if self._losses is None else int(self._losses.at(client, window))
