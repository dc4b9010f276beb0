"""FedNH: class prototypes on a sphere are the head, and no gradient moves them (Dai et al., AAAI 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor
from torch.nn import functional

from interlude.models.groups import HEAD, part_of
from interlude.models.inputs import Inputs
from interlude.models.network import Network, Parameters
from interlude.models.prototype_head import PrototypeNetwork, prototype_name
from interlude.models.spec import ModelSpec
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.rules import Barrier, ServerRule
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.prototypes import CLASS_COUNT, PROTOTYPE, class_means
from interlude.simulator.methods.waiting import Ready
from interlude.simulator.training.merge import ClientUpdate, num_holders
from interlude.simulator.training.objective import Batch, Context, CrossEntropy, Noise, Objective
from interlude.simulator.training.values import Named, Values, named

_NEXT_TO_NOTHING = 1e-6


class FedNHOptions(MethodOptions):
    """Options of FedNH."""

    name: str = "fednh"
    waiting: Literal["all", "first"] = Field(
        "all", description="what a client does until its modalities are there; steps in a gap would train prototypes"
    )
    server: ServerRule = Barrier()
    smoothing: float = Field(0.9, ge=0, le=1, description="rho, the share of a prototype that stays in a merge")
    scale: PositiveFloat = Field(20.0, description="s, factor on the cosines, at the start")
    learns_scale: bool = Field(True, description="whether s is trained; the paper's runs with a fixed one have 30")
    most_gradient: PositiveFloat = Field(10.0, description="norm at which the gradient of a mini-batch is clipped")
    server_learning_rate: PositiveFloat = Field(1.0, description="lr_s, step along the mean of clients' changes")


@dataclass(frozen=True)
class BesidePrototypes(CrossEntropy):
    """Cross-entropy with the prototypes standing still; reports the class means of directions."""

    learns_scale: bool
    most_gradient: float

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return the encoders, and the scale where it is trained."""
        trained = network.shared_groups if self.learns_scale else ()
        return tuple(g for g in network.groups_of(self.modalities) if part_of(g) != HEAD or g in trained)

    def modulate(
        self,
        network: Network,
        gradients: Parameters,
        parameters: Parameters,
        batch: Batch,
        context: Context,
        noise: Noise,
    ) -> Parameters:
        """Return the gradients, shortened together to the largest norm that is allowed."""
        del network, parameters, batch, context, noise
        norm = torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum().sqrt()
        factor = (self.most_gradient / (norm + _NEXT_TO_NOTHING)).clamp(max=1.0)
        return {name: factor * gradient for name, gradient in gradients.items()}

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return mu^m [K, D] of each modality, rows of length 1 or 0, and the class counts [K]."""
        del context
        features = network.features(parameters, window.only(self.modalities))
        means: dict[str, Tensor] = {}
        for modality, z in features.items():
            directions = functional.normalize(z, dim=1)
            mean, counts = class_means(directions, window.labels, network.num_classes, window.mask)
            means[modality] = functional.normalize(mean, dim=1)
        return {**named(PROTOTYPE, means), CLASS_COUNT: counts}


def smoothed(prototypes: Tensor, local: Sequence[tuple[Tensor, Tensor]], smoothing: float) -> Tensor:
    """Return normalise(rho w + (1 - rho) normalise(sum_k n_k mu_k)) by class, w itself where no client holds the class.

    Args:
        prototypes: w [K, D].
        local: mu_k [K, D] and class counts n_k [K] of each client.
        smoothing: rho.
    """
    means = functional.normalize(torch.stack([counts[:, None] * mu for mu, counts in local]).sum(dim=0), dim=1)
    is_held = torch.stack([counts for _, counts in local]).sum(dim=0) > 0.0
    mixed = functional.normalize(smoothing * prototypes + (1.0 - smoothing) * means, dim=1)
    return torch.where(is_held[:, None], mixed, prototypes)


class FedNH(Method):
    """FedNH: non-parametric heads.

    The head's prototypes are no parameters that a gradient trains: w_c = [w_c^1; ..; w_c^M] / sqrt(M) of class c, each
    w_c^m of length 1, orthogonal at the start. hat: scaled to length 1.

    Paper:
        Dai, Chen, Li, Heinecke, Sun, Xu, Tackling Data Heterogeneity in Federated Learning with Class Prototypes, AAAI
        2023
    Client:
        SGD on CE of logits s <z, w_c>, z = [z_hat^1; ..; z_hat^M] / sqrt(modalities given), the gradient of a
        mini-batch clipped at norm 10; encoders and s are trained; afterwards, by class, over its samples,
        mu_c^m = hat(mean_i z_hat_i^m)
    Server:
        x <- x + lr_s / K_g sum_k (x_k - x) for encoders and s, K_g the clients that trained g: a plain mean
        P_c^m = hat(sum_k n_kc mu_kc^m), w_c^m <- hat(rho w_c^m + (1 - rho) P_c^m); unchanged where no client holds c
    Payload:
        down: encoders and w^m of the modalities held, s; up: encoders and s, [K, D] mu^m of the modalities trained, K
        class counts, n_k; no head weights go up
    Waits:
        as FedAvg; class means cost a forward pass over the window
    Staleness:
        always 0 at a barrier; buffered: s(tau) as in FedBuff; on_arrival: as FedAsync, without lr_s
    Limits:
        * smoothing: 1 leaves the prototypes where they start, the paper's FedUH
        * the scenario's fusion head is not used: accuracies are those of prototypes
    Reconstructed:
        * several modalities are one such head on the concatenated features; features and prototypes are scaled per
          modality before, so that no modality's norm dominates and prototypes of one that no client trained stay as
          they are; with one modality this is the paper's
        * a missing modality is zeros in z, and z again of length 1
        * the start of s: 20, that of the published code's ResNet
        * class means over the samples of the local round
        * smoothing acts once per merge: without rounds prototypes forget faster, per update of every client
        * the variant that weighs class means by confidence is left out: the published default is without
    """

    Options = FedNHOptions
    options: FedNHOptions

    def network(self, spec: ModelSpec, inputs: Inputs, num_classes: int) -> Network:
        """Return the network with prototypes for a head."""
        return PrototypeNetwork(spec, inputs, num_classes, self.options.scale)

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return cross-entropy beside prototypes that stand still."""
        del client
        return BesidePrototypes(ready.modalities, self.options.learns_scale, self.options.most_gradient)

    def merge(self, model: Parameters, memory: None, updates: Sequence[ClientUpdate]) -> Parameters:
        """Return the next model: encoders and scale, and the prototypes of what was reported."""
        del memory
        rule = self.options.server

        def share(position: int, group: str) -> float:
            plain = self.options.server_learning_rate / num_holders(updates, group)
            return plain * rule.freshness(updates[position])

        merged = dict(rule.merge(model, updates, shares=share))
        reports = [update.report for update in updates]
        for modality in {key.modality for report in reports for key in report if key.name == PROTOTYPE}:
            key, name = Named(PROTOTYPE, modality), prototype_name(modality)
            local = [(report[key], report[CLASS_COUNT]) for report in reports if key in report]
            merged[name] = smoothed(model[name], local, self.options.smoothing)
        return merged
