"""MFedMC: only the encoders that matter most, and least lately sent, travel (Yuan et al., 2024)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.counts import ceil_product
from interlude.simulator.federation.client_day import REPORT_ONLY, ClientDay, Role, Steps
from interlude.simulator.federation.rules import Barrier
from interlude.simulator.federation.views import SelectionView
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.methods.coalitions import coalitions, shapley_values
from interlude.simulator.methods.waiting import WAITING, Ready
from interlude.simulator.randomness import Stream
from interlude.simulator.training.merge import ClientUpdate, num_holders
from interlude.simulator.training.objective import Batch, Context, CrossEntropy, Objective
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.values import Values, by_modality, named

_TRAIN = "train"
_IMPACT, _LOSS = "impact", "loss_alone"
_SMALLEST_SPREAD = 1e-10


class MFedMCOptions(MethodOptions):
    """Options of MFedMC."""

    name: str = "mfedmc"
    server: Barrier = Field(Barrier(), description="a barrier, whose clients train; some of them are asked to upload")
    modalities_per_client: PositiveInt = Field(1, description="gamma, modalities that a client offers to upload")
    client_share: float = Field(
        0.2, gt=0, le=1, description="delta, share of those that offer a modality who upload it"
    )
    losses: Literal["lowest", "highest"] = Field("lowest", description="which losses are preferred among them")
    impact_weight: NonNegativeFloat = Field(1 / 3, description="alpha_s, weight of a modality's Shapley value")
    size_weight: NonNegativeFloat = Field(1 / 3, description="alpha_c, weight of a small encoder")
    recency_weight: NonNegativeFloat = Field(1 / 3, description="alpha_r, weight of the rounds since it was offered")


def trained_groups(network: Network, modalities: Sequence[str]) -> tuple[str, ...]:
    """Return the groups of some modalities that are trained and travel: encoders and head slices, no shared bias."""
    return tuple(g for g in network.groups_of(tuple(modalities)) if g not in network.shared_groups)


@dataclass(frozen=True)
class Apart(CrossEntropy):
    """The sum of the cross-entropies of each modality alone: each trains as if there were no other."""

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return the encoders and head slices."""
        return trained_groups(network, self.modalities)

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return sum_m CE(f_m)."""
        del context
        return torch.stack(list(self._losses(network, parameters, batch).values())).sum()

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return CE(f_m) and each modality's Shapley value in the mean true-class probability of the sum."""
        del context
        features = network.features(parameters, window.only(self.modalities))
        worth = {}
        for some in coalitions(self.modalities):
            logits = network.classify(parameters, {m: features[m] for m in some})
            worth[some] = window.mean(logits.softmax(dim=1).gather(1, window.labels[:, None])[:, 0])
        impacts = shapley_values(self.modalities, worth)
        return {**named(_LOSS, self._losses(network, parameters, window)), **named(_IMPACT, impacts)}

    def _losses(self, network: Network, parameters: Parameters, batch: Batch) -> dict[str, Tensor]:
        losses = {}
        for modality, z in network.features(parameters, batch.only(self.modalities)).items():
            logits = network.classify(parameters, {modality: z})
            losses[modality] = batch.mean(functional.cross_entropy(logits, batch.labels, reduction="none"))
        return losses


@dataclass(frozen=True)
class Sent(CrossEntropy):
    """Trains nothing; what is uploaded is what an earlier task has trained."""

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return the groups of the modalities to upload."""
        return trained_groups(network, self.modalities)


@dataclass(frozen=True)
class Offers:
    """What the server knows of the clients."""

    sizes: Mapping[str, int]
    """Bytes of each modality's encoder and head slice."""
    num_rounds: int
    last: Mapping[int, Mapping[str, int]]
    """The round in which a client last offered a modality."""
    trained: Mapping[int, ClientUpdate]
    """What the clients of this round have trained, which stays with them until they are asked for it, and reported."""

    def priorities(self, client: int, options: MFedMCOptions) -> dict[str, float]:
        """Return alpha_s impact + alpha_c (1 - size) + alpha_r recency of each modality that a client trained."""
        impacts = {m: float(value) for m, value in by_modality(self.trained[client].report, _IMPACT).items()}
        return priorities(
            spread(impacts),
            spread({m: self.sizes[m] for m in impacts}),
            {m: self.recency(client, m) for m in impacts},
            options,
        )

    def recency(self, client: int, modality: str) -> float:
        """Return the share of the rounds so far since a client last offered a modality."""
        return (self.num_rounds - self.last.get(client, {}).get(modality, -1)) / (self.num_rounds + 1)


