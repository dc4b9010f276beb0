"""FedProto: clients pull their features towards the class means of all clients (Tan et al., AAAI 2022)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import Field, NonNegativeFloat
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import NO_WEIGHTS, REPORT_ONLY, Payload
from interlude.simulator.federation.rules import Barrier, ServerRule
from interlude.simulator.methods.active_versions import MODULATED_VERSIONS, ActiveVersions
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.prototypes import (
    PROTOTYPE,
    enhancement_loss,
    global_prototypes,
    no_prototypes,
    regulariser,
    reported_means,
)
from interlude.simulator.methods.waiting import Ready
from interlude.simulator.training.merge import ClientUpdate, weighted_mean
from interlude.simulator.training.objective import Batch, Context, Objective
from interlude.simulator.training.values import Named, Values, by_modality, named

Form = Literal["original", "balanced"]


class FedProtoOptions(MethodOptions):
    """Options of FedProto."""

    name: str = "fedproto"
    server: ServerRule = Barrier()
    form: Form = Field("original", description="original: prototypes travel, no weights; balanced: as BMSFed's code")
    weight: NonNegativeFloat = Field(1.0, description="lambda, weight of the prototype term")
    versions: ActiveVersions = Field(
        MODULATED_VERSIONS,
        description="balanced: lambda is 0 once the model has so many versions (rounds at a barrier); null: never",
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
        received = by_modality(context.broadcast, PROTOTYPE)
        return named(PROTOTYPE, {m: received[m].to(device) for m in self.modalities})

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return CE + lambda sum_m of the form's term."""
        output = network(parameters, batch.only(self.modalities))
        loss = batch.mean(functional.cross_entropy(output.logits, batch.labels, reduction="none"))
        term = regulariser if self.form == "original" else enhancement_loss
        for modality, z in output.features.items():
            loss = loss + self.weight * batch.mean(term(z, batch.labels, context.prepared[Named(PROTOTYPE, modality)]))
        return loss

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return each modality's prototypes [K, D] and the class counts [K]."""
        del context
        return reported_means(network, parameters, window, self.modalities)


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
    """FedProto: federated prototype learning.

    Carried to several modalities by a prototype of each class in each modality; c_j^m is the global prototype.

    Paper:
        Tan, Long, Liu, Zhou, Lu, Jiang, Zhang, FedProto: Federated Prototype Learning across Heterogeneous Clients,
        AAAI 2022; balanced: the baseline in the code of Fan et al., ECCV 2024 (BMSFed)
    Client:
        on its own model (original) or the received one (balanced); then class means of z^m
            original  CE(fused) + lambda sum_m mean_i ||z_i^m - c_{y_i}^m||^2 / D
            balanced  CE(fused) + lambda sum_m mean_i -log softmax_j(-||z_i^m - c_j^m||) at j = y_i
    Server:
        c_j^m <- sum_k n_kj c_kj^m / sum_k n_kj over the updates merged, unchanged where no client holds j; original: no
        model is merged; balanced: as the server rule merges
    Payload:
        original: [K,D] prototypes of all modalities down, of the modalities trained up, K class counts, n_k, no
        weights; balanced: the groups of the modalities held as well, both ways
    Waits:
        as FedAvg
    Staleness:
        original: none, a client's own model is never stale; balanced: as the server rule
    Limits:
        * original is evaluated on the n_k-weighted mean of the clients' own models, per group over those that trained
          it: such a mean was never trained, so that its accuracy says little about the clients' own
        * original: a round whose upload breaks off or comes too late is lost to the client's own model too
        * balanced with lambda (weight) = 0 is FedAvg but for the prototypes' bytes; original with weight 0 is local
          training
        * lambda = 1 is the default of BMSFed's code; its 2 was for AVE at a learning rate of 1e-3, and at 1e-2 with
          momentum 0.9 prototypes and features chase each other outward until the run diverges
    Reconstructed:
        * prototypes of each modality, and lambda alike for all of them; class means over the local round's samples
        * a class that no merged update holds keeps its prototype; one that no client ever held takes no part
        * under on_arrival prototypes are mixed like FedAsync's model, (1 - alpha s) c + alpha s c_k
    """

    Options = FedProtoOptions
    options: FedProtoOptions

    def downloaded_groups(self, client: ClientDay) -> tuple[str, ...] | None:
        """Return no groups in the original form, in which no weights travel."""
        return NO_WEIGHTS if self.options.form == "original" else super().downloaded_groups(client)

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return what joint training minimises; the balanced form's term ends with its last version."""
        form = self.options.form
        is_over = form == "balanced" and client.version not in self.options.versions
        return TowardsPrototypes(ready.modalities, form, 0.0 if is_over else self.options.weight)

    def payload(self, client: ClientDay) -> Payload:
        """Return prototypes and class counts alone in the original form."""
        return REPORT_ONLY if self.options.form == "original" else super().payload(client)

    def initial_memory(self, network: Network, num_clients: int) -> Prototypes:
        """Return a memory without any report."""
        del num_clients
        return Prototypes(no_prototypes(network))

    def model_for(self, model: Parameters, memory: Prototypes, client: int) -> Parameters:
        """Return the client's own model in the original form."""
        if self.options.form == "balanced" or memory.initial is None:
            return model
        own = memory.personal.get(client)
        return memory.initial if own is None else own.parameters

    def broadcast(self, memory: Prototypes) -> Values:
        """Return the global prototypes."""
        return named(PROTOTYPE, memory.prototypes)

    def advance(
        self, model: Parameters, memory: Prototypes, updates: Sequence[ClientUpdate]
    ) -> tuple[Parameters, Prototypes]:
        """Return the next model, in the original form the mean of the clients' own, and the next prototypes."""
        prototypes = global_prototypes(self.options.server, memory.prototypes, updates)
        if self.options.form == "balanced":
            return self.merge(model, memory, updates), Prototypes(prototypes)
        initial = model if memory.initial is None else memory.initial
        personal = dict(memory.personal)
        for update in updates:
            before = personal.get(update.client)
            groups = () if before is None else before.groups
            personal[update.client] = replace(update, groups=tuple(dict.fromkeys((*groups, *update.groups))))
        return weighted_mean(initial, list(personal.values())), Prototypes(prototypes, initial, personal)
