"""FedAsync: every update is mixed into the global model the moment it arrives.

Xie, Koyejo, Gupta, "Asynchronous Federated Optimization", 2019.

    client   minimise f(w) + (rho/2) ||w - theta^v||^2, starting from the received version v
    server   theta <- (1 - alpha_t) theta + alpha_t theta_k,   alpha_t = alpha s(tau),   tau = versions since v

Applied to several modalities in two ways: waiting for all (``waiting: all``), or training at once on what has arrived
with the others zero-filled (``waiting: first``). Only trained groups are sent and mixed.
"""

from typing import Literal

from pydantic import Field, NonNegativeFloat

from interlude.simulator.federation.rules import OnArrival, ServerRule
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.methods.card import FormulaCard


class FedAsyncOptions(MethodOptions):
    """Options of FedAsync."""

    name: Literal["fedasync"] = "fedasync"
    server: ServerRule = OnArrival()
    proximal: NonNegativeFloat = Field(0.005, description="rho, weight of the proximal term")


class FedAsync(Method):
    """The base method on arrival."""

    Options = FedAsyncOptions
    card = FormulaCard(
        title="FedAsync",
        paper="Xie, Koyejo, Gupta, Asynchronous Federated Optimization, arXiv 1903.03934, 2019",
        client="E epochs of SGD on CE(fused logits) + (rho/2) ||w - theta^v||^2",
        server="on each arrival theta_g <- (1 - a) theta_g + a theta_k,g for the groups g trained, a = alpha s(tau)",
        payload="down: all groups of the modalities held; up: the groups trained, and n_k",
        waits="clients wait for all modalities (waiting: all) or the first (waiting: first); the server for nobody",
        staleness="tau = versions merged since the client's start version, counted at the merge; s is constant, "
        "polynomial (1 + tau)^-a, or hinge 1/(a (tau - b) + 1) beyond b",
        reconstructed=("waiting: first on several modalities: zero-filled training, only trained groups mixed",),
        limits=("concurrency 1 and alpha 1: sequential training",),
    )
