"""MBA: the gap before the last modality arrives is used to train the early ones alone (Ma et al., poster)."""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from interlude.models.groups import modality_of
from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.rules import OnArrival, ServerRule
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.methods.mba.imbalance import Imbalance
from interlude.simulator.methods.mba.objective import DISTANCE, IMBALANCE, Anchored, AnchorKind, DistanceName
from interlude.simulator.methods.waiting import Ready, WaitingName
from interlude.simulator.training.merge import ClientUpdate, Weight
from interlude.simulator.training.objective import CrossEntropy, Objective
from interlude.simulator.training.values import FUSED, Named, Values, by_modality, named


class MBAOptions(MethodOptions):
    """Options of MBA; `waiting`, `anchor`, `beta`, `gamma` and `decoupled` are its ablation switches."""

    name: str = "mba"
    waiting: WaitingName = Field("opportunistic", description="opportunistic: train in the gaps; all: wait idly")
    server: ServerRule = OnArrival()
    beta: NonNegativeFloat = Field(1.0, description="weight of the anchor term in joint training")
    gamma: NonNegativeFloat = Field(1.0, description="strength of the imbalance correction at the server")
    smoothing: float = Field(0.2, gt=0, le=1, description="mu, weight of a new distance in the smoothed one")
    alpha_max: float = Field(0.9, gt=0, le=1, description="largest mixing weight of a modality")
    anchor: AnchorKind = Field("sample", description="features cached per sample, per class, or not at all")
    distance: DistanceName = Field("cosine", description="delta: 1 - cosine, or squared distance per dimension")
    lazy_when: Literal["far", "near"] = Field(
        "far", description="whether a suppressed modality is drawn far from its anchor or hardly moves"
    )
    decoupled: bool = Field(True, description="one mixing weight per modality; false: one for all")
    anchor_weights: Literal["uniform", "imbalance"] = Field(
        "uniform", description="r_m in the client's anchor term: 1, or the server's imbalance"
    )


