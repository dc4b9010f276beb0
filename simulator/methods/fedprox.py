"""FedProx: FedAvg whose clients are held close to the model they received (Li et al., MLSys 2020)."""

from pydantic import Field, NonNegativeFloat

from interlude.simulator.federation.rules import Barrier, ServerRule
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions


class FedProxOptions(MethodOptions):
    """Options of FedProx."""

    name: str = "fedprox"
    server: ServerRule = Barrier()
    proximal: NonNegativeFloat = Field(1.0, description="mu of (mu/2) ||w - w_received||^2 in joint training")


class FedProx(Method):
    """FedProx.

    Paper:
        Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, Federated Optimization in Heterogeneous Networks, MLSys 2020
    Client:
        E epochs of SGD on CE(fused logits) + (mu/2) ||w - w^t||^2, the squared norm, over the trained groups: gradient
        += mu (w - w^t)
    Server:
        theta_g <- sum_k n_k theta_k,g / sum_k n_k for every group g, over the clients that trained g
    Payload:
        as FedAvg: down all groups of the modalities held; up the groups trained, and n_k
    Waits:
        as FedAvg: clients wait for all their modalities; the server for all dispatched clients
    Staleness:
        always 0 at a barrier; elsewhere as the server rule's paper
    Limits:
        * mu = 0 is FedAvg, number for number
    Reconstructed:
        * the default mu = 1.0, the lower of the two that BMSFed's experiments used; FedProx names no single one
        * no variable local work: every client makes all its steps
    """

    Options = FedProxOptions