def priorities(
    impacts: Mapping[str, float], sizes: Mapping[str, float], recency: Mapping[str, float], options: MFedMCOptions
) -> dict[str, float]:
    """Return the priority of each modality from numbers in [0, 1]."""
    return {
        m: options.impact_weight * impacts[m]
        + options.size_weight * (1.0 - sizes[m])
        + options.recency_weight * recency[m]
        for m in impacts
    }


def spread(values: Mapping[str, float]) -> dict[str, float]:
    """Return the values moved and scaled to [0, 1]; all 0 where they are alike."""
    least = min(values.values())
    width = max(values.values()) - least + _SMALLEST_SPREAD
    return {m: (value - least) / width for m, value in values.items()}


class MFedMC(Method):
    """MFedMC: joint modality and client selection.

    f_m are the logits of modality m alone. Encoders and head slices of the modalities are models of their own, which
    the fused logits add up: the fusion has no parameters, so none travel.

    Paper:
        Yuan, Han, Wang, Upadhyay, Brinton, Communication-Efficient Multimodal Federated Learning: Joint Modality and
        Client Selection, arXiv 2401.16685, 2024
    Client:
        E epochs of SGD on sum_m CE(f_m), then over the window, hat: min-max scaled over the client's modalities
            phi_m   Shapley value of m in the mean true-class probability of the fused logits
            p_m     alpha_s hat phi_m + alpha_c (1 - hat size_m) + alpha_r (t - t_m) / (t + 1), t the round, t_m the
                    one in which the client last offered m, -1 before
        it offers the gamma modalities with the largest p_m, and reports CE(f_m); if asked, it uploads what it trained
    Server:
        of the clients that offer m the ceil(delta K_m) with the lowest CE(f_m) are asked for it;
        theta_g <- mean of theta_k,g over those that sent g
    Payload:
        training: down as FedAvg, all groups of the modalities held; up 2 floats per modality and n_k
        upload: down nothing; up encoder and head slice of the modalities asked for, and n_k
    Waits:
        clients for all their modalities, though each is trained alone; the server for all of them, then for the
        uploads; losses and Shapley values cost two forward passes over the window, with the head on every coalition
    Staleness:
        always 0: every update starts from the model it is merged into
    Limits:
        * gamma = M and delta = 1: everybody uploads everything, a plain mean of models trained alone
        * with two modalities scaled impacts and sizes are 0 and 1: at equal weights the one that is smaller and of more
          impact is offered, and where there is none recency decides
        * timing-only: priorities are of sizes alone, so that small encoders travel, and clients are drawn at random
    Reconstructed:
        * the fusion: the published code fits a random forest on the predicted labels at each client, phi_m are SHAP
          values of it, and it reports accuracies of clients; here logits are added up, so that there is a global model
        * phi_m keeps its sign: a modality that makes the sum worse has less impact than one that does nothing
        * losses: the two versions of the published code differ, lowest per modality and highest mean over modalities;
          the first ranks all clients and mixes up their numbers where it picks those that offer
        * the loss is that of the trained model over the window, not the last epoch's mean
        * sizes count head slices, too; all modalities of a client are trained on the same mini-batches
        * an upload is a local round of its own, without a download, data or training; a client that is off by then is
          not asked, and a lost answer is no offer
        * t_m moves on for every client that offered, asked or not, as in the published code
        * with `clients_per_round` so many clients train, drawn uniformly; where all uploads of a round are lost, its
          clients train on from what they have
    """

    Options = MFedMCOptions
    options: MFedMCOptions
    needs_summed_head = True

    def candidates(self, view: SelectionView, num_clients: int) -> Mapping[int, Role]:
        """Return the clients of the round, who train."""
        idle = list(view.idle)
        if num_clients < len(idle):
            idle = sorted(int(client) for client in _shuffled(view, "mfedmc-round", idle)[:num_clients])
        return dict.fromkeys(idle, _TRAIN)

    def select(self, view: SelectionView, num_clients: int) -> Mapping[int, Role]:
        """Return the clients that upload, and the modalities of each."""
        offers: Offers = view.memory
        asked = _shuffled(view, "mfedmc", view.asked or list(view.idle)[:num_clients])
        offered = {client: self._offered(offers, client) for client in asked if client in offers.trained}
        if not offered:  # no answer, or a timing-only run: sizes alone are known
            offered = {client: self._smallest(offers, view.population.modalities[client]) for client in asked}
        chosen: dict[int, tuple[str, ...]] = {}
        for modality in offers.sizes:
            those = [client for client, of in offered.items() if modality in of]
            those.sort(key=lambda client: self._rank(offers, client, modality))
            for client in those[: ceil_product(len(those), self.options.client_share)]:
                chosen[client] = (*chosen.get(client, ()), modality)
        return dict(sorted(chosen.items()))

    def client_round(self, client: ClientDay) -> Steps:
        """Train and report, or upload what was trained."""
        if client.role != _TRAIN:
            yield from client.train(LocalSteps(Sent(client.role), 0, "send"))
            yield from client.upload()
            return
        yield from client.download()
        ready = yield from WAITING[self.options.waiting](client, self.options.unimodal_epochs)
        yield from client.train(*self.local_steps(client, ready))
        yield from client.upload(REPORT_ONLY)

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return the sum of what each modality alone minimises."""
        del client
        return Apart(ready.modalities)

    def initial_memory(self, network: Network, num_clients: int) -> Offers:
        """Return sizes, and no offer."""
        del num_clients
        return Offers({m: network.num_bytes(trained_groups(network, (m,))) for m in network.modalities}, 0, {}, {})

    def start_for(self, received: Parameters, memory: Offers, client: int) -> Parameters:
        """Return what the client has trained in this round, where it has."""
        return memory.trained[client].parameters if client in memory.trained else received

    def remember(self, memory: Offers, updates: Sequence[ClientUpdate]) -> Offers:
        """Return the memory after answers of the clients that trained."""
        return replace(memory, trained={update.client: update for update in updates})

    def advance(self, model: Parameters, memory: Offers, updates: Sequence[ClientUpdate]) -> tuple[Parameters, Offers]:
        """Return the mean of what was uploaded, and the memory at the start of the next round."""
        merged = self.options.server.merge(model, updates, shares=lambda _, group: 1.0 / num_holders(updates, group))
        now = memory.num_rounds
        last = dict(memory.last)
        for client in memory.trained:
            last[client] = {**last.get(client, {}), **dict.fromkeys(self._offered(memory, client), now)}
        return merged, Offers(memory.sizes, now + 1, last, {})

    def _offered(self, offers: Offers, client: int) -> list[str]:
        """Return the modalities of the largest priorities; ties in the data set's order."""
        of = offers.priorities(client, self.options)
        return sorted(of, key=lambda m: -of[m])[: self.options.modalities_per_client]

    def _smallest(self, offers: Offers, modalities: Sequence[str]) -> list[str]:
        return sorted(modalities, key=lambda m: offers.sizes[m])[: self.options.modalities_per_client]

    def _rank(self, offers: Offers, client: int, modality: str) -> float:
        """Return what the clients that offer a modality are sorted by; 0 of all where nothing is known."""
        if client not in offers.trained:
            return 0.0
        loss = float(by_modality(offers.trained[client].report, _LOSS)[modality])
        return loss if self.options.losses == "lowest" else -loss


def _shuffled(view: SelectionView, purpose: str, clients: Sequence[int]) -> list[int]:
    """Return clients in a random order of this moment's."""
    order = Stream(view.seed, purpose).generator(view.version, view.num_returned).permutation(list(clients))
    return [int(client) for client in order]