class MBA(Method):
    """MBA: harnessing asynchrony to balance modalities.

    The poster fixes the structure: opportunistic uni-modal training in arrival gaps, its features cached as an anchor,
    the distance of the joint features from the anchor uploaded, a modality-decoupled merge. It states no formula.

    Paper:
        Ma, Liu, Zhou, Wang, Tong, Harnessing Asynchrony to Balance Modalities in Multi-Modal Federated Learning
        (poster; no paper, preprint or code found)
    Client:
        delta(u, v) = 1 - cos(u, v); E, the early modalities (trained alone in a gap):
            gap     min(E_u epochs, what fits) steps of L_m = CE(h(0 .. phi_m(x_m) .. 0), y) per early m, in turns
            anchor  A_m(i) = phi_m(x_i,m) after the gap, cached
            joint   L = CE(h(phi_1 .. phi_M), y) + beta / |E| sum_{m in E} r_m mean_i delta(phi_m(x_i,m), A_m(i))
            report  d_m = mean_i delta(phi_m(x_i,m) after joint training, A_m(i))
    Server:
        each modality apart:
            imbalance  D_m <- (1 - mu) D_m + mu d_m
                       r_m = D_m / mean_j D_j, 1 until two modalities have a report
            merge      theta_m <- (1 - alpha_m) theta_m + alpha_m theta_k,m, and its head slice
                       alpha_m = clip(alpha s(tau) r_m^gamma, 0, alpha_max); of the shared bias alpha s(tau)
        buffered or at a barrier:
            merge      theta_m += eta sum_k w_km (theta_k,m - theta_m^(v_k))
                       w_km ~ n_k s(tau_k) exp(-gamma d_km), normalised per modality
    Payload:
        down: all groups of the modalities held, M floats if anchor_weights is imbalance; up: the groups trained, a
        float d_m per early modality, n_k; anchors never leave the client
    Waits:
        joint training for the last modality; uni-modal steps fill the gaps and are cut at mini-batch boundaries;
        anchors and distances cost their forward passes
    Staleness:
        tau = versions merged since the client's start version; s as in FedAsync
    Limits:
        * gamma = 0, beta = 0, waiting: all, with equal proximal terms and mixing <= alpha_max: FedAsync waiting for
          all, number for number
        * no arrival gap: no early modality, so plain joint training
        * gamma = 0 alone: FedAsync per modality
    Reconstructed:
        * every formula: losses, delta, D_m, r_m, the mixing weights, and that a far modality is the lazy one
        * the roles of beta (client anchor weight) and gamma (server correction), which the poster only names
        * all defaults; a modality without a report in a buffer takes the buffer's mean distance, else D_m
    """

    Options = MBAOptions
    options: MBAOptions

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return the anchored objective, or plain cross-entropy where there is no anchor."""
        del client
        options = self.options
        if not ready.early or options.anchor == "none":
            return CrossEntropy(ready.modalities)
        weighted = options.anchor_weights == "imbalance"
        return Anchored(ready.modalities, ready.early, options.beta, options.anchor, options.distance, weighted)

    def initial_memory(self, network: Network, num_clients: int) -> Imbalance:
        """Return a view without any report."""
        del num_clients
        return Imbalance(network.modalities)

    def broadcast(self, memory: Imbalance) -> Values:
        """Return the imbalance, if clients weight their anchors by it."""
        if self.options.anchor_weights == "imbalance":
            return named(IMBALANCE, memory.ratios(self.options.lazy_when))
        return {}

    def observe(self, memory: Imbalance) -> Values:
        """Return r_m and D_m."""
        ratios = memory.ratios(self.options.lazy_when)
        return {**named(IMBALANCE, ratios), **named("anchor_distance", memory.distance)}

    def advance(
        self, model: Parameters, memory: Imbalance, updates: Sequence[ClientUpdate]
    ) -> tuple[Parameters, Imbalance]:
        """Return the next model, merged by the imbalance that these updates report too, and that imbalance."""
        memory = self.remember(memory, updates)
        return self.merge(model, memory, updates), memory

    def remember(self, memory: Imbalance, updates: Sequence[ClientUpdate]) -> Imbalance:
        """Return the imbalance after updates."""
        for update in updates:
            memory = memory.updated(by_modality(update.report, DISTANCE), self.options.smoothing)
        return memory

    def merge(self, model: Parameters, memory: Imbalance, updates: Sequence[ClientUpdate]) -> Parameters:
        """Return the next model, each modality merged by its own weight."""
        ratios = memory.ratios(self.options.lazy_when)
        shares_of = cache(partial(self._shares, updates, memory))
        return self.options.server.merge(
            model,
            updates,
            mixing=lambda group, alpha: self._mixing(alpha, ratios, modality_of(group)),
            shares=lambda position, group: shares_of(group)[position],
        )

    def _mixing(self, base: float, ratios: Mapping[str, Tensor], modality: str | None) -> Weight:
        """Return alpha_m = clip(alpha s(tau) r_m^gamma, 0, alpha_max); the shared bias has no modality."""
        if modality is None or not self.options.decoupled:
            return base
        return (base * ratios[modality] ** self.options.gamma).clamp(0.0, self.options.alpha_max)

    def _shares(self, updates: Sequence[ClientUpdate], memory: Imbalance, group: str) -> dict[int, Weight]:
        """Return w_km ~ n_k s(tau_k) exp(-gamma d_km) by position of the updates that hold the group, summing to 1."""
        holders = {position: update for position, update in enumerate(updates) if group in update.groups}
        key = Named(DISTANCE, modality_of(group) or FUSED)  # the shared bias has no distance
        reported = [update.report[key] for update in holders.values() if key in update.report]
        unknown = torch.stack(reported).mean() if reported else memory.distance.get(key.modality, torch.zeros(()))
        raw: dict[int, Tensor] = {}
        for position, update in holders.items():
            weight = torch.tensor(update.num_samples * self.options.server.freshness(update))
            if self.options.decoupled and key.modality in memory.modalities:
                weight = weight * torch.exp(-self.options.gamma * update.report.get(key, unknown))
            raw[position] = weight
        total = torch.stack(list(raw.values())).sum()
        return {position: weight / total for position, weight in raw.items()}
