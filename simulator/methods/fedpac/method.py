"""FedPAC: a shared encoder, and heads of each client's own that are combined to suit it (Xu et al., ICLR 2023)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from interlude.models.groups import HEAD, group_of, part_of
from interlude.models.network import Network, Parameters
from interlude.simulator.arrays import Floats
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.rules import Barrier
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.fedpac.collaboration import head_weights
from interlude.simulator.methods.fedpac.objective import VARIANCE, WEIGHTED_MEAN, EncodersAlone, HeadAlone
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.prototypes import (
    PROTOTYPE,
    global_prototypes,
    no_prototypes,
)
from interlude.simulator.methods.waiting import Ready
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.values import Values, by_modality, named


class FedPACOptions(MethodOptions):
    """Options of FedPAC."""

    name: str = "fedpac"
    server: Barrier = Field(Barrier(), description="a barrier: heads are combined over a round's clients")
    weight: NonNegativeFloat = Field(1.0, description="lambda, weight of the pull towards class means")
    head_epochs: PositiveInt = Field(1, description="passes over the window that train the head, before the encoders")
    head_rate: PositiveFloat = Field(
        10.0, description="the head's learning rate by the scenario's; published code: 0.1 by 0.01"
    )


@dataclass(frozen=True)
class Personal:
    """What the server keeps."""

    prototypes: Mapping[str, Tensor]
    """The global class means [K, D] of each modality."""
    heads: Mapping[int, Parameters]
    """The head of each client that was ever merged, combined then."""


class FedPAC(Method):
    """FedPAC: personalisation by feature alignment and classifier collaboration.

    z is the feature of all modalities, one after the other, zeros for those that miss; p_kc = n_kc / n_k.

    Paper:
        Xu, Tong, Huang, Personalized Federated Learning with Feature Alignment and Classifier Collaboration, ICLR 2023
    Client:
        from the global encoders and its own head
            h_k,c = p_kc mu_kc,  v_k = (1 / n_k) (mean_i ||z_i||^2 - sum_c ||h_k,c||^2), mu the class means of z
            1 epoch of SGD on CE over the head alone, at ten times the learning rate
            E epochs of SGD over the encoders alone on CE + lambda MSE(z_i, c_{y_i}), the second from version 1
            c_kj, the class means of z with the trained encoders
        c_j is the global mean of class j, the client's own (of the received encoders) where there is none
    Server:
        theta_g <- sum_k n_k theta_k,g / sum_k n_k for every group g, over the clients that trained g; of the head only
        for evaluation; c_j <- sum_k n_kj c_kj / sum_k n_kj; for each client i of the round
            head_i <- sum_j a_ij head_j
            a_i = argmin_{a >= 0, sum a = 1} a^T (diag(v) + D^i) a,  D^i_jl = sum_c <h_i,c - h_j,c, h_i,c - h_l,c>
            a_ij below 1e-3 are 0, the others scaled to sum to 1
    Payload:
        down: encoders and the client's own head of the modalities held, [K, D] c^m of all modalities; up: the same
        groups, and of each modality trained [K, D] h^m and [K, D] c_k^m, v_k, K class counts, n_k
    Waits:
        as FedAvg; statistics, own means and reported means cost a forward pass over the window each
    Staleness:
        always 0: every update starts from the encoders it is merged into
    Limits:
        * what is evaluated is the global encoders with the n_k-weighted mean head, as a global model; the paper
          reports accuracies of clients with their own heads on their own distributions, which are higher
        * one client per round: it keeps its own head, FedPer
        * published runs have momentum 0.5, weight decay 5e-4 and all clients in every round
    Reconstructed:
        * several modalities: h, v and the pull on the concatenated feature
        * the slice of a modality in a head is combined over the clients that trained it, their a_ij scaled to sum to 1;
          where all of the weight is on others, a client keeps its own
        * a client that was never merged starts from the mean head; in the published code from version 0's
        * a class that no client of the round holds keeps its global mean; the published code forgets it
        * the minimum is solved exactly, by non-negative least squares on diag(v) + D^i, to whose diagonal 1e-9 of its
          mean is added; the published code cuts off eigenvalues and asks a solver
        * class means over the samples of the local round
        * `waiting: opportunistic` trains both in the gaps, and statistics are of the encoders after them
        * a client that trains each modality alone, as one misses, does so as FedAvg's; it reports nothing, and its own
          head stays as it was
    """

    Options = FedPACOptions
    options: FedPACOptions

    def local_steps(self, client: ClientDay, ready: Ready) -> Sequence[LocalSteps]:
        """Return the head's steps, then the encoders'."""
        options, modalities = self.options, ready.modalities
        weight = options.weight if client.version > 0 else 0.0
        head_steps = client.num_steps(options.head_epochs)
        return [
            LocalSteps(HeadAlone(modalities), head_steps, "head", 0, self.proximal, options.head_rate),
            LocalSteps(EncodersAlone(modalities, weight), client.num_steps(), "joint", proximal=self.proximal),
        ]

    def initial_memory(self, network: Network, num_clients: int) -> Personal:
        """Return no class means and no heads."""
        del num_clients
        return Personal(no_prototypes(network), {})

    def model_for(self, model: Parameters, memory: Personal, client: int) -> Parameters:
        """Return the global encoders with the client's own head."""
        return {**model, **memory.heads[client]} if client in memory.heads else model

    def broadcast(self, memory: Personal) -> Values:
        """Return the global class means."""
        return named(PROTOTYPE, memory.prototypes)

    def remember(self, memory: Personal, updates: Sequence[ClientUpdate]) -> Personal:
        """Return the class means and the combined heads."""
        measured = [update for update in updates if VARIANCE in update.report]
        if not measured:
            return memory
        prototypes = global_prototypes(self.options.server, memory.prototypes, measured)
        heads = dict(memory.heads)
        for update, weights in zip(measured, head_weights(*_statistics(measured, memory.prototypes)), strict=True):
            heads[update.client] = {**heads.get(update.client, {}), **_combined(update, measured, weights.tolist())}
        return Personal(prototypes, heads)


def _statistics(updates: Sequence[ClientUpdate], like: Mapping[str, Tensor]) -> tuple[Floats, Floats]:
    """Return v [N] and h [N, F] of updates, zeros for modalities that they lack."""
    variances = torch.stack([update.report[VARIANCE] for update in updates])
    means = []
    for update in updates:
        of = by_modality(update.report, WEIGHTED_MEAN)
        means.append(
            torch.cat([of[m].flatten() if m in of else variances.new_zeros(c.numel()) for m, c in like.items()])
        )
    read = torch.cat([variances[:, None], torch.stack(means)], dim=1).cpu().double().numpy()
    return read[:, 0].copy(), read[:, 1:].copy()


def _combined(own: ClientUpdate, updates: Sequence[ClientUpdate], weights: Sequence[float]) -> Parameters:
    """Return sum_j a_ij head_j by group of the client's head, over the clients that trained the group."""
    combined: dict[str, Tensor] = {}
    for name, value in own.parameters.items():
        group = group_of(name)
        if part_of(group) == HEAD and group in own.groups:
            shares = [(w, u.parameters[name]) for w, u in zip(weights, updates, strict=True) if group in u.groups]
            total = sum(w for w, _ in shares)
            combined[name] = torch.stack([w / total * head for w, head in shares]).sum(dim=0) if total > 0.0 else value
    return combined
