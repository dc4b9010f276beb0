"""Server rules: when the server merges, and whom it sends out.

* ``barrier``: rounds. Dispatch some clients, wait for them, merge, start again.
* ``on_arrival``: merge every update as it arrives, dispatch somebody else at once.
* ``buffered``: the same, but merge once `size` updates are there.
"""

import math
from collections.abc import Generator, Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt
from simpy import Event

from simulator.federation.local_round import Update
from simulator.federation.server import Server
from simulator.federation.staleness import PolynomialStaleness, StalenessSpec

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
            while not len(server.idle):
                yield from server.receive()  # everybody is late from earlier rounds
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


class OnArrival(BaseModel):
    """Asynchronous: every update is merged when it arrives (Xie et al., FedAsync, 2019)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rule: Literal["on_arrival"] = "on_arrival"
    concurrency: PositiveInt | None = Field(None, description="clients in flight; unset: all")
    mixing: float = Field(0.6, gt=0, le=1, description="alpha, the weight of a fresh update")
    staleness: StalenessSpec = PolynomialStaleness(function="polynomial")

    def serve(self, server: Server) -> Serving:
        """Merge for ever."""
        yield from _keep_in_flight(server, self.concurrency, merge_size=1)


class Buffered(BaseModel):
    """Semi-asynchronous: updates are merged when `size` of them are there (Nguyen et al., FedBuff, 2022)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rule: Literal["buffered"] = "buffered"
    concurrency: PositiveInt | None = Field(None, description="clients in flight; unset: all")
    size: PositiveInt = Field(10, description="updates in a full buffer")
    learning_rate: PositiveFloat = Field(1.0, description="eta_g, the server's step size")
    staleness: StalenessSpec = PolynomialStaleness(function="polynomial")

    def serve(self, server: Server) -> Serving:
        """Merge for ever."""
        yield from _keep_in_flight(server, self.concurrency, self.size)


def _keep_in_flight(server: Server, concurrency: int | None, merge_size: int) -> Serving:
    limit = min(concurrency or server.num_clients, server.num_clients)
    updates: list[Update] = []
    while True:
        roles = yield from server.choose(limit - server.num_in_flight)
        server.dispatch(roles)
        returned = yield from server.receive()
        if returned is not None and returned.update is not None:
            updates.append(returned.update)
        if len(updates) >= merge_size:
            server.merge(updates)
            updates = []


ServerRule = Annotated[Barrier | OnArrival | Buffered, Field(discriminator="rule")]
