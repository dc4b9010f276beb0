"""FedProto: clients pull their features towards the class means of all clients.

Tan, Long, Liu, Zhou, Lu, Jiang, Zhang, "FedProto: Federated Prototype Learning across Heterogeneous Clients", AAAI
2022, carried to several modalities by a prototype of each class in each modality. c_j^m is the global prototype:

    original   CE(fused) + lambda sum_m mean_i ||z_i^m - c_{y_i}^m||^2 / D     only prototypes travel, no weights
    balanced   CE(fused) + lambda sum_m mean_i -log softmax_j(-||z_i^m - c_j^m||) at j = y_i     and FedAvg
    server     c_j^m <- sum_k n_kj c_kj^m / sum_k n_kj

"balanced" is the baseline of BMSFed's code (Fan et al., ECCV 2024). There lambda = 0 is FedAvg; in the original, local
training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import LocalRound, Steps
from interlude.simulator.federation.rules import Barrier, Buffered, OnArrival, ServerRule
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.methods.card import FormulaCard
from interlude.simulator.methods.waiting import WAITING, Ready
from interlude.simulator.training.evaluation import FUSED
from interlude.simulator.training.merge import ClientUpdate, weighted_mean
from interlude.simulator.training.objective import Batch, Context, Objective, Values, proximal
from interlude.simulator.training.prototypes import (
    class_means,
    enhancement_loss,
    merge_prototypes,
    mix_prototypes,
    no_prototypes,
    regulariser,
)
from interlude.simulator.training.task import LocalSteps

Form = Literal["original", "balanced"]


class FedProtoOptions(MethodOptions):
    """Options of FedProto."""

    name: Literal["fedproto"] = "fedproto"
    server: ServerRule = Barrier()
    form: Form = Field("original", description="original: prototypes travel, no weights; balanced: as BMSFed's code")
    weight: NonNegativeFloat = Field(1.0, description="lambda, weight of the prototype term")
    versions: PositiveInt | None = Field(
        70, description="balanced: lambda is 0 once the model has so many versions (rounds at a barrier); null: never"
    )


@dataclass(frozen=True)
class TowardsPrototypes(Objective):
    """Cross-entropy plus a term per modality that pulls features towards the global prototypes."""

    modalities: tuple[str, ...]
    form: Form
    weight: float

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return the global prototypes [K, D] where the features will be."""
        del network, parameters
        device = window.labels.device
        return {"prototype": {m: context.broadcast["prototype"][m].to(device) for m in self.modalities}}

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return CE + lambda sum_m of the form's term."""
        output = network(parameters, batch.only(self.modalities))
        loss = batch.mean(functional.cross_entropy(output.logits, batch.labels, reduction="none"))
        term = regulariser if self.form == "original" else enhancement_loss
        for modality, z in output.features.items():
            loss = loss + self.weight * batch.mean(term(z, batch.labels, context.prepared["prototype"][modality]))
        return loss

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return each modality's prototypes [K, D] and the class counts [K]."""
        del context
        features = network.features(parameters, window.only(self.modalities))
        means = {m: class_means(z, window.labels, network.num_classes, window.mask) for m, z in features.items()}
        return {
            "prototype": {m: mean for m, (mean, _) in means.items()},
            "class_count": {FUSED: means[self.modalities[0]][1]},
        }


def global_prototypes(
    rule: Barrier | OnArrival | Buffered, previous: Mapping[str, Tensor], updates: Sequence[ClientUpdate]
) -> dict[str, Tensor]:
    """Return the global prototypes [K, D] of each modality after updates that report theirs.

    Several updates are averaged by class counts; on arrival the one there is is mixed in, as the model is.
    """
    merged = dict(previous)
    for modality in previous:
        local = [
            (update.report["prototype"][modality], update.report["class_count"][FUSED])
            for update in updates
            if modality in update.report.get("prototype", {})
        ]
        if local and isinstance(rule, OnArrival):
            alpha = rule.mixing * rule.staleness.weight(updates[0].staleness)
            merged[modality] = mix_prototypes(previous[modality], local[0], alpha)
        elif local:
            merged[modality] = merge_prototypes(previous[modality], local)
    return merged


@dataclass(frozen=True)
class Prototypes:
    """The server's prototypes, and what stands for the clients' own models."""

    prototypes: Mapping[str, Tensor]
    """[K, D] of each modality."""
    initial: Parameters | None = None
    """Version 0, from which every client's own model starts; None until the first merge."""
    personal: Mapping[int, ClientUpdate] = field(default_factory=dict)
    """Each client's own model after its last round."""


