"""Server rules: when the server merges, which clients it dispatches, and how updates become the next model.

* ``barrier``: rounds. Dispatch some clients, wait for them, merge, start again.
* ``on_arrival``: merge every update as it arrives, dispatch another client at once.
* ``buffered``: the same, but merge once `size` updates have arrived.

`merge` of a rule is its paper's arithmetic; a method gives factors of its own by `mixing` or `shares`. With an
`optimizer` the server takes what a method merged as a direction, and steps along it.
"""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from simpy import Event

from interlude.models.network import Parameters
from interlude.simulator.counts import ceil_product
from interlude.simulator.errors import InterludeError
from interlude.simulator.federation.clock import delay_s
from interlude.simulator.federation.dispatch import PendingUpdate
from interlude.simulator.federation.staleness import PolynomialStaleness, StalenessSpec
from interlude.simulator.federation.views import Arrival, Process, RuleView
from interlude.simulator.training.merge import (
    ClientUpdate,
    Holding,
    Weight,
    add_deltas,
    mean_in_turn,
    mix,
    num_holders,
    weighted_mean,
)
from interlude.simulator.training.server_optimizer import ServerOptimizer

Mixing = Callable[[str, float], Weight]
"""A method's own mixing weight of an update, from a group and the rule's alpha."""

Shares = Callable[[int, str], Weight]
"""From an update's position and a group, the weight of its delta among those that are merged together."""


