"""Server rules: when the server merges, and whom it sends out.

* ``barrier``: rounds. Dispatch some clients, wait for them, merge, start again.
* ``on_arrival``: merge every update as it arrives, dispatch somebody else at once.
* ``buffered``: the same, but merge once `size` updates are there.
"""

import math
from collections.abc import Generator, Iterable, Sequence
from operator import attrgetter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from simpy import Event

from interlude.simulator.federation.client_day import Update
from interlude.simulator.federation.server import Returned, Server
from interlude.simulator.federation.staleness import PolynomialStaleness, StalenessSpec

Serving = Generator[Event, Any, None]


class Barrier(BaseModel):
    """Synchronous rounds.

    With `over_selection` above 1 more clients are dispatched than are needed, and the first to come back close the
    round. With `deadline_s` the round closes then with whoever is back, but never with nobody. Who comes back after
    the round closed has worked for nothing and can be dispatched again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rule: Literal["barrier"] = "barrier"
    clients_per_round: PositiveInt | None = Field(None, description="updates a round waits for; unset: all clients")
    over_selection: float = Field(1.0, ge=1, description="clients dispatched per update needed")
    deadline_s: PositiveFloat | None = Field(None, description="a round closes so long after its start")

    def serve(self, server: Server) -> Serving:
        """Run rounds for ever."""
        needed = min(self.clients_per_round or server.num_clients, server.num_clients)
        while True:
            while not server.idle:
                yield from server.receive(server.next_online_event())  # everybody is late from earlier rounds, or off
            roles = yield from server.choose(math.ceil(needed * self.over_selection))
            server.dispatch(roles)
            updates = yield from gather(server, roles, needed, self.deadline_s)
            if updates:
                server.merge(updates)


def gather(
    server: Server, clients: Iterable[int], needed: int | None = None, deadline_s: float | None = None
) -> Generator[Event, Any, list[Update]]:
    """Wait for clients to come back, and return their updates in the order of arrival.

    Args:
        server: whose clients they are.
        clients: those waited for; whoever else comes back meanwhile is late from an earlier round and ignored.
        needed: updates that are enough; None waits for everybody.
        deadline_s: simulated seconds after which whoever is back is enough, but nobody is not; None for no deadline.
    """
    waited_for = set(clients)
    updates: list[Update] = []
    deadline = None if deadline_s is None else server.clock.timeout(deadline_s)
    while waited_for and (needed is None or len(updates) < needed):
        returned = yield from server.receive(deadline if updates else None)
        if returned is None:
            break
        if returned.client in waited_for:
            waited_for.remove(returned.client)
            if returned.update is not None:
                updates.append(returned.update)
    return updates


class _StalenessBound(BaseModel):
    """How old an update may be."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    max_staleness: NonNegativeInt | None = Field(None, description="most versions an update may be behind; unset: any")
    when_stale: Literal["drop", "wait"] = Field(
        "drop", description="drop an update that is older, or let the others wait so that none gets older"
    )

    @model_validator(mode="after")
    def _waiting_needs_a_bound(self) -> "_StalenessBound":
        if self.when_stale == "wait" and not self.max_staleness:
            raise ValueError("when_stale 'wait' needs max_staleness of at least 1")
        return self

    def drops(self, server: Server, update: Update) -> bool:
        """Return whether an update is too old to be merged now."""
        return (
            self.max_staleness is not None
            and self.when_stale == "drop"
            and server.version - update.version > self.max_staleness
        )


