"""The federation as a method and a server rule see it.

`SelectionView` holds everything that a choice of clients may depend on, values included: the server journals the
choice, so that a resumed run makes the same one. A rule acts through `ServerView`; no value of training is in it.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from simpy import Event

from interlude.models.network import Network
from interlude.simulator.federation.dispatch import PendingUpdate, Role
from interlude.simulator.federation.setting import Population

T = TypeVar("T")

Process = Generator[Event, Any, T]
"""A SimPy process: yields events, and returns something at its end."""


@dataclass(frozen=True)
class SelectionView:
    """The facts by which a method selects clients."""

    seed: int
    """The run's seed, for random streams of the method's own."""
    version: int
    """Version of the global model."""
    num_returned: int
    """Local rounds that are over: a counter that addresses the random draws of a selection."""
    idle: Sequence[int]
    """Clients that can be dispatched, idle and on, in ascending order; only these can be selected."""
    population: Population
    """Which client holds what."""
    memory: Any
    """The method's memory at the server; in a timing-only run it stays as at the start."""
    asked: Sequence[int] = ()
    """Of the candidates that were probed for this selection, those that are still on, in ascending order."""


class Clients(Protocol):
    """The idle clients."""

    def __bool__(self) -> bool:
        """Return whether any client is idle and on."""
        ...

    def __iter__(self) -> Iterator[int]:
        """Yield them in arbitrary order."""
        ...

    def __contains__(self, client: int) -> bool:
        """Return whether a client is one of them."""
        ...


class FleetView(Protocol):
    """Where the clients are."""

    @property
    def idle(self) -> Clients:
        """The clients that can be dispatched."""
        ...

    @property
    def missed_download(self) -> set[int]:
        """Clients whose last download at dispatch was cut off; the reader removes those it has handled."""
        ...

    @property
    def num_in_flight(self) -> int:
        """Clients dispatched and not received yet: those at work, and those that wait in the server's inbox."""
        ...

    def versions_in_flight(self) -> Sequence[int]:
        """Return the versions that clients in flight started from, oldest first."""
        ...

    def slowest_round_s(self) -> float:
        """Return the longest of all clients' last local rounds that brought an update, in simulated seconds."""
        ...

    def next_online_event(self) -> Event | None:
        """Return the next moment at which an idle client that is off now is on; None if there is none to come."""
        ...

    def has_left(self, client: int) -> bool:
        """Return whether a client that is idle will never be on again, or never with enough energy."""
        ...


class Arrival(Protocol):
    """A client that returned."""

    @property
    def client(self) -> int:
        """Its index."""
        ...

    @property
    def update(self) -> PendingUpdate | None:
        """Its update; None if its local round was lost."""
        ...


class RuleView(Protocol):
    """The server, or a part of it, as a rule acts through it."""

    @property
    def fleet(self) -> FleetView:
        """Where the clients are."""
        ...

    @property
    def num_clients(self) -> int:
        """Clients that are served."""
        ...

    @property
    def version(self) -> int:
        """Version of the global model: merges so far."""
        ...

    @property
    def now_s(self) -> float:
        """The simulated time in seconds."""
        ...

    @property
    def is_stopped(self) -> bool:
        """Whether the run is over."""
        ...

    def timeout(self, delay_s: float) -> Event:
        """Return an event so many simulated seconds from now."""
        ...

    def send(self, num_clients: int) -> Process[Sequence[int]]:
        """Let the method select up to `num_clients` idle clients, and dispatch them; returns them."""
        ...

    def receive(self, until: Event | None = None) -> Process[Arrival | None]:
        """Wait for the next client to return; None if an event comes first."""
        ...

    def merge(self, updates: Sequence[PendingUpdate]) -> bool:
        """Merge updates into the next version; returns whether there is one: not where all were rejected."""
        ...

    def hurry(self, up_to_version: int) -> None:
        """Send clients at work that started from a version, or an older one, an urgent notice.

        Such a client uploads after the pass over its window in which the notice arrives; each is sent one at most.
        """
        ...

    def drop_stale(self, update: PendingUpdate) -> None:
        """Count an update that is too old to be merged."""
        ...


class ServerView(RuleView, Protocol):
    """The server, as a method acts through it."""

    @property
    def population(self) -> Population:
        """Which client holds what."""
        ...

    @property
    def network(self) -> Network:
        """The network trained: its groups and shapes."""
        ...

    @property
    def seed(self) -> int:
        """The run's seed, for random streams of the method's own."""
        ...

    def dispatch(self, roles: Mapping[int, Role]) -> None:
        """Dispatch idle clients, each in its role."""
        ...

    def ask(self, roles: Mapping[int, Role]) -> Process[None]:
        """Dispatch idle clients, wait until all have returned, and let the method remember their reports."""
        ...

    def part(self, clients: Sequence[int], role: Role) -> RuleView:
        """Return a part of the server: some clients, in one role, which return to it alone from now on."""
        ...

    def start(self, process: Process[None]) -> None:
        """Run a process beside the method's own, e.g. of a part."""
        ...
