"""FedFa: the model is the mean of the last K results, a new one at every arrival (Xu et al., IJCAI 2024)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from interlude.models.network import Network, Parameters
from interlude.models.packed import Packed, pack
from interlude.simulator.federation.rules import OnArrival
from interlude.simulator.federation.staleness import ConstantStaleness
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.training.merge import ClientUpdate

Queues = Mapping[str, tuple[Tensor, ...]]
"""The last results of each group that was ever trained, oldest first."""


class FedFaOptions(MethodOptions):
    """Options of FedFa."""

    name: str = "fedfa"
    server: OnArrival = Field(
        OnArrival(mixing=1.0, staleness=ConstantStaleness()),
        description="mixing: 1 replaces the model by the mean, as the paper does",
    )
    queue_size: PositiveInt = Field(5, description="K, results that are averaged")


class FedFa(Method):
    """FedFa, fully asynchronous.

    Paper:
        Xu, Zhang, Di, Liu, Alharthi, Cao, FedFa: A Fully Asynchronous Training Paradigm for Federated Learning, IJCAI
        2024
    Client:
        E epochs of SGD on CE(fused logits)
    Server:
        a queue of the last K results of every group; on each arrival, for the groups g that it trained:
            theta_k,g enters the queue of g, and the oldest leaves one that is longer than K
            theta_g <- (1 - a) theta_g + a (1/K) sum over the queue, a = alpha s(tau); theta_g stays until there are K
    Payload:
        down: all groups of the modalities held; up: the groups trained, and n_k; the queue is the server's: K models
    Waits:
        clients wait for all modalities; the server for no client
    Staleness:
        tau = versions merged since the client's start version; alpha = 1 and s = 1 in the paper, others by
        server.mixing and server.staleness
    Limits:
        * K = 1: FedAsync with alpha 1, s 1 and no proximal term, number for number
        * clients start at once from the model of the moment, so the K results are of different versions, and one client
          may be in the queue more than once
    Reconstructed:
        * the paper's text was not reachable: all follows its abstract and third parties' code (NaiveFedFA), whose
          model changes with the K-th arrival; K = 5
        * a queue per group; a result that only fills a queue counts as a version all the same
        * alpha and s: the paper has neither
        * the paper's second form, on deltas, is left out: no statement of its arithmetic was found
    """

    Options = FedFaOptions
    options: FedFaOptions

    def initial_memory(self, network: Network, num_clients: int) -> Queues:
        """Return empty queues."""
        del network, num_clients
        return {}

    def advance(self, model: Parameters, memory: Queues, updates: Sequence[ClientUpdate]) -> tuple[Parameters, Queues]:
        """Return the model with an update's queues mixed in, and these queues."""
        (update,) = updates
        theta, size = pack(model), self.options.queue_size
        trained, means = theta.layout.pack(update.parameters), theta.flat.clone()
        queues = dict(memory)
        for group in update.groups:
            columns = theta.layout.group_columns[group]
            queues[group] = (*queues.get(group, ()), trained.flat[columns].clone())[-size:]
            if len(queues[group]) == size:
                means[columns] = torch.stack(queues[group]).mean(dim=0)
        averaged = replace(update, parameters=Packed(theta.layout, means))
        return self.options.server.merge(model, [averaged]), queues
