"""FedAvg-p: FedAvg whose clients drop a random modality.

The baseline "random modality dropping" of Fan, Xu, Wang, Huo, Chen, Guo, "Overcome Modal Bias in Multi-modal Federated
Learning via Balanced Modality Selection", ECCV 2024:

    with probability p a client drops one of its modalities, drawn uniformly, for this local round

A dropped modality is neither waited for nor trained; the head sees zeros in its place. p = 0 is FedAvg.
"""

from typing import Literal

from pydantic import Field

from interlude.simulator.federation.client_day import LocalRound, Steps
from interlude.simulator.federation.rules import Barrier, ServerRule
from interlude.simulator.federation.server import Choosing, Server
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.methods.card import FormulaCard
from interlude.simulator.randomness import Stream

_PURPOSE = "modality-dropping"


class ModalityDroppingOptions(MethodOptions):
    """Options of FedAvg-p."""

    name: Literal["fedavg-p"] = "fedavg-p"
    server: ServerRule = Barrier()
    probability: float = Field(0.5, ge=0, le=1, description="p, chance that a client drops one of its modalities")
    fixed: bool = Field(False, description="drawn once per client for the whole run instead of every round")


class ModalityDropping(Method):
    """The base method with clients that look away from a modality."""

    Options = ModalityDroppingOptions
    options: ModalityDroppingOptions
    card = FormulaCard(
        title="FedAvg-p: random modality dropping",
        paper="Fan, Xu, Wang, Huo, Chen, Guo, Overcome Modal Bias in Multi-modal Federated Learning via Balanced "
        "Modality Selection, ECCV 2024 (baseline)",
        client="with probability p drop one random modality of the round; E epochs of SGD on CE of the logits from the "
        "others, zeros in its place",
        server="theta_g <- sum_k n_k theta_k,g / sum_k n_k for every group g, over the clients that trained g",
        payload="down: all groups of the modalities held; up: the groups trained, and n_k",
        waits="clients wait for the modalities they keep; the server waits for all dispatched clients",
        staleness="always 0 at a barrier; elsewhere as the server rule's paper",
        reconstructed=(
            "a client drops before its data are there, so it does not wait for what it drops, but downloads it",
            "fixed: with probability p a client is one that always drops the same modality",
            "a client with one modality keeps it",
        ),
        limits=("p = 0 is FedAvg, number for number",),
    )

    def choose(self, server: Server, num_clients: int) -> Choosing:
        """Take clients uniformly; a fixed choice is the client's role."""
        yield from ()
        taken = server.draw(num_clients)
        if self.options.fixed:
            return {client: float(Stream(server.seed, _PURPOSE, client).generator().random()) for client in taken}
        return taken

    def client_round(self, client: LocalRound) -> Steps:
        """Spend the round without the dropped modality, if any."""
        uniform = client.uniform(_PURPOSE) if client.role is None else client.role
        dropped = self.dropped(uniform, client.modalities)
        client.arrivals_s = {m: at_s for m, at_s in client.arrivals_s.items() if m != dropped}
        yield from super().client_round(client)

    def dropped(self, uniform: float, modalities: tuple[str, ...]) -> str | None:
        """Return the modality that a number in [0, 1) drops: below p, each an equal part of [0, p)."""
        probability = self.options.probability
        if len(modalities) < 2 or uniform >= probability:
            return None
        return modalities[int(uniform / probability * len(modalities))]
