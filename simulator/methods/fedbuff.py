"""FedBuff: a buffer of updates is merged at once.

Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", AISTATS 2022.

    theta <- theta + eta_g (1/K) sum_{k in buffer} s(tau_k) (theta_k - theta^(v_k)),   s(tau) = (1 + tau)^-1/2

K is the number of updates in the buffer (that trained the group) and divides once; staleness counts versions at the
merge.
"""

from typing import Literal

from interlude.simulator.federation.rules import Buffered, ServerRule
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.methods.card import FormulaCard


class FedBuffOptions(MethodOptions):
    """Options of FedBuff."""

    name: Literal["fedbuff"] = "fedbuff"
    server: ServerRule = Buffered()


class FedBuff(Method):
    """The base method with a buffer."""

    Options = FedBuffOptions
    card = FormulaCard(
        title="FedBuff",
        paper="Nguyen et al., Federated Learning with Buffered Asynchronous Aggregation, AISTATS 2022",
        client="E epochs of SGD on CE(fused logits)",
        server="when K updates are there, theta_g <- theta_g + eta_g / K_g * sum_k s(tau_k) (theta_k,g - theta_g^(v_k))"
        ", K_g = updates in the buffer that trained group g",
        payload="down: all groups of the modalities held; up: the groups trained, and n_k",
        waits="clients wait for all modalities; the server for K updates; a client that returns is replaced at once",
        staleness="tau = versions merged since the client's start version, counted at the merge; "
        "s(tau) = (1 + tau)^-1/2",
        reconstructed=("K_g per group where updates hold different groups",),
        limits=("K = 1, s = 1, eta_g = 1: theta gains every client's full delta",),
    )
