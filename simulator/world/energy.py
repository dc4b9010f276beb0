"""The power of devices: joules are a client's power times the seconds of its spans."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from interlude.simulator.arrays import Floats
from interlude.simulator.randomness import Stream
from interlude.simulator.world.distributions import NonNegativeDistribution

PURPOSES = ("train", "radio", "idle")
"""The purposes that energy is counted by."""


class EnergySpec(BaseModel):
    """The ``energy`` section: devices' power. A device that is off draws nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    train_w: NonNegativeDistribution = Field(description="each client's power while it trains")
    radio_w: NonNegativeDistribution = Field(description="each client's power while it downloads or uploads")
    idle_w: NonNegativeDistribution = Field(description="each client's power while it waits or has nothing to do")

    def watts(self, seed: int, num_clients: int) -> Mapping[str, Floats]:
        """Return the power of every client, [N] watts for each of `PURPOSES`."""
        specs = {"train": self.train_w, "radio": self.radio_w, "idle": self.idle_w}
        return {
            purpose: specs[purpose].ppf(Stream(seed, "power", purpose).uniforms(num_clients)) for purpose in PURPOSES
        }
