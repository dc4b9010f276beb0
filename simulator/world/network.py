"""How long transfers take: latency plus payload over bandwidth, uplink and downlink apart."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat

from interlude.simulator.arrays import packed
from interlude.simulator.randomness import ClientDraws, Stream
from interlude.simulator.world.distributions import Distribution, MeanOneJitter, NonNegativeDistribution
from interlude.simulator.world.traces import Bandwidth, SpeedDraws, SpeedTrace, per_client

Direction = Literal["up", "down"]

_BITS_PER_BYTE = 8.0
_BITS_PER_MEGABIT = 1e6


class SharedLinkSpec(BaseModel):
    """The server's own link, which all transfers of a direction share, max-min fair. Unset: it is never the limit."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    uplink_mbps: PositiveFloat | None = Field(None, description="bandwidth of all clients together to the server")
    downlink_mbps: PositiveFloat | None = Field(None, description="bandwidth of the server to all clients together")


class NetworkSpec(BaseModel):
    """The ``network`` section: links. One mbps is 10^6 bit/s."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    uplink_mbps: Bandwidth = Field(description="bandwidth from each client to the server")
    downlink_mbps: Bandwidth = Field(description="bandwidth from the server to each client")
    latency_ms: NonNegativeDistribution = Field(description="one-way delay of each client's link")
    jitter_sigma: NonNegativeFloat = Field(
        0.0, le=10, description="spread of the mean-one factor on each transfer's time"
    )
    shared_link: SharedLinkSpec = Field(SharedLinkSpec(), description="what all clients' transfers share")


class Links:
    """The links of every client.

    Args:
        spec: what the scenario says.
        seed: the run's seed.
        num_clients: clients in the world.
    """

    def __init__(self, spec: NetworkSpec, seed: int, num_clients: int) -> None:
        self._jitter_sigma = spec.jitter_sigma
        self._latency_s = packed(spec.latency_ms.ppf(Stream(seed, "latency").uniforms(num_clients)) / 1e3)
        bandwidths: dict[Direction, Distribution | SpeedTrace] = {"up": spec.uplink_mbps, "down": spec.downlink_mbps}
        self._s_per_byte: dict[Direction, Sequence[float]] = {}
        self._jitter: dict[Direction, ClientDraws] = {}
        self._varying: dict[Direction, SpeedDraws] = {}
        for direction, bandwidth in bandwidths.items():
            mbps = per_client(bandwidth, seed, num_clients, "bandwidth", direction)
            self._s_per_byte[direction] = packed(_BITS_PER_BYTE / (mbps * _BITS_PER_MEGABIT))
            self._jitter[direction] = ClientDraws(seed, "transfer", MeanOneJitter(spec.jitter_sigma), direction)
            if isinstance(bandwidth, SpeedTrace):
                deviation = bandwidth.relative_deviation(seed, num_clients)
                if deviation is not None:
                    self._varying[direction] = SpeedDraws(deviation, seed, direction)
        shared: dict[Direction, float | None] = {
            "up": spec.shared_link.uplink_mbps,
            "down": spec.shared_link.downlink_mbps,
        }
        self.shared_bytes_per_s: dict[Direction, float] = {
            direction: mbps * _BITS_PER_MEGABIT / _BITS_PER_BYTE for direction, mbps in shared.items() if mbps
        }
        """What all clients' transfers of a direction share; a direction that is not in it has no limit."""

    @property
    def draws(self) -> list[ClientDraws]:
        """What every local round reads."""
        jitter = self._jitter.values() if self._jitter_sigma > 0.0 else ()
        return [*jitter, *(varying.draws for varying in self._varying.values())]

    def mbps(self, client: int, direction: Direction) -> float:
        """Return the mean speed of a client's link in one direction."""
        return _BITS_PER_BYTE / (self._s_per_byte[direction][client] * _BITS_PER_MEGABIT)

    def transfer_s(self, client: int, direction: Direction, payload_bytes: int, window: int) -> float:
        """Return the seconds a payload takes in a client's local round on the given window."""
        jitter = self._jitter[direction].at(client, window) if self._jitter_sigma > 0.0 else 1.0
        sending_s = payload_bytes * self._s_per_byte[direction][client]
        if direction in self._varying:
            sending_s /= self._varying[direction].share(client, window)
        seconds: float = (self._latency_s[client] + sending_s) * jitter
        return seconds

    def bytes_per_s(self, client: int, direction: Direction, window: int) -> float:
        """Return the bytes per second of a client's own link in a local round, after the first byte has arrived."""
        jitter = self._jitter[direction].at(client, window) if self._jitter_sigma > 0.0 else 1.0
        share = self._varying[direction].share(client, window) if direction in self._varying else 1.0
        return share / (self._s_per_byte[direction][client] * jitter)
