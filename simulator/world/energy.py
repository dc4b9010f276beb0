"""The power of devices: joules are a client's power times the seconds of its spans; and what their batteries hold."""

from array import array
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from interlude.simulator.arrays import Floats, packed
from interlude.simulator.randomness import Stream
from interlude.simulator.world.availability import Share
from interlude.simulator.world.distributions import Constant, NonNegativeDistribution, Rate

PURPOSES = ("train", "radio", "idle")
"""The purposes that energy is counted by."""

_PURPOSE_OF = {"train": "train", "train_unimodal": "train", "download": "radio", "upload": "radio"}
_DRAW_NOTHING = ("merge", "off")


def purpose_of(activity: str) -> str | None:
    """Return what an activity draws power for, one of `PURPOSES`; None if it draws none."""
    return None if activity in _DRAW_NOTHING else _PURPOSE_OF.get(activity, "idle")


class BatteryDraws(NamedTuple):
    """The batteries of all clients, [N] each."""

    capacity_j: "array[float]"
    level_j: "array[float]"
    """At the start."""
    charge_w: "array[float]"
    reserve: float
    """Share of the capacity below which a client is not sent out."""
    watts: Mapping[str, Floats]
    """Power by `PURPOSES`."""


class BatterySpec(BaseModel):
    """Batteries, or budgets of energy where nothing charges them: they decide which clients take part.

    The joules of a client's local rounds, waiting included, come from its battery. It is looked at when the client
    could be sent out: a local round that has begun is finished.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    capacity_j: Rate = Field(description="joules that each client's battery holds")
    level: Share = Field(Constant(value=1.0), description="share of that which is there at the start")
    reserve: float = Field(
        0.05, gt=0, lt=1, description="share of the capacity below which a client is not sent out into a local round"
    )
    charge_w: NonNegativeDistribution = Field(
        Constant(value=0.0), description="each client's charging power, less what it draws between local rounds"
    )


class EnergySpec(BaseModel):
    """The ``energy`` section: devices' power. A device that is off draws nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    train_w: NonNegativeDistribution = Field(description="each client's power while it trains")
    radio_w: NonNegativeDistribution = Field(description="each client's power while it downloads or uploads")
    idle_w: NonNegativeDistribution = Field(description="each client's power while it waits or has nothing to do")
    battery: BatterySpec | None = Field(None, description="what the energy comes from; unset: there is always enough")

    @model_serializer(mode="wrap")
    def _without_an_unset_battery(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave a battery out that is unset: a scenario without one stays the scenario that it was."""
        fields: dict[str, Any] = handler(self)
        return fields if self.battery is not None else {k: v for k, v in fields.items() if k != "battery"}

    def watts(self, seed: int, num_clients: int) -> Mapping[str, Floats]:
        """Return the power of every client, [N] watts for each of `PURPOSES`."""
        specs = {"train": self.train_w, "radio": self.radio_w, "idle": self.idle_w}
        return {
            purpose: specs[purpose].ppf(Stream(seed, "power", purpose).uniforms(num_clients)) for purpose in PURPOSES
        }

    def battery_draws(self, seed: int, num_clients: int) -> BatteryDraws | None:
        """Return the batteries of all clients; None if there is always enough."""
        spec = self.battery
        if spec is None:
            return None
        capacity_j, level, charge_w = (
            distribution.ppf(Stream(seed, "battery", name).uniforms(num_clients))
            for name, distribution in (
                ("capacity", spec.capacity_j),
                ("level", spec.level),
                ("charge", spec.charge_w),
            )
        )
        watts = self.watts(seed, num_clients)
        return BatteryDraws(packed(capacity_j), packed(level * capacity_j), packed(charge_w), spec.reserve, watts)
