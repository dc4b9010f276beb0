"""MBA: the gap before the last modality arrives is used to train the early ones alone.

Ma, Liu, Zhou, Wang, Tong, "Harnessing Asynchrony to Balance Modalities in Multi-Modal Federated Learning" (poster).
The poster fixes the structure: opportunistic uni-modal training in arrival gaps, its features cached as an anchor, the
distance of the joint features from the anchor uploaded, a modality-decoupled merge. It states no formula; all of these
are a RECONSTRUCTION:

    client   gap        L_m = CE(h(0 .. phi_m(x_m) .. 0), y)                  for each early modality m
             anchor     A_m(i) = phi_m(x_i,m) after the gap, cached
             joint      L = CE(h(phi_1 .. phi_M), y) + beta / |E| sum_{m in E} r_m mean_i delta(phi_m(x_i,m), A_m(i))
             report     d_m = mean_i delta(phi_m(x_i,m) after joint training, A_m(i))
    server   imbalance  D_m <- (1 - mu) D_m + mu d_m,   r_m = D_m / mean_j D_j
             merge      theta_m <- (1 - alpha_m) theta_m + alpha_m theta_k,m,
                        alpha_m = clip(alpha s(tau) r_m^gamma, 0, alpha_max)

delta(u, v) = 1 - cos(u, v). gamma = 0 is FedAsync per modality; with beta = 0, no gap training and equal
proximal terms, FedAsync whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.federation.rules import Buffered, OnArrival, ServerRule
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.methods.card import FormulaCard
from interlude.simulator.methods.waiting import Ready, WaitingName
from interlude.simulator.training.merge import ClientUpdate, Weight, add_deltas, mix
from interlude.simulator.training.objective import Batch, Context, CrossEntropy, Objective, Values, proximal
from interlude.simulator.training.prototypes import class_means

AnchorKind = Literal["none", "sample", "class_mean"]
DistanceName = Literal["cosine", "squared"]


class MBAOptions(MethodOptions):
    """Options of MBA; `waiting`, `anchor`, `beta`, `gamma` and `decoupled` are its ablation switches."""

    name: Literal["mba"] = "mba"
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


@dataclass(frozen=True)
class Anchored(Objective):
    """Cross-entropy of the fused logits plus the drift of early modalities from their anchors."""

    modalities: tuple[str, ...]
    early: tuple[str, ...]
    """E, the modalities that were trained alone in a gap."""
    beta: float
    anchor: AnchorKind
    distance: DistanceName
    weighted: bool
    """Whether the server's imbalance weights the drift."""

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return the anchors: features [W, D] of each early modality before joint training, or class means [K, D]."""
        del context
        features = network.features(parameters, window.only(self.early))
        if self.anchor == "class_mean":
            features = {
                m: class_means(z, window.labels, network.num_classes, window.mask)[0] for m, z in features.items()
            }
        return {"anchor": features}

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return CE + beta / |E| sum_m r_m mean_i delta."""
        output = network(parameters, batch.only(self.modalities))
        loss = batch.mean(functional.cross_entropy(output.logits, batch.labels, reduction="none"))
        if self.beta == 0.0:
            return loss
        drifts = self._drifts(output.features, batch, context)
        weights = context.broadcast["imbalance"] if self.weighted else dict.fromkeys(self.early, 1.0)
        return loss + self.beta * sum(weights[m] * drifts[m] for m in self.early) / len(self.early)

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return d_m, the mean drift of each early modality over the window."""
        features = network.features(parameters, window.only(self.early))
        return {"distance": self._drifts(features, window, context)}

    def _drifts(self, features: Mapping[str, Tensor], batch: Batch, context: Context) -> dict[str, Tensor]:
        rows = batch.labels if self.anchor == "class_mean" else batch.positions
        anchors = context.prepared["anchor"]
        return {m: batch.mean(delta(features[m], anchors[m][rows], self.distance)) for m in self.early}


def delta(u: Tensor, v: Tensor, kind: DistanceName) -> Tensor:
    """Return the distance of [B, D] features per sample [B]: 1 - cos(u, v) in [0, 2], or ||u - v||^2 / D."""
    if kind == "cosine":
        return 1.0 - functional.cosine_similarity(u, v, dim=1)
    return (u - v).square().mean(dim=1)


@dataclass(frozen=True)
class Imbalance:
    """The server's view of every modality."""

    modalities: tuple[str, ...]
    distance: Mapping[str, Tensor] = field(default_factory=dict)
    """D_m, smoothed, of each modality that has been reported."""

    def updated(self, reported: Mapping[str, Tensor], smoothing: float) -> "Imbalance":
        """Return the view after a report: D_m <- (1 - mu) D_m + mu d_m; a first report initialises."""
        distance = dict(self.distance)
        for modality, d in reported.items():
            old = distance.get(modality, d)
            distance[modality] = (1.0 - smoothing) * old + smoothing * d
        return Imbalance(self.modalities, distance)

    def ratios(self, lazy_when: Literal["far", "near"]) -> dict[str, Tensor]:
        """Return r_m = D_m / mean_j D_j ("far") or its inverse ("near"); 1 until two modalities have a report."""
        one = torch.ones(())
        ratios = dict.fromkeys(self.modalities, one)
        if len(self.distance) < 2:
            return ratios
        mean = torch.stack(list(self.distance.values())).mean()
        for modality, d in self.distance.items():
            ratio = d / mean if lazy_when == "far" else mean / d
            ratios[modality] = torch.where((d > 0.0) & (mean > 0.0), ratio, torch.ones_like(ratio))
        return ratios


