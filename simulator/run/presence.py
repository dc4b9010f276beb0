"""How much client time a span of simulated time has, from the availability of clients and of the server."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from interlude.simulator.arrays import Floats
from interlude.simulator.world.world import World

_LOOKS = 1_000
"""Looks at one client at one moment, in a span."""
_LEAST_MOMENTS = 16
_MOST_CLIENTS = 500
_GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)


class Presence:
    """The clients of a world that are on, and of them no more than may work at a time.

    Args:
        world: the world.
        num_clients: its first clients count; of many, some are looked at.
        most_at_work: the most that work at a time.
        rates: returns how fast some clients work, [L] per second: a fast one counts for more. None: all count alike,
            as where no more than `most_at_work` work at a time.
    """

    def __init__(
        self,
        world: World,
        num_clients: int,
        most_at_work: float,
        rates: Callable[[Sequence[int]], Floats] | None = None,
    ) -> None:
        self._world = world
        self._num_clients = num_clients
        self._most = min(most_at_work, num_clients)
        self._looked_at = np.linspace(0, num_clients - 1, min(num_clients, _MOST_CLIENTS)).astype(int).tolist()
        speeds = np.ones(len(self._looked_at)) if rates is None else rates(self._looked_at)
        self._weights: list[float] = (speeds / speeds.mean()).tolist()

    def client_s(self, start_s: float, end_s: float, most_at_work: float = math.inf) -> float:
        """Return the client-seconds of a span of simulated time in which the server is there."""
        if start_s >= end_s:
            return 0.0
        most = min(self._most, most_at_work)
        at_work = [min(self._num_on(at_s), most) for at_s in self._moments_s(start_s, end_s)]
        return float(np.mean(at_work)) * (end_s - start_s)

    def off_share(self, end_s: float) -> float:
        """Return the share of their time until a moment that clients are off."""
        availability = self._world.availability
        if availability is None or end_s == 0.0:
            return 0.0
        on = [availability.remaining_on(c, t) > 0.0 for t in self._moments_s(0.0, end_s) for c in self._looked_at]
        return 1.0 - float(np.mean(on))

    def _num_on(self, at_s: float) -> float:
        """Return the clients that are on at a moment, by their weights; none while the server is away."""
        outages = self._world.faults.outages
        if outages is not None and outages.back_s(at_s) > at_s:
            return 0.0
        return self._num_available(at_s) * self._num_clients / len(self._looked_at)

    def _num_available(self, at_s: float) -> float:
        availability = self._world.availability
        if availability is None:
            return len(self._looked_at)
        pairs = zip(self._looked_at, self._weights, strict=True)
        return sum(weight for client, weight in pairs if availability.remaining_on(client, at_s) > 0.0)

    def _moments_s(self, start_s: float, end_s: float) -> Floats:
        """Return moments that are spread evenly, yet keep step with no period of a pattern."""
        world = self._world
        is_constant = world.availability is None and world.faults.outages is None
        count = 1 if is_constant else max(_LEAST_MOMENTS, _LOOKS // len(self._looked_at))
        index = np.arange(count)
        moments_s: Floats = start_s + (end_s - start_s) * (index + np.mod(index * _GOLDEN, 1.0)) / count
        return moments_s


def last_start_s(world: World, num_clients: int) -> float:
    """Return the moment by which every client has been on, but those that never are."""
    availability = world.availability
    if availability is None:
        return 0.0
    starts_s = (availability.next_on(client, 0.0) for client in range(num_clients))
    return max((start_s for start_s in starts_s if start_s < math.inf), default=0.0)
