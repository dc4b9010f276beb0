"""FedOGM: FedAvg whose clients slow the dominant modality's encoder down (OGM-GE: Peng et al., CVPR 2022)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.rules import Barrier, ServerRule
from interlude.simulator.methods.active_versions import MODULATED_VERSIONS, ActiveVersions
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.waiting import Ready
from interlude.simulator.training.objective import Batch, Context, CrossEntropy, Noise, Objective

TensorsName = Literal["conv", "weights"]

_SMALLEST_DEVIATION = 1e-8
_LEAST_DIMENSIONS: Mapping[TensorsName, int] = {"conv": 3, "weights": 2}


class FedOGMOptions(MethodOptions):
    """Options of FedOGM."""

    name: str = "fedogm"
    server: ServerRule = Barrier()
    alpha: NonNegativeFloat = Field(0.5, description="strength of the modulation")
    noise: bool = Field(True, description="generalisation enhancement: Gaussian noise on the modulated tensors")
    tensors: TensorsName = Field(
        "conv",
        description="conv: kernels of convolutions, as the paper; weights: linear layers too, for encoders without any",
    )
    versions: ActiveVersions = Field(
        MODULATED_VERSIONS,
        description="modulate while the model has fewer versions (rounds at a barrier); null: always",
    )

    def check_network(self, network: Network) -> None:
        """Check that some encoder has a tensor to modulate: without one FedOGM is FedAvg under another name."""
        if not any(modulated_names(network, modality, self.tensors) for modality in network.modalities):
            raise ValueError(
                f"tensors: '{self.tensors}' modulates the kernels of convolutions, but no encoder has any, so that "
                "this would be FedAvg; use tensors: weights"
            )


@dataclass(frozen=True)
class Modulated(CrossEntropy):
    """Cross-entropy of the fused logits, its encoder gradients modulated on the fly."""

    alpha: float
    noise: bool
    tensors: TensorsName

    def modulate(
        self,
        network: Network,
        gradients: Parameters,
        parameters: Parameters,
        batch: Batch,
        context: Context,
        noise: Noise,
    ) -> Parameters:
        """Return k_m g + noise for the encoders' tensors of enough dimensions, g for all others."""
        del context
        modulated = dict(gradients)
        for modality, k in coefficients(self.scores(network, parameters, batch), self.alpha).items():
            for name in modulated_names(network, modality, self.tensors):
                gradient = gradients[name]
                jitter = (gradient.std() + _SMALLEST_DEVIATION) * noise(gradient) if self.noise else 0.0
                modulated[name] = k * gradient + jitter
        return modulated

    def scores(self, network: Network, parameters: Parameters, batch: Batch) -> dict[str, Tensor]:
        """Return s_m / B, the mean true-class probability of each modality alone, its share of a common bias added."""
        features = network.features(parameters, batch.only(self.modalities))
        surplus: Tensor | float = 0.0
        for bias in network.shared_groups:  # one bias for all, a group by itself; summed classifiers have one each
            surplus = parameters[bias] * (1.0 - 1.0 / len(self.modalities))
        scores = {}
        for modality, z in features.items():
            logits = network.classify(parameters, {modality: z}) - surplus  # [B, K]
            true = logits.softmax(dim=1).gather(1, batch.labels[:, None]).squeeze(1)
            scores[modality] = batch.mean(true)
        return scores


def modulated_names(network: Network, modality: str, tensors: TensorsName) -> list[str]:
    """Return the names of the tensors of a modality's encoder that are modulated."""
    names = network.groups[network.encoder_group(modality)]
    return [name for name in names if network.shapes[name].dim() >= _LEAST_DIMENSIONS[tensors]]


def coefficients(scores: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Return k_m from s_m (0-d each, at least two); with more than two, ratio_m = s_m / mean of the others."""
    total = torch.stack(list(scores.values())).sum()
    ks = {}
    for modality, s in scores.items():
        ratio = s * (len(scores) - 1) / (total - s)
        ks[modality] = torch.where(ratio > 1.0, 1.0 - torch.tanh(alpha * ratio), torch.ones_like(ratio))
    return ks


class FedOGM(Method):
    """FedOGM: on-the-fly gradient modulation.

    Paper:
        Peng, Wei, Deng, Wang, Hu, Balanced Multimodal Learning via On-the-fly Gradient Modulation, CVPR 2022; at every
        client as in Fan et al., ECCV 2024
    Client:
        SGD on CE(fused logits); per mini-batch, M = 2 modalities:
            s_m = sum_i softmax(W_m z_m,i + b / 2)_{y_i},   ratio_m = s_m / s_other
            k_m = 1 - tanh(alpha ratio_m)   if ratio_m > 1, else 1
            g <- k_m g + N(0, (std(g) + 1e-8)^2)            for the convolution kernels of encoder m
        The noise (GE) goes to both encoders, whichever is dominant, with the deviation of the gradient as it was.
    Server:
        theta_g <- sum_k n_k theta_k,g / sum_k n_k for every group g, over the clients that trained g
    Payload:
        as FedAvg: down all groups of the modalities held; up the groups trained, and n_k
    Waits:
        clients wait for all their modalities; the scores cost a second forward pass per mini-batch, which an
        implementation that keeps the first one's features would save
    Staleness:
        always 0 at a barrier; elsewhere as the server rule's paper
    Limits:
        * alpha = 0 without noise is FedAvg, number for number
        * an encoder without convolutions (mlp, text) is left alone; where none has any, it would be FedAvg: refused,
          with `tensors: weights` as the way out
    Reconstructed:
        * kernels of one-dimensional convolutions (conv1d, 3 dimensions) count as convolutions; the published rule is
          for tensors of 4 dimensions
        * tensors: weights is an extension, to linear layers
        * M > 2: ratio_m = s_m / mean of the others, a common bias shared in M parts
        * the default alpha = 0.5, inside the published range 0.1 to 0.8; with summed classifiers (late_sum) each counts
          its own bias whole
        * the 71 rounds of BMSFed's code (0 to 70) are versions where the server has no rounds
        * a client with one modality is plain FedAvg
    """

    Options = FedOGMOptions
    options: FedOGMOptions
    needs_summed_head = True

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return modulated cross-entropy while modulation lasts and there are modalities to compare."""
        options = self.options
        if client.version not in options.versions or len(ready.modalities) < 2:
            return CrossEntropy(ready.modalities)
        return Modulated(ready.modalities, options.alpha, options.noise, options.tensors)
