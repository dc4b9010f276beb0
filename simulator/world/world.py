"""The world of a run: every duration in it, drawn from named streams, the same for every method."""

from collections.abc import Collection, Sequence

from pydantic import BaseModel, ConfigDict, Field

from interlude.simulator.randomness import FEWEST_AHEAD
from interlude.simulator.world.arrivals import AnyArrival, ModalityArrivals
from interlude.simulator.world.availability import Availability, AvailabilitySpec
from interlude.simulator.world.compute import AnyCompute, Devices
from interlude.simulator.world.energy import EnergySpec
from interlude.simulator.world.faults import Faults, FaultSpec
from interlude.simulator.world.network import Links, NetworkSpec


class WorldSpec(BaseModel):
    """The ``world`` section of a scenario."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    arrival: dict[str, AnyArrival] = Field(description="per modality, when its data arrive")
    compute: AnyCompute
    network: NetworkSpec
    faults: FaultSpec = FaultSpec()
    availability: AvailabilitySpec | None = Field(None, description="when clients are on; unset: always")
    energy: EnergySpec | None = Field(None, description="power of devices; unset: energy is not counted")


class World:
    """Durations for every client, as functions of (client, window), never of the order of calls.

    Args:
        spec: what the scenario says.
        seed: the run's seed.
        num_clients: clients in the world.
        modalities: the data set's modalities, in order; each has an arrival model in `spec`.
        joint_flops_per_sample: FLOPs of training on one sample with the joint objective; needed where `spec` gives
            compute as a time per sample.
    """

    def __init__(
        self,
        spec: WorldSpec,
        seed: int,
        num_clients: int,
        modalities: Sequence[str],
        joint_flops_per_sample: float | None = None,
    ) -> None:
        self._arrivals = {m: ModalityArrivals(spec.arrival[m], seed, m, num_clients) for m in modalities}
        self.drops_windows = any(arrivals.drops_windows for arrivals in self._arrivals.values())
        """Whether a modality's queue is bounded."""
        self.devices = Devices(spec.compute, seed, num_clients, joint_flops_per_sample)
        self.links = Links(spec.network, seed, num_clients)
        self.faults = Faults(spec.faults, seed)
        self.availability = Availability(spec.availability, seed, num_clients) if spec.availability else None
        """When clients are on; None: always."""
        self.battery_draws = spec.energy.battery_draws(seed, num_clients) if spec.energy else None
        """The batteries of clients; None: there is always enough energy."""
        self._draws = [draws for arrivals in self._arrivals.values() for draws in arrivals.draws]
        self._draws += self.devices.draws + self.links.draws + self.faults.draws
        self._leaves_alone = [m for m in modalities if self._arrivals[m].leaves_others_alone]

    @property
    def may_train_apart(self) -> bool:
        """Whether a modality can miss so that the others are then trained each alone."""
        return bool(self._leaves_alone)

    @property
    def is_uninterrupted(self) -> bool:
        """Whether every span takes its undisturbed time: nothing holds it up or cuts it off."""
        return self.availability is None and self.faults.only_dropout and not self.links.shared_bytes_per_s

    def read_ahead(self, clients: Collection[int]) -> None:
        """Read together what the first local rounds of clients will draw: no answer changes, all come sooner."""
        if len(clients) >= FEWEST_AHEAD:
            for draws in self._draws:
                draws.read_ahead(clients)

    def arrivals_s(
        self, client: int, window: int, round_start_s: float, num_samples: int, modalities: Sequence[str]
    ) -> dict[str, float]:
        """Return when each modality of a client's window arrives; a modality that misses the round is left out."""
        arrivals_s = {}
        for modality in modalities:
            arrival_s = self._arrivals[modality].arrival_s(client, window, round_start_s, num_samples)
            if arrival_s is not None:
                arrivals_s[modality] = arrival_s
        return arrivals_s

    def trains_apart(self, held: Sequence[str], arrived: Collection[str]) -> bool:
        """Return whether a modality misses the round so that the others are then trained each alone."""
        return any(m in held and m not in arrived for m in self._leaves_alone)

    def oldest_window(self, client: int, at_s: float, num_samples: int, modalities: Sequence[str]) -> int:
        """Return the oldest window that no modality has dropped from its queue at `at_s`."""
        return max(self._arrivals[m].oldest_kept(client, at_s, num_samples) for m in modalities)