class MBA(Method):
    """Opportunistic uni-modal training, anchored joint training, decoupled merge."""

    Options = MBAOptions
    options: MBAOptions
    card = FormulaCard(
        title="MBA: harnessing asynchrony to balance modalities",
        paper="Ma, Liu, Zhou, Wang, Tong, Harnessing Asynchrony to Balance Modalities in Multi-Modal Federated "
        "Learning (poster; no paper, preprint or code found)",
        client="gap: min(E_u epochs, what fits) steps of CE(h(0 .. phi_m .. 0), y) per early modality m, in turns; "
        "anchor A_m = phi_m(x) after the gap; "
        "joint: CE(fused) + beta/|E| sum_m r_m mean_i delta(phi_m(x_i), A_m(i)), delta = 1 - cosine; "
        "report d_m = mean_i delta after joint training",
        server="D_m <- (1 - mu) D_m + mu d_m; r_m = D_m / mean_j D_j (1 until two modalities have a report); "
        "theta_m and its head slice mixed with alpha_m = clip(alpha s(tau) r_m^gamma, 0, alpha_max), the shared bias "
        "with alpha s(tau). Buffered or barrier: theta_m += eta sum_k w_km (theta_k,m - theta_m^(v_k)), "
        "w_km ~ n_k s(tau_k) exp(-gamma d_km), normalised per modality",
        payload="down: all groups of the modalities held, M floats if anchor_weights is imbalance; up: the groups "
        "trained, a float d_m per early modality, n_k; anchors never leave the client",
        waits="joint training for the last modality; uni-modal steps fill the gaps and are cut at mini-batch "
        "boundaries; anchors and distances cost their forward passes",
        staleness="tau = versions merged since the client's start version; s as in FedAsync",
        reconstructed=(
            "every formula: losses, delta, D_m, r_m, the mixing weights, and that a far modality is the lazy one",
            "the roles of beta (client anchor weight) and gamma (server correction), which the poster only names",
            "all defaults; a modality without a report in a buffer takes the buffer's mean distance, else D_m",
        ),
        limits=(
            "gamma = 0, beta = 0, waiting: all, with equal proximal terms and mixing <= alpha_max: FedAsync waiting "
            "for all, number for number",
            "no arrival gap: no early modality, so plain joint training",
        ),
    )

    def objective(self, ready: Ready) -> Objective:
        """Return the anchored objective, or plain cross-entropy where there is no anchor."""
        options = self.options
        inner: Objective = CrossEntropy(ready.modalities)
        if ready.early and options.anchor != "none":
            weighted = options.anchor_weights == "imbalance"
            inner = Anchored(ready.modalities, ready.early, options.beta, options.anchor, options.distance, weighted)
        return proximal(inner, options.proximal)

    def initial_memory(self, network: Network, num_clients: int) -> Imbalance:
        """Return a view without any report."""
        del num_clients
        return Imbalance(network.modalities)

    def broadcast(self, memory: Imbalance) -> Values:
        """Return the imbalance, if clients weight their anchors by it."""
        if self.options.anchor_weights == "imbalance":
            return {"imbalance": memory.ratios(self.options.lazy_when)}
        return {}

    def observe(self, memory: Imbalance) -> Values:
        """Return r_m and D_m."""
        return {"imbalance": memory.ratios(self.options.lazy_when), "anchor_distance": memory.distance}

    def merge(
        self, model: Parameters, memory: Imbalance, updates: Sequence[ClientUpdate]
    ) -> tuple[Parameters, Imbalance]:
        """Return the next model, each modality merged by its own weight, and the updated imbalance."""
        options, rule = self.options, self.options.server
        for update in updates:
            memory = memory.updated(update.report.get("distance", {}), options.smoothing)
        if isinstance(rule, OnArrival):
            (update,) = updates
            base = rule.mixing * rule.staleness.weight(update.staleness)
            ratios = memory.ratios(options.lazy_when)
            alpha = {g: self._mixing(base, ratios.get(modality_of(g))) for g in update.groups}
            return mix(model, update, alpha), memory
        learning_rate = rule.learning_rate if isinstance(rule, Buffered) else 1.0
        weights = {group: self._buffer_weights(updates, group, memory) for group in _groups(updates)}
        return add_deltas(model, updates, lambda position, g: weights[g][position], learning_rate), memory

    def _mixing(self, base: float, ratio: Tensor | None) -> Weight:
        """Return alpha_m = clip(alpha s(tau) r_m^gamma, 0, alpha_max); the shared bias has no ratio."""
        if ratio is None or not self.options.decoupled:
            return base
        return (base * ratio**self.options.gamma).clamp(0.0, self.options.alpha_max)

    def _buffer_weights(self, updates: Sequence[ClientUpdate], group: str, memory: Imbalance) -> dict[int, Weight]:
        """Return w_km ~ n_k s(tau_k) exp(-gamma d_km) by position of the updates that hold the group, summing to 1."""
        holders = {position: update for position, update in enumerate(updates) if group in update.groups}
        rule, modality = self.options.server, modality_of(group)
        reported = [
            u.report["distance"][modality] for u in holders.values() if modality in u.report.get("distance", {})
        ]
        unknown = torch.stack(reported).mean() if reported else memory.distance.get(modality, torch.zeros(()))
        raw: dict[int, Tensor] = {}
        for position, update in holders.items():
            fresh = rule.staleness.weight(update.staleness) if isinstance(rule, Buffered) else 1.0
            weight = torch.tensor(update.num_samples * fresh)
            if self.options.decoupled and modality in memory.modalities:
                distance = update.report.get("distance", {}).get(modality, unknown)
                weight = weight * torch.exp(-self.options.gamma * distance)
            raw[position] = weight
        total = torch.stack(list(raw.values())).sum()
        return {position: weight / total for position, weight in raw.items()}


def modality_of(group: str) -> str:
    """Return the modality of a group, e.g. ``gray`` of ``encoder.gray``; ``bias`` of the shared bias."""
    return group.partition(".")[2]


def _groups(updates: Sequence[ClientUpdate]) -> list[str]:
    return list(dict.fromkeys(group for update in updates for group in update.groups))
