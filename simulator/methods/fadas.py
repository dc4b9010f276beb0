"""FADAS: an adaptive server step on a buffer, smaller where an update in it is stale (Wang et al., ICML 2024)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat
from torch import Tensor

from interlude.models.network import Network, Parameters
from interlude.models.packed import Packed, pack
from interlude.simulator.federation.rules import Buffered
from interlude.simulator.federation.staleness import ConstantStaleness
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.training.merge import ClientUpdate, delta_of, holders_of, weighted_sum
from interlude.simulator.training.server_optimizer import running_mean


class FADASOptions(MethodOptions):
    """Options of FADAS."""

    name: str = "fadas"
    server: Buffered = Field(
        Buffered(size=5, learning_rate=1e-3, staleness=ConstantStaleness()),
        description="learning_rate: eta, about the most that any parameter moves in a merge; to be tuned",
    )
    delay_threshold: NonNegativeInt | None = Field(
        1, description="tau_c: eta is divided by the largest staleness in the buffer above it; null: never"
    )
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of m")
    beta2: float = Field(0.99, ge=0, lt=1, description="decay of v")
    epsilon: PositiveFloat = Field(1e-8, description="least denominator")


@dataclass(frozen=True)
class AdaptiveState:
    """m, v and v_hat [P] each; None before the first merge."""

    first: Tensor | None = None
    second: Tensor | None = None
    largest: Tensor | None = None
    num_steps: Mapping[str, int] = field(default_factory=dict)
    """t of each group: the merges that moved it."""


class FADAS(Method):
    """FADAS: federated adaptive asynchronous optimisation.

    Paper:
        Wang, Wang, Lu, Chen, FADAS: Towards Federated Adaptive Asynchronous Optimization, ICML 2024
    Client:
        E epochs of SGD on CE(fused logits)
    Server:
        when K updates are there, per group g that K_g of them trained, all products and roots element by element:
            D_g     = 1/K_g sum_k s(tau_k) (theta_k,g - theta_g^(v_k))
            m       <- b1 m + (1 - b1) D
            v       <- b2 v + (1 - b2) D^2
            vh      <- max(vh, v)
            eta_t   = eta / tau_max where tau_max > tau_c, else eta
            theta_g <- theta_g + eta_t (m / (1 - b1^t)) / (sqrt(vh / (1 - b2^t)) + eps)
        tau_max = the largest tau_k among the K_g updates, t = merges that moved g
    Payload:
        as FedBuff: down all groups of the modalities held; up the groups trained, and n_k; m, v, vh are the server's
    Waits:
        as FedBuff: clients for all modalities; the server for K updates; a client that returns is replaced at once
    Staleness:
        tau = versions merged since the client's start version; it divides eta; s = 1 in the paper, others by
        server.staleness
    Limits:
        * the first step of a group moves every parameter by eta_t, whatever the scale of D
        * delay_threshold: null: FADAS without delay adaptation; the authors' runs then have eta = 1e-4
        * server.optimizer adam takes no largest v, corrects no bias and knows no delay
    Reconstructed:
        * defaults as in the authors' runs of 50 clients, 25 of them at work (server.concurrency) with a local learning
          rate of 0.1; eta must be tuned for other networks
        * tau_max, t and all moments per group: a group that no update trained keeps them
    """

    Options = FADASOptions
    options: FADASOptions

    def initial_memory(self, network: Network, num_clients: int) -> AdaptiveState:
        """Return no moments."""
        del network, num_clients
        return AdaptiveState()

    def advance(
        self, model: Parameters, memory: AdaptiveState, updates: Sequence[ClientUpdate]
    ) -> tuple[Parameters, AdaptiveState]:
        """Return the model after one adaptive step, and the moments that made it."""
        options, theta = self.options, pack(model)
        first, second, largest = (
            torch.zeros_like(theta.flat) if moment is None else moment.clone()
            for moment in (memory.first, memory.second, memory.largest)
        )
        num_steps = dict(memory.num_steps)
        deltas = [delta_of(update, theta.layout) for update in updates]
        merged = theta.flat.clone()
        for group, at in theta.layout.group_columns.items():
            if holders := holders_of(group, updates):
                weights = [options.server.freshness(updates[position]) / len(holders) for position in holders]
                mean = weighted_sum([deltas[position][at] for position in holders], weights)
                first[at] = running_mean(first[at], mean, options.beta1)
                second[at] = running_mean(second[at], mean * mean, options.beta2)
                largest[at] = torch.maximum(largest[at], second[at])
                steps = num_steps[group] = num_steps.get(group, 0) + 1
                rate = self._rate(max(updates[position].staleness for position in holders))
                root = (largest[at] / (1.0 - options.beta2**steps)).sqrt()
                merged[at] += rate / (1.0 - options.beta1**steps) * first[at] / (root + options.epsilon)
        return Packed(theta.layout, merged), AdaptiveState(first, second, largest, num_steps)

    def _rate(self, staleness: int) -> float:
        """Return eta_t at the largest staleness of a buffer."""
        rate, threshold = self.options.server.learning_rate, self.options.delay_threshold
        return rate if threshold is None or staleness <= threshold else rate / staleness
