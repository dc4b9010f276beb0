"""The server: dispatches clients, receives their updates, merges, and counts versions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from simpy import Event

from interlude.models.network import Network, Parameters
from interlude.simulator.errors import InterludeError
from interlude.simulator.federation.accounting.losses import Losses
from interlude.simulator.federation.clock import Clock
from interlude.simulator.federation.decisions import Decisions
from interlude.simulator.federation.dispatch import Dispatch, Download, PendingUpdate, Role
from interlude.simulator.federation.fleet import Fleet, Returned
from interlude.simulator.federation.inbox import Inbox
from interlude.simulator.federation.part import Part
from interlude.simulator.federation.rules import gather
from interlude.simulator.federation.setting import Population, Setting
from interlude.simulator.federation.timeline import Timeline
from interlude.simulator.federation.views import Process, SelectionView
from interlude.simulator.training.executors.base import are_finite
from interlude.simulator.training.executors.executor import Executor
from interlude.simulator.training.executors.future import Future
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.profile.costs import shared_costs
from interlude.simulator.training.server_optimizer import Moments, ServerOptimizer
from interlude.simulator.training.spec import TrainingSpec
from interlude.simulator.training.task import Task, Trained
from interlude.simulator.training.values import Values, num_bytes
from interlude.simulator.world.world import World


class Server:
    """The server of one run and the state of the federation.

    Args:
        clock: the simulated clock.
        world: how long things take.
        method: the method's decisions.
        network: the network trained.
        model: version 0 of the global model.
        executor: computes results.
        training: the ``training`` section of the scenario.
        population: the clients' samples and modalities.
        timeline: receives spans and merges.
        seed: the run's seed.
        max_versions: stop after so many merges; None for no limit.
        optimizer: steps along what the method merged; None: what it merged is the next model.
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
        optimizer: ServerOptimizer | None = None,
    ) -> None:
        self.network = network
        self.population = population
        self.seed = seed
        self.model = model
        self.version = 0
        self.num_rejected = 0
        """Number of updates with NaN or infinity that were left out."""
        self.losses = Losses()
        """Lost local rounds and updates."""
        self.executor = executor
        self._clock = clock
        self._method = method
        self._world = world
        self._timeline = timeline
        self._max_versions = max_versions
        self._outages = world.faults.outages
        self._rejects = training.on_divergence == "reject"
        self._memory = method.initial_memory(network, population.num_clients)
        self._broadcast = method.broadcast(self._memory)
        self._optimizer = optimizer
        self._moments: Moments = ()
        self._inbox: Inbox[Returned] = Inbox(clock)
        self._inboxes_of_parts: dict[int, Inbox[Returned]] = {}
        sent = {**self._broadcast, **method.values_for(self._memory, 0)}
        costs = shared_costs(network, training.batch_size, self._values_for(0))
        setting = Setting(world, population, network, training, costs, seed, num_bytes(sent))
        self._setting = setting
        self.fleet = Fleet(
            clock,
            timeline,
            setting,
            method.client_round,
            self._submit if executor.needs_tasks else None,
            self._send_now,
            self.losses,
            self._take_back,
        )
        """The clients, idle and in flight."""
        clock.process(self._serve())

    @property
    def now_s(self) -> float:
        """The simulated time in seconds."""
        return self._clock.now

    @property
    def is_stopped(self) -> bool:
        """Whether the run is over."""
        return self._clock.is_stopped

    @property
    def num_clients(self) -> int:
        """Clients that are served."""
        return self.population.num_clients

    def timeout(self, delay_s: float) -> Event:
        """Return an event so many simulated seconds from now."""
        return self._clock.timeout(delay_s)

    def send(self, num_clients: int) -> Process[Sequence[int]]:
        """Let the method select up to `num_clients` idle clients, and dispatch them; returns them."""
        roles: Mapping[int, Role] | None = None
        if self._method.selects and num_clients > 0:
            asked = self.executor.decide(lambda: self._method.candidates(self._view(), num_clients))
            if asked:
                yield from self.ask(asked)
            still_on = [client for client in sorted(asked) if client in self.fleet.idle]
            roles = self.executor.decide(lambda: self._method.select(self._view(still_on), num_clients))
        if roles is None:
            roles = self._drawn(num_clients)
        else:
            if len(roles) > num_clients:
                raise InterludeError(f"the method selects {len(roles)} clients, but at most {num_clients} are wanted")
            self._take(roles)
        self._start(roles)
        return list(roles)

    def dispatch(self, roles: Mapping[int, Role]) -> None:
        """Dispatch idle clients, each in its role."""
        self._take(roles)
        self._start(roles)

    def receive(self, until: Event | None = None, inbox: Inbox[Returned] | None = None) -> Process[Returned | None]:
        """Wait for the next client to return; None if an event comes first.

        Only then can it be dispatched again, so no client starts over before its update was received, even if several
        return at the same instant. During an outage the server receives no client and sees no event.

        Args:
            until: the event.
            inbox: of the part to which clients return; unset: the server's own.
        """
        if until is None and self.fleet.may_end_idle():
            self._clock.may_end_idle = True  # no client can ever return
        inbox = self._inbox if inbox is None else inbox
        arrived = inbox.items
        while not arrived and (until is None or not until.processed):
            arrival = inbox.next_arrival()
            yield arrival if until is None else arrival | until
        returned = arrived.popleft() if arrived else None
        if self._outages is not None:
            yield from self._until_back()
        if returned is not None:
            self.fleet.receive(returned.client)
        return returned

    def ask(self, roles: Mapping[int, Role]) -> Process[None]:
        """Dispatch idle clients, wait until all have returned, and let the method remember their reports."""
        self.dispatch(roles)
        updates = self._sound((yield from gather(self, roles)))
        results = self.executor.results([update.trained for update in updates])
        if results is not None:
            self._memory = self._method.remember(self._memory, self._arrived(updates, results))
            self._broadcast = self._method.broadcast(self._memory)

    def part(self, clients: Sequence[int], role: Role) -> Part:
        """Return a part of the server: some clients, in one role, which return to it alone from now on."""
        inbox: Inbox[Returned] = Inbox(self._clock)
        self._inboxes_of_parts |= dict.fromkeys(clients, inbox)
        return Part(self, clients, role, inbox)

    def start(self, process: Process[None]) -> None:
        """Run a process beside the method's own, e.g. of a part."""
        self._clock.process(process)

    def merge(self, updates: Sequence[PendingUpdate]) -> bool:
        """Merge updates into the next version of the global model; staleness is counted now.

        Returns:
            Whether there is a new version: not where every update was rejected.
        """
        updates = self._sound(updates)
        if not updates:
            return False
        results = self.executor.take([update.trained for update in updates])
        if results is not None:
            before = self.model
            self.model, self._memory = self._advanced(updates, results)
            if self._optimizer is not None:
                trained = {group for update in updates for group in update.groups}
                self.model, self._moments = self._optimizer.step(before, self.model, trained, self._moments)
            self._broadcast = self._method.broadcast(self._memory)
        ages = [(update.client, self.version - update.version) for update in updates]
        self.version += 1
        self._timeline.add_merges(self._clock.now, self.version, ages)
        if self.version == self._max_versions:
            self._clock.stop()
        return True

    def hurry(self, up_to_version: int) -> None:
        """Send clients at work that started from a version, or an older one, an urgent notice."""
        self.fleet.hurry(up_to_version)

    def drop_stale(self, update: PendingUpdate) -> None:
        """Count an update that is too old to be merged."""
        del update
        self.losses.updates_dropped += 1

    def observe(self) -> Values:
        """Return the method's metrics of its memory."""
        return self._method.observe(self._memory)

    def state(self) -> dict[str, Any]:
        """Return the checkpoint's state of the model; a replay restores the rest of the federation."""
        moments = {} if self._optimizer is None else {"moments": self._moments}
        return {
            "model": self.model,
            "memory": self._memory,
            "broadcast": self._broadcast,
            "received": self.fleet.state(),
            **moments,
        }

    def restore(self, state: Mapping[str, Any], executor: Executor) -> None:
        """Continue from a checkpoint after a replay."""
        self.model, self._memory, self._broadcast = state["model"], state["memory"], state["broadcast"]
        self._moments = state.get("moments", ())
        self.executor = executor
        self.fleet.restore(state["received"])

    def _serve(self) -> Process[None]:
        """Run the method's server process, once the server is up."""
        yield from self._until_back()
        yield from self._method.serve(self)

    def _until_back(self) -> Process[None]:
        """Wait until the server is back."""
        outages = self._outages
        while outages is not None and (back_s := outages.back_s(self._clock.now)) > self._clock.now:
            yield self._clock.timeout(back_s - self._clock.now)

    def _take_back(self, returned: Returned) -> None:
        """Put a client that returned into its inbox."""
        self._inboxes_of_parts.get(returned.client, self._inbox).put(returned)

    def _submit(self, task: Task) -> Future[Trained]:
        return self.executor.submit(task)

    def _send_now(self, dispatch: Dispatch) -> Download:
        """Return what a client that asks in mid-round is sent."""
        model = self._method.model_for(self.model, self._memory, dispatch.client)
        return Download(self.version, model, self._values_for(dispatch.client))

    def _values_for(self, client: int) -> Values:
        """Return the values that a client has: all that are sent along with the model, and its own."""
        own = {**self._method.values_for(self._memory, client), **self._method.own_values(self._memory, client)}
        return {**self._broadcast, **own} if own else self._broadcast

    def _view(self, asked: Sequence[int] = ()) -> SelectionView:
        fleet = self.fleet
        idle = sorted(fleet.idle)
        return SelectionView(self.seed, self.version, fleet.num_returned, idle, self.population, self._memory, asked)

    def _drawn(self, num_clients: int) -> dict[int, Role]:
        """Take up to `num_clients` idle clients, uniformly drawn, without roles."""
        drawn: dict[int, Role] = {}
        idle = self.fleet.idle
        if num_clients == 1:
            self._world.read_ahead(idle.upcoming())
        while len(drawn) < num_clients and idle:
            drawn[idle.draw()] = None
        return drawn

    def _take(self, roles: Mapping[int, Role]) -> None:
        """Take clients that a method chose.

        Raises:
            InterludeError: if one cannot be dispatched now.
        """
        idle = self.fleet.idle
        for client in roles:
            if client not in range(self.population.num_clients) or client not in idle:
                raise InterludeError(f"the method selects client {client}, which is not idle and on now")
            idle.take(client)

    def _start(self, roles: Mapping[int, Role]) -> None:
        """Dispatch clients that were taken into a local round."""
        fleet, now_s = self.fleet, self._clock.now
        if self._method.assigns and roles:
            assigned = self.executor.decide(lambda: self._method.assign(self._memory, roles))
            if assigned.keys() != roles.keys():
                raise InterludeError("the method assigns roles to other clients than those that are dispatched")
            roles = assigned
        self._world.read_ahead(roles)
        for client, role in roles.items():
            received = start = self.model
            values = self._broadcast
            if not self._method.sends_alike:
                received = self._method.model_for(self.model, self._memory, client)
                start = self._method.start_for(received, self._memory, client)
                values = self._values_for(client)
            window, mean_round_s = fleet.take_window(client), fleet.mean_round_s(client)
            fleet.send(
                Dispatch(client, window, self.version, role, now_s, received, start, values, mean_round_s=mean_round_s)
            )

    def _sound(self, updates: Sequence[PendingUpdate]) -> Sequence[PendingUpdate]:
        """Return the updates without NaN and infinity, where the scenario rejects those that have some."""
        if not self._rejects or not updates:
            return updates

        def unsound() -> list[int]:
            results = self.executor.results([update.trained for update in updates])
            return [i for i, is_so in enumerate(are_finite(results or ())) if not is_so]

        rejected = self.executor.decide(unsound)
        self.num_rejected += len(rejected)
        return [update for i, update in enumerate(updates) if i not in rejected]

    def _advanced(self, updates: Sequence[PendingUpdate], results: Iterator[Trained]) -> tuple[Parameters, Any]:
        """Return the next model and memory; the results are read one after the other where the method permits it."""
        folded = self._method.fold(self.model, updates, (trained.parameters for trained in results))
        if folded is not None:
            return folded, self._memory
        return self._method.advance(self.model, self._memory, self._arrived(updates, [*results]))

    def _arrived(self, updates: Sequence[PendingUpdate], results: Sequence[Trained]) -> list[ClientUpdate]:
        return [
            ClientUpdate(
                client=update.client,
                groups=update.groups,
                num_samples=update.num_samples,
                staleness=self.version - update.version,
                parameters=trained.parameters,
                start=trained.received,
                report=trained.report,
                holders=self._setting.holders,
                message=update.message,
            )
            for update, trained in zip(updates, results, strict=True)
        ]
