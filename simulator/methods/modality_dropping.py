"""FedAvg-p: FedAvg whose clients drop a random modality (a baseline of Fan et al., ECCV 2024)."""

from pydantic import Field

from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import Steps
from interlude.simulator.federation.rules import Barrier, ServerRule
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions

_PURPOSE = "modality-dropping"


class ModalityDroppingOptions(MethodOptions):
    """Options of FedAvg-p."""

    name: str = "fedavg-p"
    server: ServerRule = Barrier()
    probability: float = Field(0.5, ge=0, le=1, description="p, chance that a client drops one of its modalities")
    fixed: bool = Field(False, description="drawn once per client for the whole run instead of every round")


class ModalityDropping(Method):
    """FedAvg-p: random modality dropping.

    Paper:
        Fan, Xu, Wang, Huo, Chen, Guo, Overcome Modal Bias in Multi-modal Federated Learning via Balanced Modality
        Selection, ECCV 2024 (its baseline "random modality dropping")
    Client:
        with probability p drop one modality, drawn uniformly, for this local round; E epochs of SGD on CE of the logits
        from the others, zeros in its place
    Server:
        theta_g <- sum_k n_k theta_k,g / sum_k n_k for every group g, over the clients that trained g
    Payload:
        down: all groups of the modalities held; up: the groups trained, and n_k
    Waits:
        clients wait for the modalities they keep; the server waits for all dispatched clients
    Staleness:
        always 0 at a barrier; elsewhere as the server rule's paper
    Limits:
        * p = 0 is FedAvg, number for number
    Reconstructed:
        * a client drops before its data are there, so it does not wait for what it drops, but downloads it
        * fixed: with probability p a client is one that always drops the same modality
        * a client with one modality keeps it
    """

    Options = ModalityDroppingOptions
    options: ModalityDroppingOptions

    def client_round(self, client: ClientDay) -> Steps:
        """Spend the round without the dropped modality, if any."""
        uniform = client.uniform(_PURPOSE, is_fixed=self.options.fixed)
        yield from super().client_round(client.without(self.dropped(uniform, client.modalities)))

    def dropped(self, uniform: float, modalities: tuple[str, ...]) -> str | None:
        """Return the modality that a number in [0, 1) drops: below p, each an equal part of [0, p)."""
        probability = self.options.probability
        if len(modalities) < 2 or uniform >= probability:
            return None
        return modalities[int(uniform / probability * len(modalities))]
