"""FedMChain: modalities are trained in turns, one phase each, and every phase ends in one sparse merge.

Zhang et al., arXiv 2606.01856, 2026.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from interlude.models.groups import group_of, modality_of
from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import Payload, Steps
from interlude.simulator.federation.rules import Barrier
from interlude.simulator.federation.views import Process, ServerView
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.fedmchain.consensus import consensus, sparse_bytes, sparsify
from interlude.simulator.methods.fedmchain.objective import Compensation, ErrorCompensated, groups_of
from interlude.simulator.methods.fedmchain.phases import Chain, phases, pipelined_phases
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.waiting import in_arrival_order
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.values import Values, named


class FedMChainOptions(MethodOptions):
    """Options of FedMChain."""

    name: str = "fedmchain"
    waiting: Literal["all"] = Field("all", description="a client waits for all modalities that its phase needs")
    server: Barrier = Field(Barrier(), description="a barrier per phase")
    order: tuple[str, ...] | None = Field(None, description="modalities of the chain; unset: the data set's order")
    ec: Compensation = Field("residual", description="weight samples by earlier errors, or fit the ensemble")
    ec_weight: NonNegativeFloat = Field(1.0, description="lambda of the error-compensated regulariser")
    phase_epochs: PositiveInt = Field(5, description="passes over the window in one phase")
    rho: float = Field(0.2, gt=0, le=1, description="share of each tensor's update that is sent")
    error_feedback: bool = Field(True, description="add what was not sent to the next update")
    least_agreement: float = Field(0.55, ge=0, le=1, description="a0, mean sign agreement within a cluster")
    server_rate: PositiveFloat = Field(1.0, description="eta_s, the server's step size")
    pipelined: bool = Field(False, description="let clients enter the next phase before the merge of this one")

    @model_validator(mode="after")
    def _a_pipeline_waits_for_all(self) -> "FedMChainOptions":
        if self.pipelined and (self.server.over_selection > 1.0 or self.server.deadline_s is not None):
            raise ValueError("pipelined phases wait for all their clients: no server.over_selection, no deadline_s")
        return self

    def check_modalities(self, modalities: Sequence[str]) -> None:
        """Check that the chain names every modality once."""
        if self.order is not None and sorted(self.order) != sorted(modalities):
            raise ValueError(f"order: must name each of {', '.join(modalities)} once; given {', '.join(self.order)}")


@dataclass(frozen=True)
class ChainMemory:
    """What the server remembers."""

    residuals: Mapping[int, Parameters] = field(default_factory=dict)
    """e_k by client: what was not sent yet."""
    clusters: Mapping[str, Tensor] = field(default_factory=dict)
    """By modality: clusters in its last merge."""


class FedMChain(Method):
    """FedMChain: chained modality optimisation.

    Established by the abstract are the structure (a chain of modality-wise phases against modality competition, an
    error-compensated regulariser at the client, SSCA at the server, fewer synchronisations) and the names.

    Paper:
        Z. Zhang, F. Qi, S. Li, X. Yang, C. Xu, Boosting Multimodal Federated Learning via Chained Modality
        Optimization, arXiv 2606.01856, 2026 (abstract only; no equation, code or table was reachable)
    Client:
        in phase m E_phase epochs on encoder.m and head.m, all else frozen:
            f_m = W_m z_m,  F = sum_{j in earlier} f_j, frozen logits
            L = CE(f_m, y) (1 + lambda (1 - softmax(F)_y))   ec: residual
            L = CE(f_m, y) + lambda CE(F + f_m, y)           ec: ensemble
            L = CE(f_m, y)                                   nothing earlier to compensate
        In the first cycle through the chain the earlier modalities are those before m, later all others; of these,
        those that the client holds.
    Server:
        SSCA, sparse sign-guided consensus (`consensus`):
            Delta_k = theta_k - theta^(v_k) + e_k, of each tensor the top rho; what is left out is the next e_k
            theta_m <- theta_m + eta_s sum_c (N_c / N) Delta^c, N_c = samples in cluster c
        Average-linkage clusters while the mean sign agreement >= a0; Delta^c is the weighted mean of the values in the
        cluster that have the elected sign.
    Payload:
        down: dense groups of the phase's modality and of the frozen ones that it uses, each only if it was merged since
        this client last received it, or, where nothing was, the phase's own again; up: per group of the phase rho P
        values and 4-byte indices or a P/8-byte bitmap, whichever is smaller, and n_k
    Waits:
        clients for the modalities that the phase uses; a phase for the merge of the one before; clients without the
        phase's modality sit it out; one merge per phase
    Staleness:
        always 0; pipelined: at most 1, counted and not weighted
    Limits:
        * one modality (and lambda = 0): single-modality federated learning with SSCA
        * rho = 1, all signs in agreement: FedAvg on deltas; ec_weight = 0: plain uni-modal cross-entropy
        * one model per cluster (personalised) is left out: every cluster goes into the one global model
    Reconstructed:
        * every formula, both forms of the regulariser, all of SSCA (N_c counts samples), the payload's encoding, that
          only changed groups travel down, all defaults
        * that the chain starts over after its last modality, that a phase is one local round and one merge, and that a
          phase from which no update came back is repeated
        * a shared bias (fusion: concat) belongs to the first modality of the chain; f_m of the others has none
        * error feedback: e_k is kept by the simulated server beside the model, but stands for the client's memory; a
          lost upload leaves it as it was
        * pipelined: a client is at most one phase ahead, on the model of the moment it is sent out
    """

    Options = FedMChainOptions
    options: FedMChainOptions
    needs_summed_head = True

    def client_round(self, client: ClientDay) -> Steps:
        """Spend one phase: wait for what it needs and no more, train one modality, send it sparsely."""
        options, network, phase = self.options, client.network, client.role
        wanted = (groups_of(network, m, phase.first) for m in phase.download)
        yield from client.download(tuple(group for groups in wanted for group in groups))
        if phase.modality not in client.modalities:
            return
        earlier = tuple(m for m in phase.earlier if m in client.modalities)
        for modality in in_arrival_order(client):
            if modality == phase.modality or modality in earlier:
                yield from client.wait_for(modality)
        loss = ErrorCompensated(phase.modality, earlier, phase.first, options.ec, options.ec_weight)
        num_steps, name = client.num_steps(options.phase_epochs), f"unimodal-{phase.modality}"
        yield from client.train(LocalSteps(loss, num_steps, name, proximal=self.proximal))
        groups = loss.groups(network)
        num_bytes = sum(sparse_bytes([network.shapes[n] for n in network.groups[g]], options.rho) for g in groups)
        yield from client.upload(Payload(groups, num_bytes))

    def serve(self, server: ServerView) -> Process[None]:
        """Run phase after phase for ever."""
        options = self.options
        chain = Chain(server, options.order, compensates=options.ec_weight > 0.0)
        run_phases = pipelined_phases if options.pipelined else phases
        return run_phases(server, chain, options.server)

    def initial_memory(self, network: Network, num_clients: int) -> ChainMemory:
        """Return a memory without residuals."""
        del network, num_clients
        return ChainMemory()

    def observe(self, memory: ChainMemory) -> Values:
        """Return the number of clusters in each modality's last merge."""
        return named("clusters", memory.clusters)

    def advance(
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
        modality = modality_of(groups[0])
        assert modality is not None, "the first group of a phase is its encoder"
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