class FedProto(Method):
    """Prototypes instead of weights, or beside them."""

    Options = FedProtoOptions
    options: FedProtoOptions
    card = FormulaCard(
        title="FedProto: federated prototype learning",
        paper="Tan, Long, Liu, Zhou, Lu, Jiang, Zhang, FedProto: Federated Prototype Learning across Heterogeneous "
        "Clients, AAAI 2022; balanced: the baseline in the code of Fan et al., ECCV 2024 (BMSFed)",
        client="original: own model, CE(fused) + lambda sum_m mean_i ||z_i^m - c_{y_i}^m||^2 / D; balanced: received "
        "model, CE(fused) + lambda sum_m mean_i -log softmax_j(-||z_i^m - c_j^m||) at y_i; then class means of z^m",
        server="c_j^m <- sum_k n_kj c_kj^m / sum_k n_kj over the updates merged, unchanged where nobody holds j; "
        "original: no model is merged; balanced: as the server rule merges",
        payload="original: [K,D] prototypes of all modalities down, of the modalities trained up, K class counts, n_k; "
        "balanced: the groups of the modalities held as well, both ways",
        waits="as FedAvg",
        staleness="original: none, a client's own model is never stale; balanced: as the server rule",
        reconstructed=(
            "prototypes of each modality, and lambda alike for all of them; class means over the local round's samples",
            "a class that no merged update holds keeps its prototype; one that nobody ever held takes no part",
            "under on_arrival prototypes are mixed like FedAsync's model, (1 - alpha s) c + alpha s c_k",
        ),
        limits=(
            "original is evaluated on the n_k-weighted mean of the clients' own models, per group over those that "
            "trained it: such a mean was never trained, so that its accuracy says little about the clients' own",
            "original: a round whose upload breaks off or comes too late is lost to the client's own model too",
            "balanced with weight 0 is FedAvg but for the prototypes' bytes; original with weight 0 is local training",
        ),
    )

    def client_round(self, client: LocalRound) -> Steps:
        """Spend a local round; in the original form no weights move."""
        if self.options.form == "balanced":
            yield from super().client_round(client)
            return
        own_model = yield from client.download(())
        ready = yield from WAITING[self.options.waiting](client, own_model, self.options.unimodal_epochs)
        joint = LocalSteps(self.objective_at(client, ready), client.num_steps(), "joint")
        trained = yield from client.train(joint, start=ready.start)
        yield from client.upload(trained, group_bytes=0)

    def objective_at(self, client: LocalRound, ready: Ready) -> Objective:
        """Return what joint training minimises; the balanced form's term ends with its last version."""
        form, last = self.options.form, self.options.versions
        is_over = form == "balanced" and last is not None and client.version >= last
        inner = TowardsPrototypes(ready.modalities, form, 0.0 if is_over else self.options.weight)
        return proximal(inner, self.options.proximal)

    def model_for(self, model: Parameters, memory: Prototypes, client: int) -> Parameters:
        """Return the client's own model in the original form."""
        if self.options.form == "balanced" or memory.initial is None:
            return model
        own = memory.personal.get(client)
        return memory.initial if own is None else own.parameters

    def initial_memory(self, network: Network, num_clients: int) -> Prototypes:
        """Return a memory without any report."""
        del num_clients
        return Prototypes(no_prototypes(network))

    def broadcast(self, memory: Prototypes) -> Values:
        """Return the global prototypes."""
        return {"prototype": memory.prototypes}

    def merge(
        self, model: Parameters, memory: Prototypes, updates: Sequence[ClientUpdate]
    ) -> tuple[Parameters, Prototypes]:
        """Return the next model, in the original form the mean of the clients' own, and the next prototypes."""
        prototypes = global_prototypes(self.options.server, memory.prototypes, updates)
        if self.options.form == "balanced":
            merged, _ = super().merge(model, memory, updates)
            return merged, Prototypes(prototypes)
        initial = model if memory.initial is None else memory.initial
        personal = dict(memory.personal)
        for update in updates:
            before = personal.get(update.client)
            groups = () if before is None else before.groups
            personal[update.client] = replace(update, groups=tuple(dict.fromkeys((*groups, *update.groups))))
        return weighted_mean(initial, list(personal.values())), Prototypes(prototypes, initial, personal)
