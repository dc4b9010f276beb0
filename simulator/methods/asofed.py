"""ASO-Fed: every arrival moves the model by one client's share of its balanced gradient (Chen et al., 2020)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from interlude.models.groups import ENCODER, group_of, part_of
from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.rules import OnArrival
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.training.merge import ClientUpdate


class ASOFedOptions(MethodOptions):
    """Options of ASO-Fed."""

    name: str = "aso-fed"
    server: OnArrival = Field(OnArrival(), description="on arrival; its mixing and staleness weights act nowhere here")
    proximal: NonNegativeFloat = Field(0.01, description="lambda of (lambda/2) ||w - w_received||^2")
    beta: float = Field(0.5, ge=0, le=1, description="beta, how slowly a client's balance h follows its gradients")
    dynamic_rate: bool = Field(True, description="r_k: clients with long local rounds take larger steps")
    feature_learning: bool = Field(False, description="weigh the first layer of every merged encoder by its attention")


@dataclass(frozen=True)
class Past:
    """What a client keeps of its earlier rounds, by the names of the parameters that it trained in them."""

    balance: Parameters
    """h."""
    descent: Parameters
    """g of its last round."""


class ASOFed(Method):
    """ASO-Fed: asynchronous online federated learning.

    Paper:
        Chen, Ning, Slawski, Rangwala, Asynchronous Online Federated Learning for Edge Devices with Non-IID Data, IEEE
        Big Data 2020 (arXiv 1911.02134)
    Client:
        E epochs of SGD on CE(fused logits) + (lambda/2) ||w - theta^v||^2, the squared norm, at the learning rate r_k
        eta, r_k = max(1, ln(mean duration of k's earlier local rounds in s)); then, g_0 = h_0 = 0,
            g_t    = theta^v - w, the round's descent
            zeta_t = g_t - g_(t-1) + h_(t-1)
            h_t    = beta h_(t-1) + (1 - beta) g_(t-1)
    Server:
        on each arrival, for the groups g trained, j all holders of g
            theta_g <- theta_g - (n_k / sum_j n_j) zeta_k,g
        feature_learning: of the first layer of every encoder trained
            W_ij <- W_ij softmax_j(|W_ij|)
    Payload:
        down: all groups of the modalities held; up: zeta of the groups trained, one tensor for each, and n_k
    Waits:
        clients wait for all their modalities; the server for no client
    Staleness:
        counted, and weighted nowhere: a stale zeta counts as much as a fresh one
    Limits:
        * beta = 1, lambda = 0, dynamic_rate: false: the first round of each client adds (n_k / n) (w - theta^v), so
          that a round of all from one model is FedAvg
        * a step is 1/N of a client's: it takes as many arrivals as there are clients to go as far as a round of FedAvg
        * feature_learning shrinks a first layer of D inputs by about D at every merge, and soon there is nothing left
        * the server rule's mixing and staleness weights act nowhere
    Reconstructed:
        * g is what a local round descends in all, as in a third party's port (boyi-liu/AFL-Lib, asofed.py); in the
          paper the recursion is of gradients
        * beta and lambda of that port, which takes the norm of the proximal term unsquared
        * the unit of r_k's durations, that r_k has two decimals, and that it is 1 in a client's first round and in gaps
        * feature_learning is off, as that port leaves it out; rows are a layer's outputs
        * h and g are kept by the simulated server, but stand for the client's memory; a lost upload leaves them as they
          were, and so does a round without a group for that group
    """

    Options = ASOFedOptions
    options: ASOFedOptions

    def learning_rate_scale(self, client: ClientDay) -> float:
        """Return r_k; of two decimals, so that equal clients share the count of their costs."""
        if not self.options.dynamic_rate:
            return 1.0
        return round(max(1.0, math.log(max(client.mean_round_s, 1.0))), 2)

    def initial_memory(self, network: Network, num_clients: int) -> Mapping[int, Past]:
        """Return no past of any client."""
        del network, num_clients
        return {}

    def advance(
        self, model: Parameters, memory: Mapping[int, Past], updates: Sequence[ClientUpdate]
    ) -> tuple[Parameters, Mapping[int, Past]]:
        """Return the model after each client's share of its zeta, and what the clients keep."""
        merged, kept = dict(model), dict(memory)
        for update in updates:
            zeta, kept[update.client] = balanced(update, kept.get(update.client, Past({}, {})), self.options.beta)
            for name, value in zeta.items():
                share = update.num_samples / update.holders[group_of(name)].num_samples
                merged[name] = merged[name] - share * value
            if self.options.feature_learning:
                merged |= {name: attended(merged[name]) for name in first_layers(update)}
        return merged, kept


def balanced(update: ClientUpdate, past: Past, beta: float) -> tuple[Parameters, Past]:
    """Return zeta of the parameters that a client trained, and what it keeps for its next round."""
    zeta: dict[str, Tensor] = {}
    balance, descent = dict(past.balance), dict(past.descent)
    for name, value in update.parameters.items():
        if group_of(name) in update.groups:
            now = update.start[name] - value
            before = past.descent.get(name, torch.zeros_like(now))
            h = past.balance.get(name, torch.zeros_like(now))
            zeta[name] = now - before + h
            balance[name], descent[name] = beta * h + (1.0 - beta) * before, now
    return zeta, Past(balance, descent)


def first_layers(update: ClientUpdate) -> list[str]:
    """Return the name of the first matrix or kernel of every encoder that an update trained."""
    first: dict[str, str] = {}
    for name, value in update.parameters.items():
        group = group_of(name)
        if part_of(group) == ENCODER and group in update.groups and value.dim() >= 2:
            first.setdefault(group, name)
    return list(first.values())


def attended(weight: Tensor) -> Tensor:
    """Return W_ij softmax_j(|W_ij|), a row i for each output."""
    rows = weight.flatten(1)
    return (rows * rows.abs().softmax(dim=1)).view_as(weight)
