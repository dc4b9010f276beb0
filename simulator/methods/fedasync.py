"""FedAsync: every update is mixed into the global model the moment it arrives (Xie et al., 2019)."""

from pydantic import Field, NonNegativeFloat

from interlude.simulator.federation.rules import OnArrival, ServerRule
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions


class FedAsyncOptions(MethodOptions):
    """Options of FedAsync."""

    name: str = "fedasync"
    server: ServerRule = OnArrival()
    proximal: NonNegativeFloat = Field(0.005, description="rho, weight of the proximal term")


class FedAsync(Method):
    """FedAsync.

    Applied to several modalities in two ways: waiting for all (``waiting: all``), or training at once on what has
    arrived with the others zero-filled (``waiting: first``).

    Paper:
        Xie, Koyejo, Gupta, Asynchronous Federated Optimization, arXiv 1903.03934, 2019
    Client:
        E epochs of SGD on CE(fused logits) + (rho/2) ||w - theta^v||^2, starting from the received version v
    Server:
        on each arrival theta_g <- (1 - a) theta_g + a theta_k,g for the groups g trained, a = alpha s(tau)
    Payload:
        down: all groups of the modalities held; up: the groups trained, and n_k
    Waits:
        clients wait for all modalities (waiting: all) or the first (waiting: first); the server for no client
    Staleness:
        tau = versions merged since the client's start version, counted at the merge; s is constant, polynomial (1 +
        tau)^-a, or hinge 1/(a (tau - b) + 1) beyond b
    Limits:
        * concurrency 1 and alpha 1: sequential training
    Reconstructed:
        * waiting: first on several modalities: zero-filled training, only trained groups mixed
    """

    Options = FedAsyncOptions
