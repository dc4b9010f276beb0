"""FedPMR: FedAvg whose clients pull the modality that is behind towards its own class prototypes.

PMR: Fan et al., CVPR 2023.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.rules import Barrier, ServerRule
from interlude.simulator.methods.active_versions import MODULATED_VERSIONS, ActiveVersions
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.prototypes import PROTOTYPE, class_means, enhancement_loss, true_class_scores
from interlude.simulator.methods.waiting import Ready
from interlude.simulator.training.objective import Batch, Context, CrossEntropy, Objective
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.values import Values, by_modality, named


class FedPMROptions(MethodOptions):
    """Options of FedPMR."""

    name: str = "fedpmr"
    server: ServerRule = Barrier()
    weight: NonNegativeFloat = Field(1.0, description="a, weight of the prototype term; published runs use 1 to 3")
    versions: ActiveVersions = Field(
        MODULATED_VERSIONS,
        description="rebalance while the model has fewer versions (rounds at a barrier); null: always",
    )


@dataclass(frozen=True)
class Rebalanced(Objective):
    """Cross-entropy plus the prototype loss of the modality that is behind in the batch."""

    modalities: tuple[str, ...]
    weight: float

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return the client's own prototypes [K, D] of each modality."""
        del context
        features = network.features(parameters, window.only(self.modalities))
        classes = network.num_classes
        means = {m: class_means(z, window.labels, classes, window.mask)[0] for m, z in features.items()}
        return named(PROTOTYPE, means)

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return CE + a sum_m [m is behind] L^m; no modality is behind where all score alike."""
        output = network(parameters, batch.only(self.modalities))
        loss = batch.mean(functional.cross_entropy(output.logits, batch.labels, reduction="none"))
        prototypes = by_modality(context.prepared, PROTOTYPE)
        scores = {
            m: batch.mean(true_class_scores(z.detach(), batch.labels, prototypes[m]))
            for m, z in output.features.items()
        }
        every = torch.stack(list(scores.values()))
        for modality, z in output.features.items():
            is_behind = (scores[modality] == every.min()) & (every.min() < every.max())
            term = batch.mean(enhancement_loss(z, batch.labels, prototypes[modality]))
            loss = loss + self.weight * is_behind * term
        return loss


class FedPMR(Method):
    """FedPMR: prototypical modal rebalance in FedAvg.

    Paper:
        Fan, Xu, Wang, Wang, Guo, PMR: Prototypical Modal Rebalance for Multimodal Learning, CVPR 2023; federated as in
        the code of Fan et al., ECCV 2024 (BMSFed)
    Client:
        before every epoch class means c_j^m of z^m over the local data; per mini-batch
            s_m = mean_i softmax_j(-||z_i^m - c_j^m||) at j = y_i
            L^m = mean_i -log softmax_j(-||z_i^m - c_j^m||) at j = y_i
            L   = CE(fused) + a L^m of the modality m with the least s_m
    Server:
        as FedAvg, or as the server rule merges
    Payload:
        as FedAvg: prototypes never leave the client
    Waits:
        as FedAvg; the class means cost a forward pass over the window before every epoch
    Staleness:
        as the server rule
    Limits:
        * a = 0 (weight: 0) is FedAvg but for the class means' time
        * without the entropy regulariser of PMR's paper, as in its code
    Reconstructed:
        * class means over the samples of the local round; classes that the client does not hold take no part
        * with more than two modalities the one that is furthest behind is pulled
        * the 71 rounds of BMSFed's code (0 to 70) are versions where the server has no rounds
    """

    Options = FedPMROptions
    options: FedPMROptions

    def local_steps(self, client: ClientDay, ready: Ready) -> Sequence[LocalSteps]:
        """Return the steps of each epoch apart, so that each starts with fresh prototypes."""
        objective, per_epoch = self.objective(client, ready), client.num_steps(1)
        return [
            LocalSteps(objective, per_epoch, "joint", first, proximal=self.proximal)
            for first in range(0, client.num_steps(), per_epoch)
        ]

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return what joint training minimises, which is plain cross-entropy once rebalancing is over."""
        if client.version in self.options.versions:
            return Rebalanced(ready.modalities, self.options.weight)
        return CrossEntropy(ready.modalities)
