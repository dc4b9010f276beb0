"""FedBuff: a buffer of updates is merged at once (Nguyen et al., AISTATS 2022)."""

from interlude.simulator.federation.rules import Buffered, ServerRule
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions


class FedBuffOptions(MethodOptions):
    """Options of FedBuff."""

    name: str = "fedbuff"
    server: ServerRule = Buffered()


class FedBuff(Method):
    """FedBuff.

    Paper:
        Nguyen et al., Federated Learning with Buffered Asynchronous Aggregation, AISTATS 2022
    Client:
        E epochs of SGD on CE(fused logits)
    Server:
        when K updates are there, theta_g <- theta_g + eta_g / K_g * sum_k s(tau_k) (theta_k,g - theta_g^(v_k)), K_g =
        updates in the buffer that trained group g, which divides once
    Payload:
        down: all groups of the modalities held; up: the groups trained, and n_k
    Waits:
        clients wait for all modalities; the server for K updates; a client that returns is replaced at once
    Staleness:
        tau = versions merged since the client's start version, counted at the merge; s(tau) = (1 + tau)^-1/2
    Limits:
        * K = 1, s = 1, eta_g = 1: theta gains every client's full delta
    Reconstructed:
        * K_g per group where updates hold different groups
    """

    Options = FedBuffOptions
