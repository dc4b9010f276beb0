"""FedAvg: rounds of local training, merged by the sample-weighted mean.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017.

    theta <- sum_k n_k theta_k / sum_k n_k      per parameter group, over the clients that trained it

With one client per round this is sequential training.
"""

from typing import Literal

from interlude.simulator.federation.rules import Barrier, ServerRule
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.methods.card import FormulaCard


class FedAvgOptions(MethodOptions):
    """Options of FedAvg."""

    name: Literal["fedavg"] = "fedavg"
    server: ServerRule = Barrier()


class FedAvg(Method):
    """The base method at a barrier."""

    Options = FedAvgOptions
    card = FormulaCard(
        title="FedAvg, synchronous",
        paper="McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017",
        client="E epochs of SGD on CE(fused logits)",
        server="theta_g <- sum_k n_k theta_k,g / sum_k n_k for every group g, over the clients that trained g",
        payload="down: all groups of the modalities held; up: the groups trained, and n_k",
        waits="clients wait for all their modalities; the server waits for all dispatched clients",
        staleness="always 0: every update starts from the model it is merged into",
        limits=("waiting: opportunistic adds uni-modal steps in the gaps and nothing else of MBA",),
    )