class OnArrival(_StalenessBound):
    """Asynchronous: every update is merged when it arrives (Xie et al., FedAsync, 2019).

    With ``when_stale: wait`` an update is held where merging it now would leave another one too old, in flight or held,
    and its client waits with it. At most `max_staleness` + 1 clients work at a time: as many can always be merged in
    time, oldest first.
    """

    rule: Literal["on_arrival"] = "on_arrival"
    concurrency: PositiveInt | None = Field(None, description="clients in flight; unset: all")
    mixing: float = Field(0.6, gt=0, le=1, description="alpha, the weight of a fresh update")
    staleness: StalenessSpec = PolynomialStaleness(function="polynomial")

    @model_validator(mode="after")
    def _few_enough_to_wait_for(self) -> "OnArrival":
        if self.when_stale == "wait" and self.max_staleness and (self.concurrency or 0) > self.max_staleness + 1:
            raise ValueError(
                f"when_stale 'wait' with max_staleness {self.max_staleness} keeps at most {self.max_staleness + 1} "
                f"clients in flight; concurrency says {self.concurrency}"
            )
        return self

    def serve(self, server: Server) -> Serving:
        """Merge for ever."""
        waits = self.when_stale == "wait" and self.max_staleness is not None
        limit = min(self.concurrency or server.num_clients, server.num_clients)
        if waits and self.max_staleness is not None:
            limit = min(limit, self.max_staleness + 1)
        held: list[Update] = []
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
            while held and not server.clock.is_stopped and not (waits and self._must_wait(server, held)):
                server.merge([held.pop(0)])

    def _must_wait(self, server: Server, held: Sequence[Update]) -> bool:
        """Return whether merging the oldest held update now would leave too little time to merge the others."""
        assert self.max_staleness is not None
        others = sorted([*server.versions_in_flight(), *(update.version for update in held[1:])])
        following = server.version + 1
        return any(following + turn - version > self.max_staleness for turn, version in enumerate(others))


class Buffered(_StalenessBound):
    """Semi-asynchronous: updates are merged when `size` of them are there (Nguyen et al., FedBuff, 2022).

    With `timeout_s` those that are there are merged so long after the first of them came. With ``when_stale: wait`` a
    full buffer fills on while a client is at work whose update the merge would make too old.
    """

    rule: Literal["buffered"] = "buffered"
    concurrency: PositiveInt | None = Field(None, description="clients in flight; unset: all")
    size: PositiveInt = Field(10, description="updates in a full buffer")
    timeout_s: PositiveFloat | None = Field(
        None, description="a buffer is merged so long after its first update came; unset: only when full"
    )
    learning_rate: PositiveFloat = Field(1.0, description="eta_g, the server's step size")
    staleness: StalenessSpec = PolynomialStaleness(function="polynomial")

    def serve(self, server: Server) -> Serving:
        """Merge for ever."""
        limit = min(self.concurrency or server.num_clients, server.num_clients)
        buffer: list[Update] = []
        timeout: Event | None = None
        while True:
            pending = None if timeout is None or timeout.processed else timeout
            returned = yield from _send_and_receive(server, limit, pending)
            if returned is None or returned.update is None:
                pass
            elif self.drops(server, returned.update):
                server.drop_stale(returned.update)
            else:
                buffer.append(returned.update)
                if len(buffer) == 1 and self.timeout_s is not None:
                    timeout = server.clock.timeout(self.timeout_s)
            is_due = len(buffer) >= self.size or (timeout is not None and timeout.processed)
            if buffer and is_due and not self._must_wait(server):
                server.merge(buffer)
                buffer, timeout = [], None

    def _must_wait(self, server: Server) -> bool:
        """Return whether a merge now would make an update in flight too old."""
        if self.when_stale != "wait" or self.max_staleness is None:
            return False
        return server.version + 1 - server.oldest_in_flight() > self.max_staleness


def _send_and_receive(
    server: Server, limit: int, timeout: Event | None = None
) -> Generator[Event, Any, Returned | None]:
    """Keep `limit` clients in flight until one comes back; None if a timeout is over first, or others could be sent."""
    wanted = limit - server.num_in_flight
    roles = yield from server.choose(wanted)
    server.dispatch(roles)
    next_online_event = server.next_online_event() if len(roles) < wanted else None
    first = (
        timeout | next_online_event
        if timeout is not None and next_online_event is not None
        else timeout or next_online_event
    )
    return (yield from server.receive(first))


ServerRule = Annotated[Barrier | OnArrival | Buffered, Field(discriminator="rule")]
