"""A part of the server: some of the clients, which are dispatched and received beside all others.

The parts of a server share its model, its versions and its outages. A rule serves a part as it serves a whole server,
in a process of its own. Versions that other parts make count as staleness, too, so a rule that makes clients wait for
stale ones keeps its bound only where it serves the one part that merges.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from simpy import Event

from interlude.simulator.federation.dispatch import PendingUpdate, Role
from interlude.simulator.federation.fleet import Fleet, Returned
from interlude.simulator.federation.inbox import Inbox
from interlude.simulator.federation.views import Clients, Process
from interlude.simulator.randomness import Stream


class _Server(Protocol):
    """What a part needs of the whole; `federation.server` documents each member."""

    seed: int
    version: int
    fleet: Fleet

    @property
    def now_s(self) -> float: ...

    @property
    def is_stopped(self) -> bool: ...

    def timeout(self, delay_s: float) -> Event: ...

    def dispatch(self, roles: Mapping[int, Role]) -> None: ...

    def receive(self, until: Event | None, inbox: Inbox[Returned]) -> Process[Returned | None]: ...

    def merge(self, updates: Sequence[PendingUpdate]) -> bool: ...

    def drop_stale(self, update: PendingUpdate) -> None: ...


class Part:
    """Some of a server's clients.

    Args:
        server: the whole server.
        clients: the clients of this part.
        role: in which they are dispatched.
        inbox: where they arrive when they return.
    """

    def __init__(self, server: _Server, clients: Sequence[int], role: Role, inbox: Inbox[Returned]) -> None:
        self._server = server
        self._role = role
        self._inbox = inbox
        self._stream = Stream(server.seed, "selection-of-part", min(clients))
        self._num_sent = 0
        self.num_clients = len(clients)
        self.fleet = PartOfFleet(server.fleet, frozenset(clients))
        """Where these clients are."""

    @property
    def version(self) -> int:
        """Version of the global model: merges so far, of all parts."""
        return self._server.version

    @property
    def now_s(self) -> float:
        """The simulated time in seconds."""
        return self._server.now_s

    @property
    def is_stopped(self) -> bool:
        """Whether the run is over."""
        return self._server.is_stopped

    def timeout(self, delay_s: float) -> Event:
        """Return an event so many simulated seconds from now."""
        return self._server.timeout(delay_s)

    def send(self, num_clients: int) -> Process[Sequence[int]]:
        """Dispatch up to `num_clients` idle clients, uniformly drawn; returns them."""
        yield from ()
        idle = self._stream.generator(self._num_sent).permutation(sorted(self.fleet.idle))
        drawn = [int(client) for client in idle[: max(num_clients, 0)]]
        self._num_sent += 1
        self.fleet.at_work |= set(drawn)
        self._server.dispatch(dict.fromkeys(drawn, self._role))
        return drawn

    def receive(self, until: Event | None = None) -> Process[Returned | None]:
        """Wait for the next of these clients to return; None if an event comes first."""
        returned = yield from self._server.receive(until, self._inbox)
        if returned is not None:
            self.fleet.at_work.discard(returned.client)
        return returned

    def merge(self, updates: Sequence[PendingUpdate]) -> bool:
        """Merge updates into the next version; returns whether there is one."""
        return self._server.merge(updates)

    def hurry(self, up_to_version: int) -> None:
        """Send clients of this part that are at work and started from a version, or an older one, an urgent notice."""
        self._server.fleet.hurry(up_to_version, self.fleet.at_work)

    def drop_stale(self, update: PendingUpdate) -> None:
        """Count an update that is too old to be merged."""
        self._server.drop_stale(update)


class PartOfFleet:
    """Where the clients of a part are.

    Args:
        fleet: the whole fleet.
        clients: those of the part.
    """

    def __init__(self, fleet: Fleet, clients: frozenset[int]) -> None:
        self._fleet = fleet
        self._clients = clients
        self.idle = IdleOfPart(fleet.idle, clients)
        """The clients that can be dispatched."""
        self.at_work: set[int] = set()
        """Clients dispatched and not received yet."""
        self.missed_download = fleet.missed_download

    @property
    def num_in_flight(self) -> int:
        """Clients dispatched and not received yet."""
        return len(self.at_work)

    def versions_in_flight(self) -> list[int]:
        """Return the versions that clients in flight started from, oldest first."""
        return self._fleet.versions_in_flight(self.at_work)

    def slowest_round_s(self) -> float:
        """Return the longest of these clients' last local rounds that brought an update, in simulated seconds."""
        return self._fleet.slowest_round_s(self._clients)

    def next_online_event(self) -> Event | None:
        """Return the next moment at which some idle client that is off now is on, of this part or another."""
        return self._fleet.next_online_event()

    def has_left(self, client: int) -> bool:
        """Return whether a client that is idle will never be on again, or never with enough energy."""
        return self._fleet.has_left(client)


class IdleOfPart:
    """The idle clients of a part.

    Args:
        idle: all idle clients.
        clients: those of the part.
    """

    def __init__(self, idle: Clients, clients: frozenset[int]) -> None:
        self._idle = idle
        self._clients = clients

    def __bool__(self) -> bool:
        """Return whether any client is idle and on."""
        return any(client in self._idle for client in self._clients)

    def __iter__(self) -> Iterator[int]:
        """Yield the clients that are idle and on, in arbitrary order."""
        return (client for client in self._clients if client in self._idle)

    def __contains__(self, client: int) -> bool:
        """Return whether a client is one of them."""
        return client in self._clients and client in self._idle
