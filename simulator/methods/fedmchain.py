"""FedMChain: modalities are trained in turns, one phase each, and every phase ends in one sparse merge.

Z. Zhang, F. Qi, S. Li, X. Yang, C. Xu, "FedMChain: Chained Modality Optimization ..." (title abridged), arXiv
2606.01856, 2026. Established by its abstract are the structure (a chain of modality-wise phases against modality
competition, an error-compensated regulariser at the client, SSCA at the server, fewer synchronisations) and the names.
No equation was reachable; all of these are a RECONSTRUCTION:

    client   f_m = W_m z_m,  F = sum_{j in earlier} f_j, frozen;  phase m trains encoder.m and head.m on
             L = CE(f_m, y) (1 + lambda (1 - softmax(F)_y))             ec: residual
             L = CE(f_m, y) + lambda CE(F + f_m, y)                     ec: ensemble
             L = CE(f_m, y)                                             nothing earlier to compensate
    server   Delta_k = theta_k - theta^(v_k) + e_k, sparsified; what is left out is the next e_k
             theta_m <- theta_m + eta_s sum_c (N_c / N) Delta^c         see `sparse_consensus`

In the first cycle through the chain F holds the modalities before m, later all others; of these, those that the client
holds. With one modality and lambda = 0 this is federated learning of that modality with SSCA.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator, model_validator
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.models.packed import group_of
from interlude.simulator.federation.client_day import LocalRound, Steps
from interlude.simulator.federation.rules import Barrier, ServerRule, Serving
from interlude.simulator.federation.server import Server
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.methods.card import FormulaCard
from interlude.simulator.methods.phases import Chain, phases, pipelined_phases
from interlude.simulator.methods.waiting import WaitingName
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Batch, Context, Objective, Values, proximal
from interlude.simulator.training.sparse_consensus import consensus, sparse_bytes, sparsify
from interlude.simulator.training.task import LocalSteps

Compensation = Literal["residual", "ensemble"]
_BIAS = "head.bias"


class FedMChainOptions(MethodOptions):
    """Options of FedMChain."""

    name: Literal["fedmchain"] = "fedmchain"
    waiting: WaitingName = Field("all", description="a client waits for all modalities that its phase needs")
    server: ServerRule = Field(Barrier(), description="a barrier per phase")
    order: tuple[str, ...] | None = Field(None, description="modalities of the chain; unset: the data set's order")
    ec: Compensation = Field("residual", description="weight samples by earlier errors, or fit the ensemble")
    ec_weight: NonNegativeFloat = Field(1.0, description="lambda of the error-compensated regulariser")
    phase_epochs: PositiveInt = Field(5, description="passes over the window in one phase")
    rho: float = Field(0.2, gt=0, le=1, description="share of each tensor's update that is sent")
    error_feedback: bool = Field(True, description="add what was not sent to the next update")
    least_agreement: float = Field(0.55, ge=0, le=1, description="a0, mean sign agreement within a cluster")
    server_rate: PositiveFloat = Field(1.0, description="eta_s, the server's step size")
    pipelined: bool = Field(False, description="let clients enter the next phase before the merge of this one")

    @field_validator("waiting")
    @classmethod
    def _a_phase_trains_one_modality(cls, waiting: WaitingName) -> WaitingName:
        if waiting != "all":
            raise ValueError("a phase trains one modality and has no joint training to start early, so it must be all")
        return waiting

    @field_validator("server")
    @classmethod
    def _phases_end_at_a_barrier(cls, rule: ServerRule) -> ServerRule:
        if not isinstance(rule, Barrier):
            raise ValueError("a phase of FedMChain ends in one merge, so the rule must be barrier")
        return rule

    @model_validator(mode="after")
    def _a_pipeline_waits_for_everybody(self) -> "FedMChainOptions":
        rule = self.server
        if self.pipelined and isinstance(rule, Barrier) and (rule.over_selection > 1.0 or rule.deadline_s is not None):
            raise ValueError("pipelined phases wait for all their clients: no server.over_selection, no deadline_s")
        return self

    def check_modalities(self, modalities: Sequence[str]) -> None:
        """Check that the chain names every modality once."""
        if self.order is not None and sorted(self.order) != sorted(modalities):
            raise ValueError(f"order: must name each of {', '.join(modalities)} once; given {', '.join(self.order)}")


@dataclass(frozen=True)
class ErrorCompensated(Objective):
    """Cross-entropy of one modality's own logits, compensating for the errors of others."""

    modality: str
    earlier: tuple[str, ...]
    first: str
    ec: Compensation
    weight: float
    """lambda."""

    @property
    def modalities(self) -> tuple[str, ...]:  # type: ignore[override]
        """What is read: the modality that is trained, and the frozen ones."""
        return (self.modality, *self.earlier)

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return the phase's groups."""
        return groups_of(network, self.modality, self.first)

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return F [W, K], the frozen logits of the other modalities."""
        del context
        if not self.earlier:
            return {}
        return {"frozen": {self.modality: chain_logits(network, parameters, window.only(self.earlier), self.first)}}

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return the mean of L."""
        own = chain_logits(network, parameters, batch.only((self.modality,)), self.first)
        loss = functional.cross_entropy(own, batch.labels, reduction="none")
        if self.earlier:
            frozen = context.prepared["frozen"][self.modality][batch.positions]
            if self.ec == "residual":
                right = frozen.softmax(dim=1).gather(1, batch.labels[:, None])[:, 0]
                loss = loss * (1.0 + self.weight * (1.0 - right))
            else:
                loss = loss + self.weight * functional.cross_entropy(frozen + own, batch.labels, reduction="none")
        return batch.mean(loss)