class InFlight(NamedTuple):
    """Most clients at work at a time, and most versions of the model that they started from."""

    num_clients: int
    num_versions: int


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    optimizer: ServerOptimizer | None = Field(
        None, description="steps along what was merged, a pseudo-gradient (FedOpt); unset: the merge is the next model"
    )

    @model_serializer(mode="wrap")
    def _without_an_unset_optimizer(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave an optimiser out that is unset: a scenario without one stays the scenario that it was."""
        fields: dict[str, Any] = handler(self)
        if self.optimizer is None:
            fields.pop("optimizer", None)
        return fields

    def fold(self, model: Parameters, updates: Sequence[Holding], results: Iterable[Parameters]) -> Parameters | None:
        """Return what `merge` would by default, of results that come one after the other; None if it needs them all."""
        del model, updates, results
        return None


class Barrier(_Rule):
    """Synchronous rounds.

    With `over_selection` above 1 more clients are dispatched than are needed, and the first to come back close the
    round. With `deadline_s` the round closes then with the clients that have returned, but never with none. The update
    of a client that returns after the round closed is discarded, and the client can be dispatched again.
    """

    rule: Literal["barrier"] = "barrier"
    clients_per_round: PositiveInt | None = Field(None, description="updates a round waits for; unset: all clients")
    over_selection: float = Field(1.0, ge=1, description="clients dispatched per update needed")
    deadline_s: PositiveFloat | None = Field(None, description="a round closes so long after its start")

    def serve(self, server: RuleView) -> Process[None]:
        """Run rounds for ever."""
        num_clients = server.num_clients
        needed = min(self.clients_per_round or num_clients, num_clients)
        while True:
            while not server.fleet.idle:  # all are late from earlier rounds, or off
                yield from server.receive(server.fleet.next_online_event())
            clients = yield from server.send(ceil_product(needed, self.over_selection))
            if not clients:
                yield from _next_change(server)
                continue
            updates = yield from gather(server, clients, needed, self.deadline_s)
            if updates:
                server.merge(updates)

    def merge(
        self,
        model: Parameters,
        updates: Sequence[ClientUpdate],
        *,
        mixing: Mixing | None = None,
        shares: Shares | None = None,
    ) -> Parameters:
        """Return FedAvg's sample-weighted mean, or theta + sum_k shares_k (theta_k - theta^(v_k)), per group."""
        del mixing
        return weighted_mean(model, updates) if shares is None else add_deltas(model, updates, shares, 1.0)

    def fold(self, model: Parameters, updates: Sequence[Holding], results: Iterable[Parameters]) -> Parameters | None:
        """Return FedAvg's sample-weighted mean of results that come one after the other."""
        return mean_in_turn(model, updates, results)

    def alpha(self, update: ClientUpdate) -> float | None:
        """Return None: updates are merged together, none is mixed in alone."""
        del update
        return None

    def freshness(self, update: ClientUpdate) -> float:
        """Return 1: no update is stale."""
        del update
        return 1.0

    @property
    def hurries(self) -> bool:
        """Return False: no client is sent an urgent notice."""
        return False

    def in_flight(self, num_clients: int) -> InFlight:
        """Return the clients of a round, which all start from one version."""
        wanted = ceil_product(self.clients_per_round or num_clients, self.over_selection)
        return InFlight(min(wanted, num_clients), 1)


class SizedBarrier(Barrier):
    """Synchronous rounds of a given number of clients."""

    clients_per_round: PositiveInt = Field(description="updates a round waits for")


def gather(
    server: RuleView, clients: Iterable[int], needed: int | None = None, deadline_s: float | None = None
) -> Process[list[PendingUpdate]]:
    """Wait for clients to return, and return their updates in the order of arrival.

    Args:
        server: the server that dispatched them.
        clients: the clients of the round; any other that returns is late from an earlier round and ignored.
        needed: number of updates that suffices; None waits for all.
        deadline_s: simulated seconds after which one update or more suffice; None for no deadline.
    """
    waited_for = set(clients)
    updates: list[PendingUpdate] = []
    deadline = None if deadline_s is None else server.timeout(deadline_s)
    while waited_for and (needed is None or len(updates) < needed):
        returned = yield from server.receive(deadline if updates else None)
        if returned is None:
            break
        if returned.client in waited_for:
            waited_for.remove(returned.client)
            if returned.update is not None:
                updates.append(returned.update)
    return updates


class _Asynchronous(_Rule):
    """Clients in flight all the time, and how old an update may be."""

    concurrency: PositiveInt | None = Field(None, description="clients in flight; unset: all")
    max_staleness: NonNegativeInt | None = Field(None, description="most versions an update may be behind; unset: any")
    when_stale: Literal["drop", "wait", "hurry"] = Field(
        "drop",
        description="drop an update that is older; make the others wait so that none gets older; or wait, and urge "
        "those that are waited for to upload after their current local epoch",
    )
    staleness: StalenessSpec = Field(
        PolynomialStaleness(function="polynomial"), description="s(tau), the weight of an update tau versions behind"
    )

    @model_validator(mode="after")
    def _waiting_needs_a_bound(self) -> "_Asynchronous":
        if self.when_stale != "drop" and not self.max_staleness:
            raise ValueError(f"when_stale '{self.when_stale}' needs max_staleness of at least 1")
        return self

    @property
    def hurries(self) -> bool:
        """Whether clients may be sent an urgent notice."""
        return self.when_stale == "hurry"

    def drops(self, server: RuleView, update: PendingUpdate) -> bool:
        """Return whether an update is too old to be merged now."""
        return (
            self.max_staleness is not None
            and self.when_stale == "drop"
            and server.version - update.version > self.max_staleness
        )

    def freshness(self, update: ClientUpdate) -> float:
        """Return s(tau), the weight of a stale update."""
        return self.staleness.weight(update.staleness)

    def most_in_flight(self, num_clients: int) -> int:
        """Return how many clients are kept at work."""
        return min(self.concurrency or num_clients, num_clients)

    def in_flight(self, num_clients: int) -> InFlight:
        """Return the clients at work, each of which may have started from a version of its own."""
        return InFlight(self.most_in_flight(num_clients), self.most_in_flight(num_clients))


class OnArrival(_Asynchronous):
    """Asynchronous: every update is merged when it arrives (Xie et al., FedAsync, 2019).

    With ``when_stale: wait`` or ``hurry`` an update is held if merging it now would make another one too old, in flight
    or held, and its client waits with it. At most `max_staleness` + 1 clients work at a time: that many can always be
    merged in time, oldest first.
    """

    rule: Literal["on_arrival"] = "on_arrival"
    mixing: float = Field(0.6, gt=0, le=1, description="alpha, the weight of a fresh update")

    @model_validator(mode="after")
    def _few_enough_to_wait_for(self) -> "OnArrival":
        if self.when_stale != "drop" and self.max_staleness and (self.concurrency or 0) > self.max_staleness + 1:
            raise ValueError(
                f"when_stale '{self.when_stale}' with max_staleness {self.max_staleness} keeps at most "
                f"{self.max_staleness + 1} clients in flight; concurrency says {self.concurrency}"
            )
        return self

    def serve(self, server: RuleView) -> Process[None]:
        """Merge for ever."""
        waits = self.when_stale != "drop" and self.max_staleness is not None
        limit = self.most_in_flight(server.num_clients)
        if waits and self.max_staleness is not None:
            limit = min(limit, self.max_staleness + 1)
        held: list[PendingUpdate] = []
        while True:
            returned = yield from _send_and_receive(server, limit - len(held))
            if returned is None or returned.update is None:
                pass
            elif self.drops(server, returned.update):
                server.drop_stale(returned.update)
            else:
                held.append(returned.update)
            if waits:
                held.sort(key=attrgetter("version"))
            while held and not server.is_stopped and not (waits and self._must_wait(server, held)):
                server.merge([held.pop(0)])

    def merge(
        self,
        model: Parameters,
        updates: Sequence[ClientUpdate],
        *,
        mixing: Mixing | None = None,
        shares: Shares | None = None,
    ) -> Parameters:
        """Return (1 - a) theta + a theta_k per group, a = alpha s(tau) or `mixing` of it (FedAsync)."""
        del shares
        (update,) = updates
        alpha = self.alpha(update)
        return mix(model, update, {group: alpha if mixing is None else mixing(group, alpha) for group in update.groups})

    def alpha(self, update: ClientUpdate) -> float:
        """Return alpha s(tau), the weight of an update that is mixed in."""
        return self.mixing * self.freshness(update)

    def _must_wait(self, server: RuleView, held: Sequence[PendingUpdate]) -> bool:
        """Return whether merging the oldest held update now would leave too little time to merge the others.

        Those at work that are the reason are urged, where the rule does that.
        """
        assert self.max_staleness is not None
        others = sorted([*server.fleet.versions_in_flight(), *(update.version for update in held[1:])])
        following = server.version + 1
        late = [version for turn, version in enumerate(others) if following + turn - version > self.max_staleness]
        if late and self.hurries:
            server.hurry(late[-1])
        return bool(late)


class UnhurriedOnArrival(OnArrival):
    """Merging on arrival for methods whose local rounds no urgent notice cuts short."""

    when_stale: Literal["drop", "wait"] = Field(
        "drop", description="drop an update that is older; or make the others wait so that none gets older"
    )


class Buffered(_Asynchronous):
    """Semi-asynchronous: updates are merged when `size` of them have arrived (Nguyen et al., FedBuff, 2022).

    With `timeout_s` an incomplete buffer is merged that long after its first update came. With ``when_stale: wait`` or
    ``hurry`` a full buffer keeps filling while a client is at work whose update the merge would make too old. With
    `pace` it keeps filling until that part of the slowest client's last local round has passed since the merge before
    (Jiang et al., Pisces, 2022).
    """

    rule: Literal["buffered"] = "buffered"
    size: PositiveInt = Field(10, description="updates in a full buffer")
    timeout_s: PositiveFloat | None = Field(
        None, description="a buffer is merged this long after its first update came; unset: only when full"
    )
    learning_rate: PositiveFloat = Field(1.0, description="eta_g, the server's step size")
    pace: PositiveFloat | None = Field(
        None, description="merges in the time of the slowest client's local round, at most; unset: no limit"
    )

    def serve(self, server: RuleView) -> Process[None]:
        """Merge for ever."""
        limit = self.most_in_flight(server.num_clients)
        buffer: list[PendingUpdate] = []
        timeout: Event | None = None
        pause: Event | None = None
        merged_s = server.now_s
        while True:
            returned = yield from _send_and_receive(server, limit, _first_of(timeout, pause))
            if returned is None or returned.update is None:
                pass
            elif self.drops(server, returned.update):
                server.drop_stale(returned.update)
            else:
                buffer.append(returned.update)
                if len(buffer) == 1 and self.timeout_s is not None:
                    timeout = server.timeout(self.timeout_s)
            is_due = len(buffer) >= self.size or (timeout is not None and timeout.processed)
            if buffer and is_due and not self._must_wait(server):
                if (may_merge_s := self._may_merge_s(server, merged_s)) > server.now_s:
                    pause = server.timeout(delay_s(server.now_s, may_merge_s))
                    continue
                server.merge(buffer)
                buffer, timeout, pause, merged_s = [], None, None, server.now_s

    def _may_merge_s(self, server: RuleView, merged_s: float) -> float:
        """Return the earliest moment of a merge after one at `merged_s`."""
        return merged_s if self.pace is None else merged_s + server.fleet.slowest_round_s() / self.pace

    def _must_wait(self, server: RuleView) -> bool:
        """Return whether a merge now would make an update in flight too old; such clients are urged in some rules."""
        if self.when_stale == "drop" or self.max_staleness is None:
            return False
        too_old = server.version - self.max_staleness
        must_wait = min(server.fleet.versions_in_flight(), default=server.version) <= too_old
        if must_wait and self.hurries:
            server.hurry(too_old)
        return must_wait

    def merge(
        self,
        model: Parameters,
        updates: Sequence[ClientUpdate],
        *,
        mixing: Mixing | None = None,
        shares: Shares | None = None,
    ) -> Parameters:
        """Return theta + eta_g sum_k w_k (theta_k - theta^(v_k)) per group (FedBuff).

        w_k = s(tau_k) / K_g, K_g the number of updates that hold the group, or given by `shares`.
        """
        del mixing

        def own(position: int, group: str) -> float:
            return self.freshness(updates[position]) / num_holders(updates, group)

        return add_deltas(model, updates, own if shares is None else shares, self.learning_rate)

    def alpha(self, update: ClientUpdate) -> float | None:
        """Return None: updates are merged together, none is mixed in alone."""
        del update
        return None


def _first_of(*events: Event | None) -> Event | None:
    """Return an event that happens when the first of some does, of those that are to come; None if there is none."""
    first: Event | None = None
    for event in events:
        if event is not None and not event.processed:
            first = event if first is None else first | event
    return first


def _next_change(server: RuleView) -> Process[None]:
    """Wait until other clients can be selected than now, when the method selected none."""
    comes_on = server.fleet.next_online_event()
    if comes_on is None and not server.fleet.num_in_flight and server.fleet.idle:
        raise InterludeError(
            "the method selects none of the idle clients, and no other will return: no round can start"
        )
    yield from server.receive(comes_on)


def _send_and_receive(server: RuleView, limit: int, timeout: Event | None = None) -> Process[Arrival | None]:
    """Keep `limit` clients in flight until one returns; None if a timeout ends first, or more can be dispatched."""
    wanted = limit - server.fleet.num_in_flight
    sent = yield from server.send(wanted)
    comes_on = server.fleet.next_online_event() if len(sent) < wanted else None
    return (yield from server.receive(_first_of(timeout, comes_on)))


ServerRule = Annotated[Barrier | OnArrival | Buffered, Field(discriminator="rule")]
