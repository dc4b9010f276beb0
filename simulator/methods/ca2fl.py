"""CA2FL: a buffer is completed by what is known of all other clients (Wang et al., ICLR 2024)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interlude.models.network import Network, Parameters
from interlude.models.packed import Packed, pack
from interlude.simulator.federation.rules import Buffered
from interlude.simulator.federation.staleness import ConstantStaleness
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.training.merge import ClientUpdate, delta_of, holders_of, weighted_sum


class CA2FLOptions(MethodOptions):
    """Options of CA2FL."""

    name: str = "ca2fl"
    server: Buffered = Buffered(staleness=ConstantStaleness())


@dataclass(frozen=True)
class Known:
    """What the server keeps of its clients."""

    num_clients: int
    deltas: Mapping[int, Tensor]
    """h_k [P], the last delta of each client heard of, 0 in the groups that it never trained."""
    groups: Mapping[int, tuple[str, ...]]
    """The groups that each client heard of has ever trained."""
    total: Tensor | None = None
    """sum_k h_k [P]; None before the first merge."""

    def heard_of(self, updates: Sequence[ClientUpdate]) -> dict[int, tuple[str, ...]]:
        """Return `groups` with those of some updates."""
        groups = dict(self.groups)
        for update in updates:
            groups[update.client] = tuple(dict.fromkeys((*groups.get(update.client, ()), *update.groups)))
        return groups


class CA2FL(Method):
    """CA2FL: cache-aided asynchronous federated learning.

    Delta_k = theta_k - theta^(v_k); h_k the last Delta_k of client k that was merged, 0 at first.

    Paper:
        Wang, Cao, Wu, Chen, Chen, Tackling the Data Heterogeneity in Asynchronous Federated Learning with Cached Update
        Calibration, ICLR 2024
    Client:
        E epochs of SGD on CE(fused logits)
    Server:
        when K updates S are there, per group g:
            v_g     = (1/N_g) sum_k h_k,g + (1/K_g) sum_{k in S} s(tau_k) (Delta_k,g - h_k,g)
            theta_g <- theta_g + eta_g v_g
            h_k,g   <- Delta_k,g for k in S, after v_g was made of the ones before
        K_g = updates in the buffer that trained g; N_g = clients, but for those heard of that never trained g
    Payload:
        as FedBuff: down all groups of the modalities held; up the groups trained, and n_k; the cache is the server's: N
        models
    Waits:
        as FedBuff: clients for all modalities; the server for K updates; a client that returns is replaced at once
    Staleness:
        tau = versions merged since the client's start version; s = 1 in the paper, others by server.staleness
    Limits:
        * all clients in every buffer: FedBuff, and the mean of deltas; so is the first merge of all
        * h_k = 0: FedBuff without a staleness weight
    Reconstructed:
        * groups: a group that no update in the buffer trained stays as it is, its h_k too; N_g, which is N where all
          clients hold the same
        * a client that is in the buffer twice: both differences are from the h_k before, and the later delta is kept
        * s other than 1 weighs the differences, not the mean of the h_k
    """

    Options = CA2FLOptions
    options: CA2FLOptions

    def initial_memory(self, network: Network, num_clients: int) -> Known:
        """Return an empty cache."""
        del network
        return Known(num_clients, {}, {})

    def advance(self, model: Parameters, memory: Known, updates: Sequence[ClientUpdate]) -> tuple[Parameters, Known]:
        """Return the next model by the cache before `updates`, and the cache with them."""
        theta = pack(model)
        layout, rule = theta.layout, self.options.server
        nothing = torch.zeros_like(theta.flat)
        total = nothing if memory.total is None else memory.total
        deltas = [delta_of(update, layout) for update in updates]
        changes = [
            delta - memory.deltas.get(update.client, nothing) for update, delta in zip(updates, deltas, strict=True)
        ]
        groups = memory.heard_of(updates)
        merged = theta.flat.clone()
        for group, columns in layout.group_columns.items():
            if holders := holders_of(group, updates):
                num_clients = memory.num_clients - sum(group not in trained for trained in groups.values())
                weights = [rule.freshness(updates[position]) / len(holders) for position in holders]
                step = weighted_sum([changes[position][columns] for position in holders], weights)
                merged[columns] += rule.learning_rate * (step + total[columns] / num_clients)
        kept, total = dict(memory.deltas), total.clone()
        for update, delta in zip(updates, deltas, strict=True):
            known = kept.get(update.client, nothing).clone()
            for span in layout.spans(update.groups):
                total[span] += delta[span] - known[span]
                known[span] = delta[span]
            kept[update.client] = known
        return Packed(layout, merged), Known(memory.num_clients, kept, groups, total)
