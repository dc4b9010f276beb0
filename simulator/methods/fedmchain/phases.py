"""When FedMChain's phases begin and end: a chain of modalities, one merge per phase.

Two ways to serve:

* `phases`: a phase starts once the one before it is merged.
* `pipelined_phases`: two phases are under way; a client enters the second once it is done with the first.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from interlude.simulator.counts import ceil_product
from interlude.simulator.federation.dispatch import PendingUpdate
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

    def holders(self, step: int) -> Iterator[int]:
        """Yield the clients that hold the modality of a phase and have not left for good."""
        modality, has_left = self.modality(step), self._server.fleet.has_left
        for client, held in enumerate(self._server.population.modalities):
            if modality in held and not has_left(client):
                yield client

    def next_step(self, step: int) -> int | None:
        """Return the first phase from `step` on whose modality has such holders; None if all clients have left."""
        one_cycle = range(step, step + len(self.order))
        return next((later for later in one_cycle if any(True for _ in self.holders(later))), None)

    def draw(self, holders: Sequence[int], rule: Barrier) -> list[int]:
        """Return the clients of a phase: as many as a round dispatches, uniformly drawn, or all."""
        if rule.clients_per_round is None:
            return list(holders)
        size = min(len(holders), ceil_product(rule.clients_per_round, rule.over_selection))
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
    """Run phase after phase for ever; one from which no update came back is repeated.

    A modality whose holders have all left is skipped.
    """
    step = 0
    while True:
        possible = chain.next_step(step)
        step = step if possible is None else possible
        holders = [client for client in chain.holders(step) if client in server.fleet.idle]
        if not holders:  # all are late from earlier phases, off, or have left
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

    A client enters the second once it is done with the first, or at once if it has no part in it. One that is off is
    waited for, one that has left is not; a modality whose holders have all left is skipped.
    """
    fleet, every_client = server.fleet, range(server.population.num_clients)
    underway: list[_RunningPhase] = []
    following = 0

    def started(step: int) -> _RunningPhase:
        return _RunningPhase(step, set(chain.draw(list(chain.holders(step)), rule)))

    def is_over(phase: _RunningPhase) -> bool:
        return not phase.away and all(map(fleet.has_left, phase.to_send))

    candidates: Iterable[int] = every_client
    while True:
        while underway and is_over(underway[0]):
            done, candidates = underway.pop(0), every_client
            if not chain.merge(done.step, done.updates) and chain.next_step(done.step) == done.step:
                underway.insert(0, started(done.step))
        while len(underway) < 2 and (step := chain.next_step(following)) is not None:
            underway.append(started(step))
            following = step + 1
        for phase in underway:
            ready = [client for client in candidates if client in phase.to_send and client in fleet.idle]
            chain.dispatch(phase.step, ready)
            phase.to_send.difference_update(ready)
            phase.away.update(ready)
        returned = yield from server.receive(fleet.next_online_event())
        candidates = every_client if returned is None else (returned.client,)
        for phase in underway:
            if returned is not None and returned.client in phase.away:
                phase.away.remove(returned.client)
                phase.updates += [] if returned.update is None else [returned.update]
