"""MBA: the gap before the last modality arrives is used to train the early ones alone (Ma et al., poster)."""

from collections.abc import Mapping, Sequence
from functools import cache, partial

import torch
from torch import Tensor

from interlude.models.groups import modality_of
from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.mba.imbalance import Imbalance
from interlude.simulator.methods.mba.objective import DISTANCE, IMBALANCE, AnchorName, DistanceName, Joint
from interlude.simulator.methods.mba.options import MBAOptions
from interlude.simulator.methods.waiting import Ready
from interlude.simulator.training.merge import ClientUpdate, Weight
from interlude.simulator.training.objective import Objective, cross_entropy
from interlude.simulator.training.values import FUSED, Named, Values, by_modality, named


class MBA(Method):
    """MBA: harnessing asynchrony to balance modalities.

    The poster fixes the structure: opportunistic uni-modal training in arrival gaps, its features cached as an anchor
    for joint training, a distance between the two uploaded, a modality-decoupled merge. It states no formula, and its
    sentences can be read in several ways; every way is a switch, and none is the authors' own.

    Paper:
        Ma, Liu, Zhou, Wang, Tong, Harnessing Asynchrony to Balance Modalities in Multi-Modal Federated Learning
        (poster; no paper, preprint or code found)
    Client:
        phi_m the encoders, h the head, theta^v the received model; CE_m = CE(h(0 .. phi_m(x_m) .. 0), y); delta(u, v) =
        1 - cos(u, v), or ||u - v||^2 / D; E, the early modalities, those trained alone in a gap:
            gap     min(E_u epochs, what fits) steps on CE_m per early m, in turns
            anchor  A_m(i) = phi_m(x_i,m) after the gap, cached for every early m
            joint   L = CE(h(z_1 .. z_M), y) + beta (T + S)
                z_m = phi_m(x_m), but A_m for early m, whose encoders stand still, where anchor: input
                T = 1 / |E| sum_{m in E} w_m mean_i delta(z_i,m, A_m(i)) where anchor: target, else 0
                S = sum_{m not in E} w_m CE_m where late_term: true and M > 1, else 0
                w_m = r_m^gamma where imbalance_acts: client or both, else 1
            report  d_m, where imbalance_acts is not none
                drift         mean_i delta(phi_m(x_i,m) after joint training, A_m(i)), m in E
                displacement  mean_i ||A_m(i) - v_i|| / mean_i ||v_i||, v_i = phi_m(x_i,m) by theta^v, m in E
                prediction    mean CE_m by theta^v, for all M modalities
        M counts the modalities of the round. beta weighs T and S alike; for one alone, switch the other off.
    Server:
        each modality apart:
            imbalance  D_m <- (1 - mu) D_m + mu d_m
                       r_m = D_m / mean_j D_j, of 1 / D where lazy_when: near; 1 until two modalities have a report
            merge      theta_m <- (1 - alpha_m) theta_m + alpha_m theta_k,m, and its head slice
                       alpha_m = clip(alpha s(tau) r_m^gamma, 0, alpha_max); of the shared bias alpha s(tau)
        buffered or at a barrier:
            merge      theta_m += eta sum_k w_km (theta_k,m - theta_m^(v_k))
                       w_km ~ n_k s(tau_k) exp(-gamma d_km), normalised per modality
        imbalance_acts: client, none: alpha_m = alpha s(tau), w_km ~ n_k s(tau_k)
    Payload:
        down: all groups of the modalities held, M floats r_m if they act on terms that the client has; up: the groups
        trained, a float d_m per modality that has one, n_k; anchors never leave the client
    Waits:
        joint training for the last modality; uni-modal steps fill the gaps and are cut at mini-batch boundaries; every
        forward pass is paid for: of anchors, of distances (drift's after training, the others' by theta^v), of the late
        modalities' own head pass; anchor: input saves the early encoders' passes
    Staleness:
        tau = versions merged since the client's start version; s as in FedAsync
    Limits:
        * no arrival gap, late_term: false, distance: drift or displacement, with equal proximal terms and mixing <=
          alpha_max: FedAsync waiting for all, number for number; so is waiting: all
        * anchor: none, imbalance_acts: none, late_term: false: gap training and FedAsync's merge, nothing else
        * gamma = 0: r_m acts nowhere, though it is measured; beta = 0: T and S are gone, too
        * imbalance_acts: none: nothing is measured, sent or paid for
        * anchor: input, distance: drift: an encoder that stands still drifts by 0, so r_m stays 1 without a report
        * buffered or at a barrier the server weighs by d_km itself: r_m, so lazy_when and alpha_max, act nowhere there
        * a client with one modality: plain cross-entropy, and its d_m if the distance is a prediction
    Reconstructed:
        * every formula: losses, delta, d_m, D_m, r_m, the mixing weights, and that a far modality is the lazy one
        * the switches distance, anchor, anchor_form, delta, late_term, imbalance_acts and lazy_when: the poster says
          anchor, distance and decoupled, not which
        * the roles of beta (the client's extra terms) and gamma (exponent of r_m), which the poster only names
        * displacement is not divided by steps or learning rates: gaps train at the scenario's
        * all defaults; a modality without a report in a buffer takes the buffer's mean distance, else D_m
    """

    Options = MBAOptions
    options: MBAOptions

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return joint training by the switches, or plain cross-entropy where none of them adds anything."""
        del client
        options, early = self.options, ready.early
        anchor: AnchorName = options.anchor if early else "none"
        late: tuple[str, ...] = ()
        if options.beta == 0.0:
            anchor = "input" if anchor == "input" else "none"
        elif options.late_term and len(ready.modalities) > 1:
            late = tuple(m for m in ready.modalities if m not in early)
        distance = self._distance(early, anchor)
        if anchor == "none" and not late and distance is None:
            return cross_entropy(ready.modalities)
        return Joint(
            ready.modalities,
            early,
            late,
            anchor,
            options.anchor_form,
            options.delta,
            distance,
            options.beta,
            options.client_exponent,
        )

    def initial_memory(self, network: Network, num_clients: int) -> Imbalance:
        """Return a view without any report."""
        del num_clients
        return Imbalance(network.modalities)

    def broadcast(self, memory: Imbalance) -> Values:
        """Return the imbalance, if it acts on terms of the clients'."""
        if self.options.client_exponent > 0.0:
            return named(IMBALANCE, memory.ratios(self.options.lazy_when))
        return {}

    def observe(self, memory: Imbalance) -> Values:
        """Return r_m and D_m, if anything is measured."""
        if self.options.imbalance_acts == "none":
            return {}
        ratios = memory.ratios(self.options.lazy_when)
        return {**named(IMBALANCE, ratios), **named(DISTANCE, memory.distance)}

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

    def _distance(self, early: tuple[str, ...], anchor: AnchorName) -> DistanceName | None:
        """Return what a client reports; None: nothing."""
        distance = self.options.distance
        if self.options.imbalance_acts == "none" or (distance != "prediction" and not early):
            return None
        return None if distance == "drift" and anchor == "input" else distance

    def _mixing(self, base: float, ratios: Mapping[str, Tensor], modality: str | None) -> Weight:
        """Return alpha_m = clip(alpha s(tau) r_m^gamma, 0, alpha_max); the shared bias has no modality."""
        if modality is None or not self.options.acts_at_server:
            return base
        return (base * ratios[modality] ** self.options.gamma).clamp(0.0, self.options.alpha_max)

    def _shares(self, updates: Sequence[ClientUpdate], memory: Imbalance, group: str) -> dict[int, Weight]:
        """Return w_km ~ n_k s(tau_k) exp(-gamma d_km) by position of the updates that hold the group, summing to 1."""
        holders = {position: update for position, update in enumerate(updates) if group in update.groups}
        key = Named(DISTANCE, modality_of(group) or FUSED)  # the shared bias has no distance
        reported = [update.report[key] for update in holders.values() if key in update.report]
        unknown = torch.stack(reported).mean() if reported else memory.distance.get(key.modality, torch.zeros(()))
        distances = {position: update.report.get(key, unknown) for position, update in holders.items()}
        nearest = torch.stack(list(distances.values())).min()  # cancels out, but keeps the sum of weights above zero
        raw: dict[int, Tensor] = {}
        for position, update in holders.items():
            weight = torch.tensor(update.num_samples * self.options.server.freshness(update))
            if self.options.acts_at_server and key.modality in memory.modalities:
                weight = weight * torch.exp(-self.options.gamma * (distances[position] - nearest))
            raw[position] = weight
        total = torch.stack(list(raw.values())).sum()
        return {position: weight / total for position, weight in raw.items()}
