"""Which idle client is dispatched next."""

from array import array
from collections.abc import Iterator
from heapq import heappop, heappush
from math import inf

from simpy import Environment, Event

from interlude.simulator.federation.batteries import Gate
from interlude.simulator.federation.clock import delay_s
from interlude.simulator.randomness import Stream

_BLOCK_DRAWS = 1024
_BUSY = -1
_OFF = -2


class IdleClients:
    """The idle clients; uniform draws without replacement in O(1).

    Args:
        num_clients: clients 0, 1, ..., all idle at first.
        seed: the run's seed.
    """

    def __init__(self, num_clients: int, seed: int) -> None:
        self._clients = array("q", range(num_clients))  # no object for each client, of which there may be millions
        self._position = array("q", range(num_clients))
        self._stream = Stream(seed, "selection")
        self._num_drawn = 0
        self._uniforms: list[float] = []

    def __len__(self) -> int:
        return len(self._clients)

    def __bool__(self) -> bool:
        return bool(self._clients)

    def __iter__(self) -> Iterator[int]:
        return iter(self._clients)

    def draw(self) -> int:
        """Take one idle client, each with equal probability."""
        offset = self._num_drawn % _BLOCK_DRAWS
        if offset == 0:
            self._uniforms = self._next_uniforms()
        self._num_drawn += 1
        client = self._clients[int(self._uniforms[offset] * len(self._clients))]
        self.take(client)
        return client

    def upcoming(self) -> list[int]:
        """Return the clients that the next draws take if as many as now are idle each time; nothing between two blocks.

        Of few idle clients each comes up again before long, and nothing is returned.
        """
        num_idle = len(self._clients)
        if self._num_drawn % _BLOCK_DRAWS or num_idle <= _BLOCK_DRAWS:
            return []
        return [self._clients[int(uniform * num_idle)] for uniform in self._next_uniforms()]

    def _next_uniforms(self) -> list[float]:
        uniforms: list[float] = self._stream.uniforms(_BLOCK_DRAWS, start=self._num_drawn).tolist()
        return uniforms

    def take(self, client: int) -> None:
        """Take a client that is idle."""
        position, last = self._position[client], self._clients[-1]
        self._clients[position], self._position[last] = last, position
        self._clients.pop()
        self._position[client] = _BUSY

    def put_back(self, client: int) -> None:
        """Return a client that is idle again."""
        self._position[client] = len(self._clients)
        self._clients.append(client)

    def __contains__(self, client: int) -> bool:
        return self._position[client] != _BUSY


class IdleAndOn(IdleClients):
    """Idle clients where devices go off or run out of energy: only those count that are on and have enough of it.

    Nothing happens when an idle device goes on or off. A client that is drawn while off is put aside until it is on
    again and another one is drawn, so an idle client costs host time only when it is drawn: of those that are on, each
    is still drawn with equal probability.

    Args:
        num_clients: clients 0, 1, ..., all idle at first.
        seed: the run's seed.
        gate: when they are on; of an idle client that is known ahead.
        clock: the simulated clock.
    """

    def __init__(self, num_clients: int, seed: int, gate: Gate, clock: Environment) -> None:
        super().__init__(num_clients, seed)
        self._gate = gate
        self._clock = clock
        self._aside: list[tuple[float, int]] = []  # (when it is on again, client); stale where it was taken meanwhile
        self._next: tuple[float, Event] | None = None

    def __bool__(self) -> bool:
        self._bring_back()
        while self._clients:
            if self._on_s(self._clients[-1]) <= self._clock.now:
                return True
            self._put_aside(self._clients[-1])
        return False

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[int]:
        self._bring_back()
        return (client for client in tuple(self._clients) if self._on_s(client) <= self._clock.now)

    def __contains__(self, client: int) -> bool:
        return self._position[client] != _BUSY and self._on_s(client) <= self._clock.now

    def draw(self) -> int:
        """Take one idle client that is on, each with equal probability; one must be (see `bool`)."""
        while True:
            client = super().draw()
            if self._on_s(client) <= self._clock.now:
                return client
            self._put_aside(client)

    def take(self, client: int) -> None:
        """Take a client that is idle, on or off."""
        if self._position[client] == _OFF:
            self._position[client] = _BUSY
        else:
            super().take(client)

    def next_online_event(self) -> Event | None:
        """Return the next moment at which an idle client that is off now is on; None if there is none to come."""
        self._bring_back()
        for client in tuple(self._clients):
            if self._on_s(client) > self._clock.now:
                self._put_aside(client)
        while self._aside and self._position[self._aside[0][1]] != _OFF:
            heappop(self._aside)
        if not self._aside or self._aside[0][0] == inf:
            return None
        on_s = self._aside[0][0]
        if self._next is None or self._next[0] != on_s or self._next[1].processed:
            self._next = on_s, self._clock.timeout(delay_s(self._clock.now, on_s))
        return self._next[1]

    def _on_s(self, client: int) -> float:
        return self._gate.next_on(client, self._clock.now)

    def _put_aside(self, client: int) -> None:
        if self._position[client] != _BUSY:
            super().take(client)
        self._position[client] = _OFF
        heappush(self._aside, (self._on_s(client), client))

    def _bring_back(self) -> None:
        while self._aside and self._aside[0][0] <= self._clock.now:
            _, client = heappop(self._aside)
            if self._position[client] == _OFF:
                self.put_back(client)
