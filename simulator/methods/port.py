"""PORT: a buffer weighted by staleness and direction, and urgent notices to clients that are late (Su and Li, 2022)."""

from collections.abc import Sequence
from functools import cache
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.federation.rules import Buffered
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.training.merge import ClientUpdate, Weight, difference


class BoundedBuffer(Buffered):
    """Semi-asynchronous with a bound on staleness, which clients are urged to keep."""

    max_staleness: PositiveInt = Field(10, description="B, most versions an update may be behind")
    when_stale: Literal["drop", "wait", "hurry"] = Field("hurry", description="as in any asynchronous rule")


class PortOptions(MethodOptions):
    """Options of PORT."""

    name: str = "port"
    server: BoundedBuffer = BoundedBuffer()
    staleness_weight: PositiveFloat = Field(1.0, description="alpha, weight of B / (tau + B)")
    similarity_weight: NonNegativeFloat = Field(1.0, description="beta, weight of (cos + 1) / 2")


class Port(Method):
    """PORT.

    Paper:
        Su, Li, How Asynchronous can Federated Learning Be?, IWQoS 2022; its code in Plato (TL-System/plato,
        examples/async/port)
    Client:
        E epochs of SGD on CE(fused logits); after an urgent notice no more than the epoch in which it arrives
    Server:
        when m updates are there, with Delta_k = theta_k - theta^(v_k), over the clients j that trained group g
            s_k     = alpha B / (tau_k + B) + beta (cos(Delta_k, theta^t - theta^(t-1)) + 1) / 2
            theta_g <- theta_g + eta_g sum_k Delta_k,g n_k s_k / sum_j n_j s_j
        cos counts the groups that k trained, and is 1 where tau_k <= 1 or before two merges. A client whose staleness
        the merge would raise above B is sent an urgent notice, and the merge waits for it.
    Payload:
        down: all groups of the modalities held; up: the groups trained, and n_k; a notice takes the time of a few bytes
        and is not counted
    Waits:
        clients wait for all their modalities; the server for m updates and for clients that would exceed B; a client
        that returns is replaced at once
    Staleness:
        tau = versions merged since the client's start version, counted at the merge; at most B (max_staleness)
    Limits:
        * beta (similarity_weight) = 0 and B large: the n_k-weighted mean of deltas
        * one local epoch: a notice changes nothing, and the server waits
    Reconstructed:
        * alpha = beta = 1 are the defaults of its code, m = 10 is FedBuff's; other ports have alpha = 3
        * a client that has not begun to train when the notice arrives trains one epoch; training before the joint one
          (gaps, or each modality alone) is not cut short
        * one s_k for all the groups that a client trained, normalised per group
    """

    Options = PortOptions
    options: PortOptions

    def initial_memory(self, network: Network, num_clients: int) -> Parameters | None:
        """Return no previous model."""
        del network, num_clients
        return None

    def remember(self, memory: Parameters | None, updates: Sequence[ClientUpdate]) -> Parameters | None:
        """Return the previous model, which only a merge changes."""
        del updates
        return memory

    def advance(
        self, model: Parameters, memory: Parameters | None, updates: Sequence[ClientUpdate]
    ) -> tuple[Parameters, Parameters]:
        """Return the next model, and the one that it was made from."""
        return self.merge(model, memory, updates), model

    def merge(self, model: Parameters, memory: Parameters | None, updates: Sequence[ClientUpdate]) -> Parameters:
        """Return the next model; `memory` is the one before `model`."""
        raw = [update.num_samples * self._importance(model, memory, update) for update in updates]

        @cache
        def total(group: str) -> Weight:
            return sum(weight for weight, update in zip(raw, updates, strict=True) if group in update.groups)

        return self.options.server.merge(model, updates, shares=lambda position, group: raw[position] / total(group))

    def _importance(self, model: Parameters, before: Parameters | None, update: ClientUpdate) -> Weight:
        """Return s_k."""
        options = self.options
        bound = options.server.max_staleness
        fresh = options.staleness_weight * bound / (update.staleness + bound)
        if before is None or update.staleness <= 1:
            return fresh + options.similarity_weight
        cosine: Tensor = functional.cosine_similarity(
            difference(update.parameters, update.start, update.groups),
            difference(model, before, update.groups),
            dim=0,
        )
        return fresh + options.similarity_weight * (cosine + 1.0) / 2.0
