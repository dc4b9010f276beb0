"""The server: dispatches clients, takes their updates in, merges, and counts versions."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from simpy import Event
from torch import Tensor

from models.network import Network, Parameters
from simulator.arrays import Indices
from simulator.federation.clock import Clock
from simulator.federation.inbox import Inbox
from simulator.federation.local_round import LocalRound, Steps, Update
from simulator.federation.selection import IdleClients
from simulator.federation.timeline import Timeline
from simulator.training.cost import shared_costs
from simulator.training.executor import Executor
from simulator.training.merge import Arrived
from simulator.training.objective import Values
from simulator.training.task import TrainingSpec, num_reported_bytes
from simulator.world.world import World

State = tuple[Parameters, Any]
"""The global model and the method's memory."""

Role = Any
"""What a method tells a client to be in one local round; None for an ordinary client."""

Choosing = Generator[Event, Any, Mapping[int, Role]]
"""A generator that takes idle clients, which may take simulated time, and returns their roles."""


class Decisions(Protocol):
    """What the federation asks of a method."""

    def client_round(self, client: LocalRound) -> Steps:
        """Spend a client's local round."""
        ...

    def serve(self, server: "Server") -> Generator[Event, Any, None]:
        """Run the server for ever."""
        ...

    def choose(self, server: "Server", num_clients: int) -> Choosing:
        """Take up to `num_clients` idle clients and return their roles by client."""
        ...

    def model_for(self, model: Parameters, memory: Any, client: int) -> Parameters:
        """Return the model that a client downloads."""
        ...

    def initial_memory(self, network: Network, num_clients: int) -> Any:
        """Return what the server remembers besides the model, as it is before the first merge."""
        ...

    def learn(self, memory: Any, updates: Sequence[Arrived]) -> Any:
        """Return the memory after updates that make no new version."""
        ...

    def broadcast(self, memory: Any) -> Values:
        """Return what is sent along with the model; its shapes never change."""
        ...

    def merge(self, model: Parameters, memory: Any, updates: Sequence[Arrived]) -> State:
        """Return the next model and memory."""
        ...

    def observe(self, memory: Any) -> Values:
        """Return what should be recorded of the memory: metric -> modality -> 0-d tensor."""
        ...


@dataclass(frozen=True)
class Population:
    """Who holds what."""

    shards: Sequence[Indices]
    """[n_k] sample indices of each client."""
    modalities: Sequence[tuple[str, ...]]
    """Modalities of each client, in the data set's order."""

    @property
    def num_clients(self) -> int:
        """Number of clients."""
        return len(self.shards)


class Returned(NamedTuple):
    """A client that came back, with an update or, where its upload broke off, without."""

    client: int
    update: Update | None


