"""FedPMR: FedAvg whose clients pull the modality that is behind towards its own class prototypes.

Fan, Xu, Wang, Wang, Guo, "PMR: Prototypical Modal Rebalance for Multimodal Learning", CVPR 2023, run at every client as
the code of BMSFed (Fan et al., ECCV 2024) does. c_j^m are the client's own class means, new for every epoch:

    s_m = mean over the batch of softmax_j(-||z_i^m - c_j^m||) at j = y_i
    L   = CE(fused) + a L^m of the modality with the least s_m,   L^m = mean_i -log softmax_j(-||z_i^m - c_j^m||) at y_i

Prototypes never leave the client, so the server is FedAvg's. With a = 0 it is FedAvg.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import LocalRound, Steps
from interlude.simulator.federation.rules import Barrier, ServerRule
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.methods.card import FormulaCard
from interlude.simulator.methods.waiting import WAITING, Ready
from interlude.simulator.training.objective import Batch, Context, Objective, Values, proximal
from interlude.simulator.training.prototypes import class_means, enhancement_loss, true_class_scores
from interlude.simulator.training.task import LocalSteps


class FedPMROptions(MethodOptions):
    """Options of FedPMR."""

    name: Literal["fedpmr"] = "fedpmr"
    server: ServerRule = Barrier()
    weight: NonNegativeFloat = Field(1.0, description="a, weight of the prototype term; published runs use 1 to 3")
    versions: PositiveInt | None = Field(
        70, description="rebalance while the model has fewer versions (rounds at a barrier); null: always"
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
        return {"prototype": {m: class_means(z, window.labels, classes, window.mask)[0] for m, z in features.items()}}

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return CE + a sum_m [m is behind] L^m; nobody is behind where all score alike."""
        output = network(parameters, batch.only(self.modalities))
        loss = batch.mean(functional.cross_entropy(output.logits, batch.labels, reduction="none"))
        prototypes = context.prepared["prototype"]
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
    """FedAvg with prototypical modal rebalance at the clients."""

    Options = FedPMROptions
    options: FedPMROptions
    card = FormulaCard(
        title="FedPMR: prototypical modal rebalance in FedAvg",
        paper="Fan, Xu, Wang, Wang, Guo, PMR: Prototypical Modal Rebalance for Multimodal Learning, CVPR 2023; "
        "federated as in the code of Fan et al., ECCV 2024 (BMSFed)",
        client="before every epoch class means c_j^m of z^m over the local data; CE(fused) + a L^m of the modality m "
        "with the least s_m in the batch, s_m = mean_i softmax_j(-||z_i^m - c_j^m||) at y_i, L^m = mean_i -log of it",
        server="as FedAvg, or as the server rule merges",
        payload="as FedAvg: prototypes never leave the client",
        waits="as FedAvg; the class means cost a forward pass over the window before every epoch",
        staleness="as the server rule",
        reconstructed=(
            "class means over the samples of the local round; classes that the client does not hold take no part",
            "with more than two modalities the one that is furthest behind is pulled",
        ),
        limits=(
            "weight: 0 is FedAvg but for the class means' time",
            "without the entropy regulariser of PMR's paper, as in its code",
        ),
    )

    def client_round(self, client: LocalRound) -> Steps:
        """Spend a local round as the base does, in one stint per epoch, so that each starts with fresh prototypes."""
        if client.trains_apart:
            yield from super().client_round(client)
            return
        model = yield from client.download()
        ready = yield from WAITING[self.options.waiting](client, model, self.options.unimodal_epochs)
        objective, steps = self.objective_at(client, ready), client.num_steps(1)
        epochs = [LocalSteps(objective, steps, "joint", first) for first in range(0, client.num_steps(), steps)]
        trained = yield from client.train(*epochs, start=ready.start)
        yield from client.upload(trained)

    def objective_at(self, client: LocalRound, ready: Ready) -> Objective:
        """Return what joint training minimises, which is plain cross-entropy once rebalancing is over."""
        if self.options.versions is not None and client.version >= self.options.versions:
            return self.objective(ready)
        return proximal(Rebalanced(ready.modalities, self.options.weight), self.options.proximal)
