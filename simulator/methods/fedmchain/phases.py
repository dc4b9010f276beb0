"""When FedMChain's phases begin and end: a chain of modalities, one merge per phase.

Two ways to serve:

* `phases`: a phase starts once the one before it is merged.
* `pipelined_phases`: two phases are under way; a client enters the second once it is done with the first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil

from interlude.simulator.federation.client_day import PendingUpdate
from interlude.simulator.federation.rules import Barrier, gather
from interlude.simulator.federation.views import Process, ServerView
from interlude.simulator.randomness import Stream


@dataclass(frozen=True)
class Phase:
    """What a client is told: its role in one local round."""

    modality: str
    """The modality that is trained."""
    earlier: tuple[str, ...]
    """The client's modalities whose frozen logits are compensated for."""
    first: str
    """The first of the chain, which owns the shared bias of a concatenation head."""
    download: tuple[str, ...]
    """The modalities that were merged since this client last received them."""


class Chain:
    """The order of phases of a run, and which merge of which modality every client has.

    Args:
        server: the run's server.
        order: the modalities of the chain; None: in the data set's order. Those that no client holds are left out.
        compensates: whether a phase looks at other modalities at all.
    """

    def __init__(self, server: ServerView, order: Sequence[str] | None, compensates: bool) -> None:
        held = {modality for modalities in server.population.modalities for modality in modalities}
        self.order = tuple(modality for modality in order or server.network.modalities if modality in held)
        self._server = server
        self._compensates = compensates
        self._changed = dict.fromkeys(self.order, 0)
        self._received: dict[int, dict[str, int]] = {}
        self._num_draws = 0

    def modality(self, step: int) -> str:
        """Return the modality of the run's `step`-th phase; after the last modality the chain starts over."""
        return self.order[step % len(self.order)]

    def holders(self, step: int) -> list[int]:
        """Return the clients that hold the modality of a phase."""
        modality = self.modality(step)
        return [client for client, held in enumerate(self._server.population.modalities) if modality in held]

    def draw(self, holders: Sequence[int], rule: Barrier) -> list[int]:
        """Return the clients of a phase: as many as a round dispatches, uniformly drawn, or all."""
        if rule.clients_per_round is None:
            return list(holders)
        size = min(len(holders), ceil(rule.clients_per_round * rule.over_selection))
        generator = Stream(self._server.seed, "phase-clients").generator(self._num_draws)
        self._num_draws += 1
        drawn: list[int] = generator.choice(holders, size, replace=False).tolist()
        return drawn

    def dispatch(self, step: int, clients: Iterable[int]) -> None:
        """Send idle clients into a phase."""
        self._server.dispatch({client: self._role(step, client) for client in clients})

    def merge(self, step: int, updates: Sequence[PendingUpdate]) -> bool:
        """Merge the updates of a phase; returns whether there was anything to merge."""
        if not updates or not self._server.merge(updates):
            return False
        self._changed[self.modality(step)] = self._server.version
        return True

    def _role(self, step: int, client: int) -> Phase:
        """Return what a client is told; in the first cycle only modalities before its own are earlier ones."""
        modality, held = self.modality(step), self._server.population.modalities[client]
        known = self.order[:step] if self._compensates else ()
        earlier = tuple(m for m in known if m != modality and m in held)
        needed = {m: self._changed[m] for m in (modality, *earlier)}  # versions at which they were last merged
        if client in self._server.fleet.missed_download:
            self._server.fleet.missed_download.remove(client)
            self._received.pop(client)
        received = self._received.setdefault(client, {})
        download = tuple(m for m, version in needed.items() if received.get(m) != version)
        received.update(needed)
        return Phase(modality, earlier, self.order[0], download or (modality,))


def phases(server: ServerView, chain: Chain, rule: Barrier) -> Process[None]:
    """Run phase after phase for ever; one from which no update came back is repeated."""
    step = 0
    while True:
        holders = [client for client in chain.holders(step) if client in server.fleet.idle]
        if not holders:  # all are late from earlier phases, or off
            yield from server.receive(server.fleet.next_online_event())
            continue
        clients = chain.draw(holders, rule)
        chain.dispatch(step, clients)
        updates = yield from gather(server, clients, rule.clients_per_round, rule.deadline_s)
        if chain.merge(step, updates):
            step += 1


@dataclass
class _RunningPhase:
    """A pipelined phase."""

    step: int
    to_send: set[int]
    away: set[int] = field(default_factory=set)
    updates: list[PendingUpdate] = field(default_factory=list)


def pipelined_phases(server: ServerView, chain: Chain, rule: Barrier) -> Process[None]:
    """Keep two phases under way for ever; the first is merged when all its clients are back.

    A client enters the second once it is done with the first, or at once if it has no part in it.
    """
    free = set(range(server.population.num_clients))

    def started(step: int) -> _RunningPhase:
        holders = [client for client in chain.holders(step) if not server.fleet.has_left(client)]
        return _RunningPhase(step, set(chain.draw(holders, rule)))

    def send(candidates: Iterable[int]) -> None:
        for phase in underway:
            ready = [client for client in candidates if client in phase.to_send and client in free]
            chain.dispatch(phase.step, ready)
            phase.to_send.difference_update(ready)
            phase.away.update(ready)
            free.difference_update(ready)

    underway = [started(0), started(1)]
    send(range(server.population.num_clients))
    while True:
        returned = yield from server.receive()  # for ever where all have left
        assert returned is not None
        free.add(returned.client)
        for phase in underway:
            if returned.client in phase.away:
                phase.away.remove(returned.client)
                phase.updates += [] if returned.update is None else [returned.update]
        candidates: Iterable[int] = (returned.client,)
        while not (underway[0].to_send or underway[0].away) and not all(map(server.fleet.has_left, free)):
            done = underway.pop(0)
            if chain.merge(done.step, done.updates):
                underway.append(started(done.step + 2))
            else:
                underway.insert(0, started(done.step))
            candidates = range(server.population.num_clients)
        send(candidates)
