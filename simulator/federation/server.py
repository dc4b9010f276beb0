"""The server: dispatches clients, takes their updates in, merges, and counts versions."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple, Protocol

from simpy import Event
from torch import Tensor

from interlude.models.network import Network, Parameters
from interlude.simulator.arrays import Indices
from interlude.simulator.federation.accounting.losses import Losses
from interlude.simulator.federation.client_day import LocalRound, Steps, Update
from interlude.simulator.federation.clock import Clock
from interlude.simulator.federation.inbox import Inbox
from interlude.simulator.federation.journey import UnsteadyRound
from interlude.simulator.federation.selection import IdleAndOn, IdleClients
from interlude.simulator.federation.shared_link import SharedLink
from interlude.simulator.federation.timeline import Timeline
from interlude.simulator.training.cost import shared_costs
from interlude.simulator.training.executors.future import is_finite
from interlude.simulator.training.executors.sequential import Executor
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Values
from interlude.simulator.training.task import TrainingSpec, num_reported_bytes
from interlude.simulator.world.outages import Outages
from interlude.simulator.world.world import World

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

    def learn(self, memory: Any, updates: Sequence[ClientUpdate]) -> Any:
        """Return the memory after updates that make no new version."""
        ...

    def broadcast(self, memory: Any) -> Values:
        """Return what is sent along with the model; its shapes never change."""
        ...

    def merge(self, model: Parameters, memory: Any, updates: Sequence[ClientUpdate]) -> State:
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
        self.num_rejected = 0
        """Updates with NaN or infinity that were left out."""
        self.inbox: Inbox[Returned] = Inbox(clock)
        self._method = method
        self._max_versions = max_versions
        self._availability, self._outages = world.availability, world.faults.outages
        self.idle = (
            IdleClients(population.num_clients, seed)
            if world.availability is None
            else IdleAndOn(population.num_clients, seed, world.availability, clock)
        )
        """The clients that could be dispatched."""
        self.losses = Losses()
        """What came to nothing."""
        self.missed_download: set[int] = set()
        """Clients whose last download was cut off; for methods that keep account of what a client has."""
        self.shared_links = {
            direction: SharedLink(clock, capacity) for direction, capacity in world.links.shared_bytes_per_s.items()
        }
        """The server's own links, where they are a limit."""
        self._local_round = LocalRound if world.is_uninterrupted else UnsteadyRound
        self.seed = seed
        self._idle_since_s = [0.0] * population.num_clients
        held = [len(shard) for shard in population.shards]
        self._num_window_samples = [min(num_held, training.window_samples or num_held) for num_held in held]
        self._next_window = [0] * population.num_clients
        self._in_flight: dict[int, LocalRound] = {}
        self._download_bytes: dict[tuple[str, ...], int] = {}
        self.broadcast = method.broadcast(self.memory)
        self.costs = shared_costs(network, training.batch_size, self.broadcast)
        clock.process(method.serve(self) if self._outages is None else self._serve(method, self._outages))

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
        drawn: dict[int, Role] = {}
        while len(drawn) < num_clients and self.idle:
            drawn[self.idle.draw()] = None
        return drawn

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
            self._note_idle(client, now_s)
            local_round = self._in_flight[client] = self._local_round(self, client, self._take_window(client), role)
            local_round.start(self.day_of(local_round))

    def receive(self, deadline: Event | None = None) -> Generator[Event, Any, Returned | None]:
        """Wait for the next client to come back; None if a deadline is over first.

        Only then can it be dispatched again, so nobody starts over before its update was taken in, even where several
        come back at the same instant. A server that is away takes nobody in and sees no deadline until it is back.
        """
        if deadline is None and self._availability is not None and not self._in_flight and not len(self.inbox):
            self.clock.may_end_idle = True  # nobody is left who could ever come
        returned = yield from self.inbox.get(deadline)
        if self._outages is not None:
            yield from self._until_back(self._outages)
        if returned is not None:
            self.idle.put_back(returned.client)
        return returned

    def on_return(self, local_round: LocalRound) -> None:
        """Take note of a client that is back."""
        client, update = local_round.client, local_round.update
        if update is not None:
            self.losses.bytes_received += update.num_bytes
        elif local_round.fate is not None:
            self.losses.add_round(local_round.fate, local_round.spent_s, local_round.bytes_not_received)
            if not local_round.has_received:
                self.missed_download.add(client)
        del self._in_flight[client]
        self._idle_since_s[client] = self.clock.now
        self.num_returned += 1
        self.inbox.put(Returned(client, update))

    def next_online_event(self) -> Event | None:
        """Return the next moment at which an idle client that is off now is on; None if there is none to come."""
        return self.idle.next_online_event() if isinstance(self.idle, IdleAndOn) else None

    def has_left(self, client: int) -> bool:
        """Return whether a client will never be on again."""
        availability = self._availability
        return availability is not None and availability.next_on(client, self.clock.now) == inf

    def oldest_in_flight(self) -> int:
        """Return the oldest version that a client at work started from; the current one if there is none."""
        return min((local_round.version for local_round in self._in_flight.values()), default=self.version)

    def versions_in_flight(self) -> list[int]:
        """Return the versions that clients at work started from, oldest first."""
        return sorted(local_round.version for local_round in self._in_flight.values())

    def drop_stale(self, update: Update) -> None:
        """Take note of an update that is too old to be merged."""
        del update
        self.losses.updates_dropped += 1

    def model_for(self, client: int) -> Parameters:
        """Return the model that a client downloads now."""
        return self._method.model_for(self.model, self.memory, client)

    def learn(self, updates: Sequence[Update]) -> None:
        """Let the method remember what updates report, without making a new version."""
        memory = self.memory
        sound = self._sound(updates)
        if updates and not sound:
            return
        updates = sound

        def rule() -> Any:
            return self._method.learn(memory, [self._arrived(update) for update in updates])

        self.memory = self.executor.merge(rule, memory, [update.trained for update in updates])
        self.broadcast = self._method.broadcast(self.memory)

    def merge(self, updates: Sequence[Update]) -> bool:
        """Merge updates into the next version of the global model; staleness is counted now.

        Returns:
            Whether there is a new version: not where every update was rejected.
        """
        updates = self._sound(updates)
        if not updates:
            return False
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
        return True

    def finish(self, end_s: float) -> None:
        """Close every client's time at the end of the run."""
        for client in range(self.num_clients):
            if client not in self._in_flight:
                self._note_idle(client, end_s)
        for local_round in self._in_flight.values():
            local_round.cut(end_s)

    def observe(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Return what the method wants recorded of its memory."""
        return self._method.observe(self.memory)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs to know of the model; the rest of the federation is made by a replay."""
        # A day that waits for a shared link will submit more training; others have submitted all of theirs.
        planning = self._in_flight if self.shared_links else {}
        received = {client: (one.received, one.broadcast) for client, one in planning.items()}
        return {"model": self.model, "memory": self.memory, "broadcast": self.broadcast, "received": received}

    def restore(self, state: Mapping[str, Any], executor: Executor) -> None:
        """Go on from a checkpoint after a replay."""
        self.model, self.memory, self.broadcast = state["model"], state["memory"], state["broadcast"]
        self.executor = executor
        for client, (model, broadcast) in state["received"].items():
            self._in_flight[client].received, self._in_flight[client].broadcast = model, broadcast

    def _sound(self, updates: Sequence[Update]) -> Sequence[Update]:
        """Return the updates without NaN and infinity, where the scenario rejects those that have some."""
        if self.training.on_divergence == "stop":
            return updates

        def by_values() -> list[int]:
            return [i for i, update in enumerate(updates) if not is_finite(update.trained.result())]

        def none() -> list[int]:
            return []

        rejected = self.executor.decide(by_values, none, [update.trained for update in updates])
        self.num_rejected += len(rejected)
        return [update for i, update in enumerate(updates) if i not in rejected]

    def _take_window(self, client: int) -> int:
        window = self._next_window[client]
        if self.world.drops_windows:
            num_samples, held = self.num_window_samples(client), self.population.modalities[client]
            window = max(window, self.world.oldest_window(client, self.clock.now, num_samples, held))
        self._next_window[client] = window + 1
        return window

    def _note_idle(self, client: int, until_s: float) -> None:
        """Note the time since a client came back, on and off."""
        since_s = self._idle_since_s[client]
        availability = self._availability
        if availability is None:
            self.timeline.add(client, "idle", since_s, until_s)
            return
        while since_s < until_s:
            on_s = min(availability.next_on(client, since_s), until_s)
            if on_s > since_s:
                self.timeline.add(client, "off", since_s, on_s)
            if on_s < until_s:
                since_s = min(on_s + availability.remaining_on(client, on_s), until_s)
                self.timeline.add(client, "idle", on_s, since_s)
            else:
                since_s = on_s

    def _serve(self, method: Decisions, outages: Outages) -> Generator[Event, Any, None]:
        """Serve as the method says, once the server is there."""
        yield from self._until_back(outages)
        yield from method.serve(self)

    def _until_back(self, outages: Outages) -> Generator[Event, Any, None]:
        """Wait until the server is back."""
        while (back_s := outages.back_s(self.clock.now)) > self.clock.now:
            yield self.clock.timeout(back_s - self.clock.now)

    def day_of(self, local_round: LocalRound) -> Steps:
        """Return what a client does in a local round, as the method says."""
        if local_round.arrivals_s:
            return self._method.client_round(local_round)
        return local_round.download()  # no data will come: it is sent out in vain

    def _arrived(self, update: Update) -> ClientUpdate:
        trained = update.trained.result()
        return ClientUpdate(
            client=update.client,
            groups=update.groups,
            num_samples=update.num_samples,
            staleness=self.version - update.version,
            parameters=trained.parameters,
            start=update.trained.received,
            report=trained.report,
        )
