"""FedAvg: rounds of local training, merged by the sample-weighted mean (McMahan et al., AISTATS 2017)."""

from interlude.simulator.federation.rules import Barrier, ServerRule
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions


class FedAvgOptions(MethodOptions):
    """Options of FedAvg."""

    name: str = "fedavg"
    server: ServerRule = Barrier()


class FedAvg(Method):
    """FedAvg, synchronous.

    Paper:
        McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017
    Client:
        E epochs of SGD on CE(fused logits)
    Server:
        theta_g <- sum_k n_k theta_k,g / sum_k n_k for every group g, over the clients that trained g
    Payload:
        down: all groups of the modalities held; up: the groups trained, and n_k
    Waits:
        clients wait for all their modalities; the server waits for all dispatched clients
    Staleness:
        always 0: every update starts from the model it is merged into
    Limits:
        * waiting: opportunistic adds uni-modal steps in the gaps and nothing else of MBA
        * one client per round: sequential training
    """

    Options = FedAvgOptions
