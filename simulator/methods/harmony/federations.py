"""When Harmony's rounds begin and end: a federation of each modality, then one of the fusion."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from interlude.models.groups import HEAD, part_of
from interlude.simulator.counts import ceil_product
from interlude.simulator.federation.dispatch import PendingUpdate
from interlude.simulator.federation.rules import Barrier, gather
from interlude.simulator.federation.views import Process, ServerView
from interlude.simulator.randomness import Stream


@dataclass(frozen=True)
class Fusing:
    """The role of a client in a round of the fusion federation; in a modality's federation it is the modality."""

    download: tuple[str, ...]
    """The groups that it is sent: its cluster's head, the first time the federated encoders, too."""


def heads_of(groups: Sequence[str]) -> tuple[str, ...]:
    """Return those of some groups that are the head's."""
    return tuple(group for group in groups if part_of(group) == HEAD)


@dataclass
class _Federation:
    """The federation of one modality, as the server keeps it."""

    modality: str
    num_rounds: int = 0
    to_send: set[int] = field(default_factory=set)
    away: set[int] = field(default_factory=set)
    updates: list[PendingUpdate] = field(default_factory=list)


class Draws:
    """Draws the clients of a round.

    Args:
        server: the run's server.
        rule: how many there are.
    """

    def __init__(self, server: ServerView, rule: Barrier) -> None:
        self._seed = server.seed
        self._rule = rule
        self._num = 0

    def __call__(self, clients: Sequence[int]) -> list[int]:
        """Return as many of the clients as a round dispatches, uniformly drawn, or all."""
        if self._rule.clients_per_round is None:
            return list(clients)
        size = min(len(clients), ceil_product(self._rule.clients_per_round, self._rule.over_selection))
        drawn: list[int] = Stream(self._seed, "harmony").generator(self._num).choice(clients, size, False).tolist()
        self._num += 1
        return drawn


def modality_federations(server: ServerView, draw: Draws, num_rounds: int) -> Process[None]:
    """Run the federations of all modalities side by side, each at its own pace, until each has had its rounds.

    A client takes part in one round at a time, in the federation that is furthest behind. A round from which no update
    comes back is repeated; a federation whose clients have all left ends.
    """
    fleet, held = server.fleet, server.population.modalities
    underway = [_Federation(modality) for modality in server.network.modalities]
    while underway:
        for federation in list(underway):
            if federation.away or not all(map(fleet.has_left, federation.to_send)):
                continue
            if federation.updates and server.merge(federation.updates):
                federation.num_rounds += 1
            if server.is_stopped:
                return
            members = [c for c, of in enumerate(held) if federation.modality in of and not fleet.has_left(c)]
            federation.to_send, federation.updates = set(draw(members)) if members else set(), []
            if not members or federation.num_rounds == num_rounds:
                underway.remove(federation)
        for federation in sorted(underway, key=lambda federation: federation.num_rounds):
            ready = sorted(client for client in federation.to_send if client in fleet.idle)
            server.dispatch(dict.fromkeys(ready, federation.modality))
            federation.to_send.difference_update(ready)
            federation.away.update(ready)
        if underway:
            returned = yield from server.receive(fleet.next_online_event())
            for federation in underway:
                if returned is not None and returned.client in federation.away:
                    federation.away.remove(returned.client)
                    federation.updates += [] if returned.update is None else [returned.update]


def fusion_federation(server: ServerView, draw: Draws, rule: Barrier) -> Process[None]:
    """Run rounds of the clients with several modalities for ever; of all where there are none."""
    fleet, held = server.fleet, server.population.modalities
    members = [client for client, of in enumerate(held) if len(of) > 1] or list(range(len(held)))
    have_encoders: set[int] = set()
    while True:
        ready = [client for client in members if client in fleet.idle]
        if not ready:  # all are late from earlier rounds, off, or have left
            yield from server.receive(fleet.next_online_event())
            continue
        clients = draw(ready)
        have_encoders -= fleet.missed_download
        fleet.missed_download.clear()
        roles = {}
        for client in clients:
            groups = server.network.groups_of(held[client])
            roles[client] = Fusing(heads_of(groups) if client in have_encoders else groups)
        have_encoders.update(clients)
        server.dispatch(roles)
        updates = yield from gather(server, clients, rule.clients_per_round, rule.deadline_s)
        if updates:
            server.merge(updates)