class Server:
    """The server of one run and the state of the federation.

    Args:
        clock: the simulated clock.
        world: how long things take.
        method: what is decided.
        network: the network trained.
        model: version 0 of the global model.
        executor: computes results.
        training: what all local training shares.
        population: who holds what.
        timeline: receives spans and merges.
        seed: the run's seed.
        max_versions: stop after so many merges; None for no limit.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        world: World,
        method: Decisions,
        network: Network,
        model: Parameters,
        executor: Executor,
        training: TrainingSpec,
        population: Population,
        timeline: Timeline,
        seed: int,
        max_versions: int | None = None,
    ) -> None:
        self.clock = clock
        self.world = world
        self.network = network
        self.executor = executor
        self.training = training
        self.population = population
        self.timeline = timeline
        self.model = model
        self.memory = method.initial_memory(network, population.num_clients)
        self.version = 0
        self.num_returned = 0
        self.inbox: Inbox[Returned] = Inbox(clock)
        self._method = method
        self._max_versions = max_versions
        self.idle = IdleClients(population.num_clients, seed)
        """The clients that could be dispatched."""
        self.seed = seed
        self._idle_since_s = [0.0] * population.num_clients
        held = [len(shard) for shard in population.shards]
        self._num_window_samples = [min(num_held, training.window_samples or num_held) for num_held in held]
        self._next_window = [0] * population.num_clients
        self._in_flight: dict[int, LocalRound] = {}
        self._download_bytes: dict[tuple[str, ...], int] = {}
        self.broadcast = method.broadcast(self.memory)
        self.costs = shared_costs(network, training.batch_size, self.broadcast)
        clock.process(method.serve(self))

    @property
    def num_clients(self) -> int:
        """Number of clients."""
        return self.population.num_clients

    @property
    def num_in_flight(self) -> int:
        """Clients at work."""
        return len(self._in_flight)

    def num_window_samples(self, client: int) -> int:
        """Return the samples of one local round of a client."""
        return self._num_window_samples[client]

    def download_bytes(self, client: int, groups: tuple[str, ...] | None = None) -> int:
        """Return the payload a client downloads: groups (unset: its modalities') and what the method sends along."""
        if groups is not None:
            return self.network.num_bytes(groups) + num_reported_bytes(self.broadcast)
        held = self.population.modalities[client]
        if held not in self._download_bytes:
            dense_bytes = self.network.num_bytes(self.network.groups_of(held))
            self._download_bytes[held] = dense_bytes + num_reported_bytes(self.broadcast)
        return self._download_bytes[held]

    def draw(self, num_clients: int) -> dict[int, Role]:
        """Take up to `num_clients` idle clients, uniformly drawn, to be dispatched without a role."""
        return dict.fromkeys(self.idle.draw() for _ in range(min(num_clients, len(self.idle))))

    def take(self, roles: Mapping[int, Role]) -> Mapping[int, Role]:
        """Take the idle clients that somebody chose, to be dispatched in their roles; returns the roles."""
        for client in roles:
            self.idle.take(client)
        return roles

    def choose(self, num_clients: int) -> Choosing:
        """Let the method take up to `num_clients` idle clients; returns their roles by client."""
        return self._method.choose(self, num_clients)

    def dispatch(self, roles: Mapping[int, Role]) -> None:
        """Send clients that were taken out of the idle ones into a local round, each in its role."""
        now_s = self.clock.now
        for client, role in roles.items():
            self.timeline.add(client, "idle", self._idle_since_s[client], now_s)
            local_round = self._in_flight[client] = LocalRound(self, client, self._take_window(client), role)
            local_round.start(self._day(local_round))

    def receive(self, deadline: Event | None = None) -> Generator[Event, Any, Returned | None]:
        """Wait for the next client to come back; None if a deadline is over first.

        Only then can it be dispatched again, so nobody starts over before its update was taken in, even where several
        come back at the same instant.
        """
        returned = yield from self.inbox.get(deadline)
        if returned is not None:
            self.idle.put_back(returned.client)
        return returned

    def welcome(self, local_round: LocalRound) -> None:
        """Take note of a client that is back."""
        client = local_round.client
        del self._in_flight[client]
        self._idle_since_s[client] = self.clock.now
        self.num_returned += 1
        self.inbox.put(Returned(client, local_round.update))

    def model_for(self, client: int) -> Parameters:
        """Return the model that a client downloads now."""
        return self._method.model_for(self.model, self.memory, client)

    def learn(self, updates: Sequence[Update]) -> None:
        """Let the method remember what updates report, without making a new version."""
        memory = self.memory

        def rule() -> Any:
            return self._method.learn(memory, [self._arrived(update) for update in updates])

        self.memory = self.executor.merge(rule, memory, [update.trained for update in updates])
        self.broadcast = self._method.broadcast(self.memory)

    def merge(self, updates: Sequence[Update]) -> None:
        """Merge updates into the next version of the global model; staleness is counted now."""
        model, memory = self.model, self.memory

        def rule() -> State:
            arrived = [self._arrived(update) for update in updates]
            return self._method.merge(model, memory, arrived)

        staleness = [self.version - update.version for update in updates]
        self.model, self.memory = self.executor.merge(rule, (model, memory), [update.trained for update in updates])
        self.broadcast = self._method.broadcast(self.memory)
        self.version += 1
        now_s = self.clock.now
        for update, age in zip(updates, staleness, strict=True):
            self.timeline.add(update.client, "merge", now_s, now_s, self.version, staleness=age)
        if self.version == self._max_versions:
            self.clock.stop()

    def finish(self, end_s: float) -> None:
        """Close every client's time at the end of the run."""
        for client, idle_since_s in enumerate(self._idle_since_s):
            if client not in self._in_flight:
                self.timeline.add(client, "idle", idle_since_s, end_s)
        for local_round in self._in_flight.values():
            local_round.cut(end_s)

    def observe(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Return what the method wants recorded of its memory."""
        return self._method.observe(self.memory)

    def _take_window(self, client: int) -> int:
        window = self._next_window[client]
        if self.world.drops_windows:
            num_samples, held = self.num_window_samples(client), self.population.modalities[client]
            window = max(window, self.world.oldest_window(client, self.clock.now, num_samples, held))
        self._next_window[client] = window + 1
        return window

    def _day(self, local_round: LocalRound) -> Steps:
        if local_round.arrivals_s:
            return self._method.client_round(local_round)
        return local_round.download()  # no data will come: it is sent out in vain

    def _arrived(self, update: Update) -> Arrived:
        trained = update.trained.result()
        return Arrived(
            client=update.client,
            groups=update.groups,
            num_samples=update.num_samples,
            staleness=self.version - update.version,
            parameters=trained.parameters,
            start=update.received,
            report=trained.report,
        )
