"""FedAT: tiers of clients of one speed, each with rounds of its own, share one server (Chai et al., SC 2021)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt

from interlude.models.groups import group_of, modality_of
from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import Payload
from interlude.simulator.federation.rules import InFlight, SizedBarrier, gather
from interlude.simulator.federation.views import Process, ServerView
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.training.merge import ClientUpdate, weighted_mean


class TieredBarrier(SizedBarrier):
    """A barrier in each tier."""

    clients_per_round: PositiveInt = Field(10, description="updates that a round of one tier waits for")
    tiers: PositiveInt = Field(5, description="M, tiers of as many clients each, by their response time")

    def in_flight(self, num_clients: int) -> InFlight:
        """Return the clients of a round of every tier, each of which starts from a version of its own."""
        num_tiers = min(self.tiers, num_clients)
        in_tier = super().in_flight(-(-num_clients // num_tiers)).num_clients
        return InFlight(min(num_tiers * in_tier, num_clients), num_tiers)


class FedATOptions(MethodOptions):
    """Options of FedAT."""

    name: str = "fedat"
    server: TieredBarrier = TieredBarrier()
    proximal: NonNegativeFloat = Field(0.4, description="lambda of (lambda/2) ||w - w_received||^2")


class Tier(NamedTuple):
    """A client's role: its tier."""

    position: int
    """0 for the fastest tier."""
    held: tuple[tuple[str, ...], ...]
    """The modalities that the clients of each tier hold, of the fastest first."""


@dataclass(frozen=True)
class TierModels:
    """The server's models of tiers that have reported, by the tier's position."""

    initial: Parameters | None = None
    """Version 0, which stands for a tier that has not reported; None until the first report."""
    models: Mapping[int, Parameters] = field(default_factory=dict)
    """x_m."""
    num_rounds: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    """T_m, of each group that was trained."""


class FedAT(Method):
    """FedAT: asynchronous tiers.

    Paper:
        Chai, Chen, Anwar, Zhao, Cheng, Rangwala, FedAT: A High-Performance and Communication-Efficient Federated
        Learning System with Asynchronous Tiers, SC 2021
    Client:
        E epochs of SGD on CE(fused logits) + (lambda/2) ||w - theta^v||^2, from the global model as it is when a round
        of its tier starts
    Server:
        M tiers of as many clients each by their response time, tier 1 the fastest; each goes through rounds of its own:
            x_m,g   <- sum_k n_k theta_k,g / sum_k n_k over its round's clients that trained group g
            T_m     <- T_m + 1
            theta_g <- sum_m (T_(M+1-m) / sum_j T_j) x_m,g
        x_m is version 0 until tier m has reported. The weights are mirrored: the fastest tier has the slowest one's.
    Payload:
        as FedAvg: down all groups of the modalities held; up the groups trained, and n_k; without the paper's
        compression
    Waits:
        clients for all their modalities; a tier for the clients of its round, and for no other tier; all tiers at first
        for one local round of every client, which measures its response time and is not merged
    Staleness:
        versions that other tiers made during a round: counted, and weighted nowhere
    Limits:
        * M = 1 (server: {tiers: 1}): FedProx with lambda, no client is measured; lambda = 0: FedAvg
        * until the slowest tier has reported, the others' models weigh nothing in place of its version 0: with M = 2
          the model stays version 0 all that while
        * fewer clients than M: as many tiers as clients
    Reconstructed:
        * the mirrored weights and that all M models are averaged at every report, as in a third party's code
          (NUAA-SmartSensing/FedModule); M = 5, 10 clients of a tier and lambda = 0.4 are the published values as far as
          known
        * response time: the order in which the first local rounds end; a client that is off then, or whose upload
          breaks off, belongs to the slowest tier; tiers are formed once
        * of group g M counts the tiers with a client that holds it, and T_m the rounds in which it was trained
    """

    Options = FedATOptions
    options: FedATOptions

    def payload(self, client: ClientDay) -> Payload:
        """Return what was trained, and the client's tier."""
        return Payload(message=client.role)

    def serve(self, server: ServerView) -> Process[None]:
        """Form the tiers, and run each in a process of its own."""
        by_speed = yield from self._by_speed(server)
        tiers = [part.tolist() for part in np.array_split(by_speed, min(self.options.server.tiers, len(by_speed)))]
        modalities, held = server.network.modalities, server.population.modalities
        held_in = tuple(tuple(m for m in modalities if any(m in held[k] for k in tier)) for tier in tiers)
        for position, clients in enumerate(tiers):
            server.start(self.options.server.serve(server.part(clients, Tier(position, held_in))))

    def initial_memory(self, network: Network, num_clients: int) -> TierModels:
        """Return no model of any tier."""
        del network, num_clients
        return TierModels()

    def advance(
        self, model: Parameters, memory: TierModels, updates: Sequence[ClientUpdate]
    ) -> tuple[Parameters, TierModels]:
        """Return the mean of all tiers' models after a round of one of them, and these models."""
        tier: Tier = updates[0].message
        initial = model if memory.initial is None else memory.initial
        models = {**memory.models, tier.position: weighted_mean(memory.models.get(tier.position, initial), updates)}
        before = memory.num_rounds.get(tier.position, {})
        trained = dict.fromkeys(group for update in updates for group in update.groups)
        num_rounds = {**memory.num_rounds, tier.position: {**before, **{g: before.get(g, 0) + 1 for g in trained}}}
        following = TierModels(initial, models, num_rounds)
        return averaged(model, following, tier.held, trained), following

    def _by_speed(self, server: ServerView) -> Process[list[int]]:
        """Return all clients, the fastest first: all that are on make a round, if there is more than a tier."""
        every = range(server.num_clients)
        if self.options.server.tiers == 1:
            return list(every)
        while not server.fleet.idle:
            yield from server.receive(server.fleet.next_online_event())
        measured = sorted(server.fleet.idle)
        server.dispatch(dict.fromkeys(measured))
        arrived = [update.client for update in (yield from gather(server, measured))]
        return [*arrived, *(client for client in every if client not in set(arrived))]


def averaged(
    model: Parameters, memory: TierModels, held: Sequence[tuple[str, ...]], groups: Collection[str]
) -> Parameters:
    """Return sum_m (T_(M+1-m) / sum_j T_j) x_m of each parameter, over the M tiers that hold it.

    Args:
        model: the global model.
        memory: x_m and T_m.
        held: the modalities of each tier, of the fastest first.
        groups: those whose x_m or T_m are new; every other one stays where it is, which is the mean of all tiers unless
            a server optimiser steps along it.
    """
    assert memory.initial is not None, "averaged after a report"
    mean = dict(model)
    for name in model:
        group = group_of(name)
        if group not in groups:
            continue
        modality = modality_of(group)
        tiers = [m for m, modalities in enumerate(held) if modality is None or modality in modalities]
        rounds = [memory.num_rounds.get(m, {}).get(group, 0) for m in tiers]
        if total := sum(rounds):
            values = [memory.models.get(m, memory.initial)[name] for m in tiers]
            weighted = (value * (count / total) for value, count in zip(values, reversed(rounds), strict=True))
            mean[name] = sum(weighted, start=model[name].new_zeros(()))
    return mean