def groups_of(network: Network, modality: str, first: str) -> tuple[str, ...]:
    """Return the groups of a modality; a shared bias belongs to the first of the chain."""
    return tuple(g for g in network.groups_of((modality,)) if g != _BIAS or modality == first)


def chain_logits(network: Network, parameters: Parameters, inputs: Mapping[str, Tensor], first: str) -> Tensor:
    """Return sum_m f_m [B, K] over the modalities in `inputs`; a shared bias is part of the first one's."""
    if _BIAS in parameters and first not in inputs:
        parameters = {**parameters, _BIAS: torch.zeros_like(parameters[_BIAS])}
    return network(parameters, inputs).logits


@dataclass(frozen=True)
class ChainMemory:
    """What the server remembers."""

    residuals: Mapping[int, Parameters] = field(default_factory=dict)
    """e_k by client: what was not sent yet."""
    clusters: Mapping[str, Tensor] = field(default_factory=dict)
    """By modality: clusters in its last merge."""


class FedMChain(Method):
    """A chain of modality phases, merged by sparse sign-guided consensus."""

    Options = FedMChainOptions
    options: FedMChainOptions
    card = FormulaCard(
        title="FedMChain: chained modality optimisation",
        paper="Z. Zhang, F. Qi, S. Li, X. Yang, C. Xu, FedMChain: Chained Modality Optimization ... (title abridged), "
        "arXiv 2606.01856, 2026 (abstract only; no equation, code or table was reachable)",
        client="phase m: E_phase epochs on encoder.m and head.m, all else frozen: L = CE(f_m, y) (1 + lambda (1 - "
        "softmax(F)_y)), or with ec: ensemble L = CE(f_m, y) + lambda CE(F + f_m, y); F = frozen logits of the earlier "
        "modalities of the chain that the client holds (from the second cycle on: of all others); no F: L = CE(f_m, y)",
        server="SSCA: top-rho of each tensor of Delta_k + e_k; average-linkage clusters while the mean sign agreement "
        ">= a0; in a cluster the weighted mean of the values with the elected sign; "
        "theta_m <- theta_m + eta_s sum_c (N_c / N) Delta^c, N_c = samples in cluster c",
        payload="down: dense groups of the phase's modality and of the frozen ones that it uses, each only if it was "
        "merged since this client last received it, or, where nothing was, the phase's own again; up: per group of "
        "the phase rho P values and 4-byte indices or a "
        "P/8-byte bitmap, whichever is smaller, and n_k",
        waits="clients for the modalities that the phase uses; a phase for the merge of the one before; clients "
        "without the phase's modality sit it out; one merge per phase",
        staleness="always 0; pipelined: at most 1, counted and not weighted",
        reconstructed=(
            "every formula, both forms of the regulariser, all of SSCA (N_c counts samples), the payload's encoding, "
            "that only changed groups travel down, all defaults",
            "that the chain starts over after its last modality, that a phase is one local round and one merge, and "
            "that a phase from which no update came back is repeated",
            "a shared bias (fusion: concat) belongs to the first modality of the chain; f_m of the others has none",
            "error feedback: e_k is kept by the simulated server beside the model, but stands for the client's memory; "
            "a lost upload leaves it as it was",
            "pipelined: a client is at most one phase ahead, on the model of the moment it is sent out",
        ),
        limits=(
            "one modality: single-modality federated learning with SSCA",
            "rho = 1, all signs in agreement: FedAvg on deltas; ec_weight = 0: plain uni-modal cross-entropy",
            "one model per cluster (personalised) is left out: every cluster goes into the one global model",
        ),
    )

    def client_round(self, client: LocalRound) -> Steps:
        """Spend one phase: wait for what it needs and no more, train one modality, send it sparsely."""
        options, network, phase = self.options, client.network, client.role
        wanted = (groups_of(network, m, phase.first) for m in phase.download)
        model = yield from client.download(tuple(group for groups in wanted for group in groups))
        if phase.modality not in client.modalities:
            return
        earlier = tuple(m for m in phase.earlier if m in client.modalities)
        for modality in client.modalities_in_arrival_order():
            if modality == phase.modality or modality in earlier:
                yield from client.wait_for(modality)
        loss = ErrorCompensated(phase.modality, earlier, phase.first, options.ec, options.ec_weight)
        stint = LocalSteps(
            proximal(loss, options.proximal), client.num_steps(options.phase_epochs), f"unimodal-{phase.modality}"
        )
        trained = yield from client.train(stint, start=model)
        groups = loss.groups(network)
        num_bytes = sum(sparse_bytes([network.shapes[n] for n in network.groups[g]], options.rho) for g in groups)
        yield from client.upload(trained, groups=groups, group_bytes=num_bytes)

    def serve(self, server: Server) -> Serving:
        """Run phase after phase for ever."""
        options = self.options
        assert isinstance(options.server, Barrier)
        chain = Chain(server, options.order, compensates=options.ec_weight > 0.0)
        serve = pipelined_phases if options.pipelined else phases
        return serve(server, chain, options.server)

    def initial_memory(self, network: Network, num_clients: int) -> ChainMemory:
        """Return a memory without residuals."""
        del network, num_clients
        return ChainMemory()

    def observe(self, memory: ChainMemory) -> Values:
        """Return the number of clusters in each modality's last merge."""
        return {"clusters": memory.clusters}

    def merge(
        self, model: Parameters, memory: ChainMemory, updates: Sequence[ClientUpdate]
    ) -> tuple[Parameters, ChainMemory]:
        """Return the model with one phase merged by SSCA, and what every client keeps for next time."""
        options, groups = self.options, updates[0].groups
        residuals, deltas = dict(memory.residuals), []
        for update in updates:
            old = residuals.get(update.client, {})
            kept, left = _sparsified(update, old if options.error_feedback else {}, options.rho)
            residuals[update.client] = {**old, **left}
            deltas.append(kept)
        step, num_clusters = consensus(deltas, [u.num_samples for u in updates], options.least_agreement)
        merged = {**model, **{name: model[name] + options.server_rate * value for name, value in step.items()}}
        modality = groups[0].partition(".")[2]
        clusters = {**memory.clusters, modality: torch.tensor(float(num_clusters))}
        return merged, ChainMemory(residuals if options.error_feedback else {}, clusters)


def _sparsified(update: ClientUpdate, residual: Mapping[str, Tensor], rho: float) -> tuple[Parameters, Parameters]:
    """Return what a client sends of Delta_k + e_k, and the e_k that is left."""
    kept: dict[str, Tensor] = {}
    left: dict[str, Tensor] = {}
    for name, value in update.parameters.items():
        if group_of(name) in update.groups:
            delta = value - update.start[name] + residual.get(name, 0.0)
            kept[name], left[name] = sparsify(delta, rho)
    return kept, left
