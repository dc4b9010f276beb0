"""AGM: gradients are modulated by how each modality does compared with its own past (Li et al., ICCV 2023)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor
from torch.nn import functional

from interlude.models.groups import HEAD, part_of
from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import NO_REPORT, Payload
from interlude.simulator.federation.rules import Barrier, ServerRule
from interlude.simulator.methods.active_versions import ActiveVersions
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.coalitions import coalitions, shapley_values
from interlude.simulator.methods.kept import Kept
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.waiting import Ready
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Batch, Context, CrossEntropy, Noise, Objective
from interlude.simulator.training.values import Values, by_modality, named

Sign = Literal["official", "bmsfed"]

_SCORE = "score"
_COUNT = "score_count"
_LEAST_PROBABILITY = 1e-8
_MOST_LEAD = 10.0
"""Largest R_m - rho_m that is taken as it is."""


class AGMOptions(MethodOptions):
    """Options of AGM."""

    name: str = "agm"
    server: ServerRule = Barrier()
    alpha: NonNegativeFloat = Field(2.5, description="strength of the modulation")
    sign: Sign = Field(
        "official", description="official: a modality that does better than usual is slowed; bmsfed: it is sped up"
    )
    most_gradient: PositiveFloat | None = Field(
        1.0, description="where an entry of the head's gradient is above it, all is clipped to this norm; null: never"
    )
    versions: ActiveVersions = Field(
        ActiveVersions(None),
        description="modulate while the model has fewer versions (rounds at a barrier; BMSFed: 71); null: always",
    )


@dataclass(frozen=True)
class Modulated(CrossEntropy):
    """Cross-entropy of the fused logits, the gradient that reaches each modality's share of them scaled by k_m."""

    alpha: float
    sign: Sign
    most_gradient: float | None = None

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return S_m and how many mini-batches it is the mean of, as the client's last local round left them."""
        del network, parameters
        own = {name: by_modality(context.broadcast, name) for name in (_SCORE, _COUNT)}
        device = window.labels.device
        scores, counts = ({m: own[name][m].to(device) for m in self.modalities} for name in (_SCORE, _COUNT))
        return {**named(_SCORE, scores), **named(_COUNT, counts)}

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return CE of sum_m o_m, whose value no k_m changes, only its gradient."""
        logits, shares = self._shares(network, parameters, batch)
        usual = by_modality(context.prepared, _SCORE)
        ks = coefficients(self._scores(shares, batch), usual, self.alpha, self.sign)
        for modality, share in shares.items():
            logits = logits + (ks[modality] - 1.0) * (share - share.detach())
        return batch.mean(functional.cross_entropy(logits, batch.labels, reduction="none"))

    def modulate(
        self,
        network: Network,
        gradients: Parameters,
        parameters: Parameters,
        batch: Batch,
        context: Context,
        noise: Noise,
    ) -> Parameters:
        """Return the gradients, scaled to the norm that is allowed where the head's are too large."""
        del network, parameters, batch, context, noise
        if self.most_gradient is None:
            return gradients
        norm = torch.stack([g.square().sum() for g in gradients.values()]).sum().sqrt()
        largest = torch.stack([g.abs().max() for name, g in gradients.items() if part_of(name) == HEAD]).max()
        factor = torch.where(largest > self.most_gradient, (self.most_gradient / norm).clamp(max=1.0), 1.0)
        return {name: factor * g for name, g in gradients.items()}

    def carry(
        self, network: Network, gradients: Parameters, parameters: Parameters, batch: Batch, context: Context
    ) -> Values:
        """Return S_m with this mini-batch's s_m in the mean."""
        del gradients
        means, counts = by_modality(context.prepared, _SCORE), by_modality(context.prepared, _COUNT)
        scores = self._scores(self._shares(network, parameters, batch)[1], batch)
        means = {m: (means[m] * counts[m] + s) / (counts[m] + 1.0) for m, s in scores.items()}
        return {**named(_SCORE, means), **named(_COUNT, {m: count + 1.0 for m, count in counts.items()})}

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return S_m and its count, which the client keeps."""
        del network, parameters, window
        return dict(context.prepared)

    def _shares(self, network: Network, parameters: Parameters, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the fused logits [B, K], and the o_m that they are the sum of."""
        features = network.features(parameters, batch.only(self.modalities))
        logits = {
            some: network.classify(parameters, {m: features[m] for m in some}) for some in coalitions(self.modalities)
        }
        return logits[self.modalities], shapley_values(self.modalities, logits)

    def _scores(self, shares: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return s_m, the cross-entropy of o_m."""
        scores = {}
        for modality, share in shares.items():
            true = share.detach().softmax(dim=1).gather(1, batch.labels[:, None])[:, 0]
            scores[modality] = -batch.mean(true.clamp(min=_LEAST_PROBABILITY).log())
        return scores


def coefficients(
    scores: Mapping[str, Tensor], usual: Mapping[str, Tensor], alpha: float, sign: Sign
) -> dict[str, Tensor]:
    """Return k_m from the scores s_m of a mini-batch and their means S_m so far (0-d each, at least two)."""
    direction = 1.0 if sign == "official" else -1.0
    now, before = (_leads(of, direction) for of in (scores, usual))
    return {m: torch.exp(alpha * (before[m] - now[m]).clamp(max=_MOST_LEAD)) for m in scores}


def _leads(scores: Mapping[str, Tensor], direction: float) -> dict[str, Tensor]:
    """Return exp(mean of the others' s - s_m): above 1 where a modality does better than the others."""
    total = torch.stack([scores[m] for m in scores]).sum()
    return {m: torch.exp(direction * ((total - s) / (len(scores) - 1) - s)) for m, s in scores.items()}


class AGM(Method):
    """AGM: adaptive gradient modulation.

    f(S) are the logits of the fusion head from the modalities S, the others zero-filled; M = 2 modalities A and I.

    Paper:
        Li, Li, Hu, Lei, Li, Zhou, Boosting Multi-modal Model Performance with Adaptive Gradient Modulation, ICCV 2023;
        sign: bmsfed as in the code of Fan et al., ECCV 2024 (BMSFed)
    Client:
        SGD on CE(f(A, I)) = CE(o_A + o_I); per mini-batch
            o_A = (f(A, I) - f(I) + f(A)) / 2,  o_I = (f(A, I) - f(A) + f(I)) / 2
            s_m = mean_i -log max(softmax(o_m)_{y_i}, 1e-8)
            S_m = mean of s_m over all mini-batches of this client before this one; 0 before the first
            rho_A = exp(s_I - s_A),  R_A = exp(S_I - S_A),  I mirrored
            k_m = exp(alpha min(R_m - rho_m, 10)),  by which the gradient that reaches o_m is multiplied
            then all gradients are scaled to norm 1, if theirs is larger and an entry of the head's is above 1
        sign: bmsfed has both exponents of e in rho and R with the opposite sign
    Server:
        theta_g <- sum_k n_k theta_k,g / sum_k n_k for every group g, over the clients that trained g
    Payload:
        as FedAvg: S_m stay with the client
    Waits:
        as FedAvg; the head runs on every coalition of modalities, and S_m costs a second forward pass per mini-batch,
        which an implementation that keeps the first one's features would save
    Staleness:
        always 0 at a barrier; elsewhere as the server rule's paper
    Limits:
        * alpha = 0 and most_gradient: null is FedAvg, number for number, but for the time of the scores
        * k_m is up to e^(10 alpha): without clipping runs diverge at the default alpha
        * the two signs push opposite ways: with the official one a modality that is better than usual is slowed
    Reconstructed:
        * zero features stand for a missing modality: the paper's code zeroes inputs, so that its encoders' biases count
        * S_m goes on over a client's local rounds, as BMSFed's counter does; a round whose upload is lost, or not
          merged yet when the next begins, is lost to it
        * M > 2: o_m is the mean marginal contribution of m over all orders of the modalities (Shapley), the other's s
          in rho and R the mean of the others'
        * the default alpha is of the paper's AV-MNIST command line; modulation never ends, in BMSFed's code after
          round 70
        * clipping is by the largest magnitude of an entry; the published code asks for one above 1
        * a client with one modality is plain FedAvg
    """

    Options = AGMOptions
    options: AGMOptions

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return modulated cross-entropy while modulation lasts and there are modalities to compare."""
        if client.version not in self.options.versions or len(ready.modalities) < 2:
            return CrossEntropy(ready.modalities)
        return Modulated(ready.modalities, self.options.alpha, self.options.sign, self.options.most_gradient)

    def payload(self, client: ClientDay) -> Payload:
        """Return the trained groups; the scores stay with the client."""
        del client
        return NO_REPORT

    def initial_memory(self, network: Network, num_clients: int) -> Kept:
        """Return what clients keep, S_m and counts: none yet."""
        del num_clients
        zeros = {m: torch.zeros(()) for m in network.modalities}
        return Kept({**named(_SCORE, zeros), **named(_COUNT, zeros)}, {})

    def own_values(self, memory: Kept, client: int) -> Values:
        """Return the client's own S_m and counts."""
        return memory.of(client)

    def remember(self, memory: Kept, updates: Sequence[ClientUpdate]) -> Kept:
        """Return what clients keep after updates."""
        return memory.updated(updates)
