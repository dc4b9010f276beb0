"""FedMSplit: every client has its own blocks, drawn together with those of similar clients.

Chen, Zhang, KDD 2022.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from interlude.models.groups import HEAD, group_of, part_of
from interlude.models.network import Network, Parameters
from interlude.simulator.federation.rules import Barrier
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.training.merge import ClientUpdate


class FedMSplitOptions(MethodOptions):
    """Options of FedMSplit."""

    name: str = "fedmsplit"
    server: Barrier = Field(Barrier(), description="a barrier: the graph is drawn over a round's clients")
    block_weight: NonNegativeFloat = Field(0.01, description="lambda of the distance from the client's own blocks")


@dataclass(frozen=True)
class Blocks:
    """What the server keeps of one client."""

    parameters: Parameters
    """The client's own blocks."""
    num_samples: int
    """n_k of its last round."""


def graph_weights(updates: Sequence[ClientUpdate]) -> dict[str, Tensor]:
    """Return log q_b[k, l] [N, N] by block; -inf where the two clients do not share it.

    The logarithm, since the products of large blocks leave little of a softmax but its largest entry. Takes O(N^2 P)
    for P parameters.
    """
    products: dict[str, Tensor] = {}  # <w_k^b, w_l^b> over what both hold
    sizes: dict[str, Tensor] = {}  # dim_b of what both hold
    for group in dict.fromkeys(group for update in updates for group in update.groups):
        flat = [_flat(update, group) for update in updates]
        like = next(values for values in flat if values is not None)
        stacked = torch.stack([torch.zeros_like(like) if values is None else values for values in flat])  # [N, P]
        holds = like.new_tensor([values is not None for values in flat])
        block = block_of(group)
        products[block] = products.get(block, 0.0) + stacked @ stacked.T
        sizes[block] = sizes.get(block, 0.0) + torch.outer(holds, holds) * len(like)
    attention = {block: _attention(products[block], sizes[block]) for block in products}
    shared_modalities = torch.stack([size > 0 for block, size in sizes.items() if block != HEAD]).sum(dim=0)
    closeness = torch.stack(list(attention.values())).exp().sum(dim=0) / (1 + shared_modalities)
    return {block: log_a + closeness.log() for block, log_a in attention.items()}


def block_of(group: str) -> str:
    """Return the block of a group: each encoder is one, all of the head is one."""
    return HEAD if part_of(group) == HEAD else group


def _flat(update: ClientUpdate, group: str) -> Tensor | None:
    if group not in update.groups:
        return None
    return torch.cat([value.flatten() for name, value in update.parameters.items() if group_of(name) == group])


def _attention(products: Tensor, sizes: Tensor) -> Tensor:
    """Return the logarithm of softmax_l(<w_k, w_l> / sqrt(dim)) [N, N] over the pairs that share something."""
    scores = torch.where(sizes > 0, products / sizes.clamp(min=1.0).sqrt(), -torch.inf)
    return torch.where(sizes > 0, scores.log_softmax(dim=1), -torch.inf)


class FedMSplit(Method):
    """FedMSplit: correlation-adaptive split networks.

    A model is split into blocks b: one per encoder, and the head, of which two clients share the slices of the
    modalities that both hold.

    Paper:
        Chen, Zhang, FedMSplit: Correlation-Adaptive Federated Multi-Task Learning across Multimodal Split Networks, KDD
        2022
    Client:
        E epochs of SGD on CE(fused logits) + lambda sum_b ||w^b - w_k^b||^2, w_k^b the client's own downloaded block
    Server:
        every client gets its own, over the clients l that share block b with k:
            A_b[k, l] = softmax_l(<w_k^b, w_l^b> / sqrt(dim_b))
            q_b[k, l] = A_b[k, l] (sum_b' A_b'[k, l]) / (1 + #modalities shared by k and l)
            w_k^b    <- sum_l q_b[k, l] w_l^b / sum_l q_b[k, l]
    Payload:
        down: the client's own blocks of the modalities held; up: the blocks trained, and n_k
    Waits:
        clients for all their modalities; the server for all dispatched clients
    Staleness:
        always 0: every update starts from the client's own last blocks
    Limits:
        * one client per round: it keeps its blocks, so every client trains alone
    Reconstructed:
        * block formulas and lambda = 0.01 follow a third party's port; no official code was found, and the citation is
          not verified
        * the graph spans the clients whose updates are merged together; the others keep their blocks
        * of the head two clients share the slices of common modalities (and a shared bias); dim_b counts those
        * the global model that is evaluated: the mean of all personal blocks, weighted by samples, per group over its
          holders; a client that was never merged starts from it
    """

    Options = FedMSplitOptions
    options: FedMSplitOptions

    @property
    def proximal(self) -> float:
        """Mu of the distance from the client's own blocks: 2 lambda, and what the options add."""
        return 2.0 * self.options.block_weight + self.options.proximal

    def initial_memory(self, network: Network, num_clients: int) -> Mapping[int, Blocks]:
        """Return no blocks: all start from the same model."""
        del network, num_clients
        return {}

    def model_for(self, model: Parameters, memory: Mapping[int, Blocks], client: int) -> Parameters:
        """Return the client's own blocks; the global model where it has none."""
        return {**model, **memory[client].parameters} if client in memory else model

    def advance(
        self, model: Parameters, memory: Mapping[int, Blocks], updates: Sequence[ClientUpdate]
    ) -> tuple[Parameters, Mapping[int, Blocks]]:
        """Return the mean of all clients' blocks, and the blocks after mixing those of `updates` along the graph."""
        weights = graph_weights(updates)
        mixed: list[dict[str, Tensor]] = [{} for _ in updates]
        for name in model:
            group = group_of(name)
            holders = [position for position, update in enumerate(updates) if group in update.groups]
            if holders:
                stacked = torch.stack([updates[position].parameters[name] for position in holders])
                shares = weights[block_of(group)][holders][:, holders].softmax(dim=1)  # q / sum_l q
                for position, value in zip(holders, torch.tensordot(shares, stacked, dims=1), strict=True):
                    mixed[position][name] = value
        blocks = dict(memory)
        for update, parameters in zip(updates, mixed, strict=True):
            old = blocks[update.client].parameters if update.client in blocks else {}
            blocks[update.client] = Blocks({**old, **parameters}, update.num_samples)
        return _mean(model, list(blocks.values())), blocks


def _mean(model: Parameters, blocks: Sequence[Blocks]) -> Parameters:
    """Return the sample-weighted mean of each parameter over the clients that have their own."""
    mean = dict(model)
    for name in model:
        own = [(b.parameters[name], b.num_samples) for b in blocks if name in b.parameters]
        total = sum(num_samples for _, num_samples in own)
        if own:
            mean[name] = torch.stack([value * (num_samples / total) for value, num_samples in own]).sum(dim=0)
    return mean
