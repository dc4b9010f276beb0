"""Greedy: the modality that the head learns faster than its own encoder learns is curated (Wu et al., ICML 2022)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor
from torch.nn import functional

from interlude.models.groups import HEAD, group_name
from interlude.models.network import Network, Parameters
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import NO_REPORT, Payload
from interlude.simulator.federation.rules import Barrier, ServerRule
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.kept import Kept
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.waiting import Ready
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Batch, Context, CrossEntropy, Objective
from interlude.simulator.training.values import FUSED, Named, Values, by_modality, named

_MAIN = "main_speed"
_BYPASS = "bypass_speed"
_MEAN = "mean_feature"
_COUNT = "feature_count"
_FAVOURED = "favoured"
_LEFT = Named("curation_steps_left")
_LEAST = 1e-30


class GreedyOptions(MethodOptions):
    """Options of Greedy."""

    name: str = "greedy"
    server: ServerRule = Barrier()
    threshold: NonNegativeFloat = Field(0.01, description="epsilon, difference of speeds above which a client curates")
    curation_steps: PositiveInt = Field(5, description="Q, mini-batches that a curation lasts")
    warm_up: NonNegativeInt = Field(
        1, description="versions (rounds at a barrier) before clients curate; speeds are measured from the first"
    )


@dataclass(frozen=True)
class Curated(CrossEntropy):
    """Cross-entropy of the fused logits, in a curation with mean features in place of all but the favoured modality's.

    Carried from step to step: the speeds Main_m and By_m, each modality's mean feature [D], and the curation.
    """

    threshold: float
    curation_steps: int
    may_curate: bool

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return what is carried, as the client's last local round left it; a curation of what misses now is over."""
        del network, parameters
        mine = (FUSED, *self.modalities)
        kept = {
            key: value.to(window.labels.device)
            for key, value in context.broadcast.items()
            if key.modality in mine or key.name == _FAVOURED
        }
        is_here = torch.stack([kept[Named(_FAVOURED, m)] for m in self.modalities]).amax()
        return {**kept, _LEFT: kept[_LEFT] * is_here}

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return CE of the fused logits, from mean features where the client curates."""
        features = network.features(parameters, batch.only(self.modalities))
        means, favoured = (by_modality(context.prepared, name) for name in (_MEAN, _FAVOURED))
        is_curating = context.prepared[_LEFT] > 0.0
        shown = {
            m: torch.where(is_curating & (favoured[m] == 0.0), means[m].expand_as(z), z) for m, z in features.items()
        }
        logits = network.classify(parameters, shown)
        return batch.mean(functional.cross_entropy(logits, batch.labels, reduction="none"))

    def carry(
        self, network: Network, gradients: Parameters, parameters: Parameters, batch: Batch, context: Context
    ) -> Values:
        """Return speeds, mean features and the curation after a step; no speed is measured in a curation."""
        left = context.prepared[_LEFT]
        is_measured = (left == 0.0).to(left.dtype)
        carried: dict[Named, Tensor] = {}
        for name, group_of in ((_MAIN, network.encoder_group), (_BYPASS, _bypass_group)):
            before = by_modality(context.prepared, name)
            speeds = {m: _speed(network.groups[group_of(m)], gradients, parameters) for m in self.modalities}
            carried |= named(name, {m: before[m] + is_measured * speed for m, speed in speeds.items()})
        carried |= self._means(network, parameters, batch, context)
        ratios = log_ratios(by_modality(carried, _BYPASS), by_modality(carried, _MAIN))
        starts = (left == 0.0) & (ratios.max() - ratios.min() > self.threshold) & self.may_curate
        fastest = {m: (ratios.argmax() == place).to(left.dtype) for place, m in enumerate(self.modalities)}
        for modality, was in by_modality(context.prepared, _FAVOURED).items():
            is_fastest = fastest.get(modality, torch.zeros_like(left))
            carried[Named(_FAVOURED, modality)] = torch.where(starts, is_fastest, was)
        carried[_LEFT] = torch.where(starts, float(self.curation_steps), (left - 1.0).clamp(min=0.0))
        return carried

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return what is carried, which the client keeps."""
        del network, parameters, window
        return dict(context.prepared)

    def _means(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> dict[Named, Tensor]:
        """Return each modality's mean feature over the mini-batches so far, and their number."""
        before, counts = (by_modality(context.prepared, name) for name in (_MEAN, _COUNT))
        counted = (
            torch.ones_like(batch.labels, dtype=before[self.modalities[0]].dtype) if batch.mask is None else batch.mask
        )
        means = {}
        for modality, z in network.features(parameters, batch.only(self.modalities)).items():
            of_batch = (z * counted[:, None]).sum(dim=0) / counted.sum()
            means[modality] = (before[modality] * counts[modality] + of_batch) / (counts[modality] + 1.0)
        return {**named(_MEAN, means), **named(_COUNT, {m: counts[m] + 1.0 for m in means})}


def log_ratios(bypass: Mapping[str, Tensor], main: Mapping[str, Tensor]) -> Tensor:
    """Return s_m = log10(By_m / Main_m) [M], in the order of the modalities."""
    return torch.stack([(bypass[m].clamp(min=_LEAST) / main[m].clamp(min=_LEAST)).log10() for m in main])


def _speed(names: Iterable[str], gradients: Parameters, parameters: Parameters) -> Tensor:
    """Return ||g||^2 / ||theta||^2 of some parameters together."""
    sizes = [torch.stack([of[name].square().sum() for name in names]).sum() for of in (gradients, parameters)]
    return sizes[0] / sizes[1].clamp(min=_LEAST)


def _bypass_group(modality: str) -> str:
    return group_name(HEAD, modality)


class Greedy(Method):
    """Greedy: balanced multi-modal learning, its conditional learning speeds carried over to a concatenation head.

    The paper's networks couple two branches by gates (MMTM) between their layers; encoders that only meet in a linear
    head have none. Here a modality's slice of the head stands for its gates, and its feature for what flows through
    them; z_m is the feature of m, M = 2 modalities.

    Paper:
        Wu, Jastrzebski, Cho, Geras, Characterizing and Overcoming the Greedy Nature of Learning in Multi-modal Deep
        Neural Networks, ICML 2022
    Client:
        SGD on CE(fused logits); after the backward pass of every mini-batch that is not in a curation
            Main_m += ||g of encoder m||^2 / ||encoder m||^2,  By_m += ||g of slice m||^2 / ||slice m||^2
            s_m = log10(By_m / Main_m)
            where |s_0 - s_1| > eps, the next Q mini-batches curate in favour of m* = argmax s_m: the other modality's
            features are its mean feature over all mini-batches so far, so that m* alone explains the labels
    Server:
        theta_g <- sum_k n_k theta_k,g / sum_k n_k for every group g, over the clients that trained g
    Payload:
        as FedAvg: speeds, means and a curation under way stay with the client
    Waits:
        as FedAvg; the mean features cost a second pass of the encoders per mini-batch, which an implementation that
        keeps the first one's would save
    Staleness:
        always 0 at a barrier; elsewhere as the server rule's paper
    Limits:
        * before warm_up versions it is FedAvg, number for number, but for the time of the mean features
        * the default eps is nearly nothing, as in the paper: once clients curate, almost every measurement starts Q
          more mini-batches of it
    Reconstructed:
        * everything about the head: the paper says nothing of a network without gates, so results with this stand-in
          are not the paper's method; with gates m*'s are frozen at their mean and the other branch's stay alive,
          here the other encoder gets no gradient while m* is favoured
        * each modality's mean is of its own features: the paper's code feeds the second branch's mean with the first
          branch's gates
        * what a client measures goes on over its local rounds; a round whose upload is lost, or not merged yet when the
          next begins, is lost to it
        * the paper curates from its second epoch; here from version 1, before which FedAvg's clients make their first
        * M > 2: it curates where the largest and smallest s_m are eps apart, and all modalities but m* are means; a
          curation ends where m* misses in the next local round
        * the paper's batches of 8 and learning rate of 0.1 are the scenario's to choose; its random variant is left out
        * a client with one modality is plain FedAvg
    """

    Options = GreedyOptions
    options: GreedyOptions
    needs_summed_head = True

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return what joint training minimises, plain cross-entropy of one modality."""
        options = self.options
        if len(ready.modalities) < 2:
            return CrossEntropy(ready.modalities)
        may_curate = client.version >= options.warm_up
        return Curated(ready.modalities, options.threshold, options.curation_steps, may_curate)

    def payload(self, client: ClientDay) -> Payload:
        """Return the trained groups; what is carried stays with the client."""
        del client
        return NO_REPORT

    def initial_memory(self, network: Network, num_clients: int) -> Kept:
        """Return what clients keep: nothing measured yet, no curation."""
        del num_clients
        features = network.features(network.shapes, network.example(network.modalities, 1))
        zero = dict.fromkeys(network.modalities, torch.zeros(()))
        first = {key: v for name in (_MAIN, _BYPASS, _COUNT, _FAVOURED) for key, v in named(name, zero).items()}
        means = named(_MEAN, {m: torch.zeros(z.shape[1]) for m, z in features.items()})
        return Kept({**first, **means, _LEFT: torch.zeros(())}, {})

    def own_values(self, memory: Kept, client: int) -> Values:
        """Return what the client keeps."""
        return memory.of(client)

    def remember(self, memory: Kept, updates: Sequence[ClientUpdate]) -> Kept:
        """Return what clients keep after updates."""
        return memory.updated(updates)
