"""Harmony: modality-wise federations first, then a federation of fusions, in clusters (Ouyang et al., MobiSys 2023)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from interlude.models.groups import encoder_group
from interlude.models.network import Network, Parameters, select_groups
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import Payload, Steps
from interlude.simulator.federation.rules import Barrier
from interlude.simulator.federation.views import Process, ServerView
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.harmony.clusters import clusters
from interlude.simulator.methods.harmony.federations import (
    Draws,
    Fusing,
    fusion_federation,
    heads_of,
    modality_federations,
)
from interlude.simulator.methods.harmony.objective import DISTANCE, Alone, Fused
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.waiting import Ready, wait_for_all
from interlude.simulator.training.merge import ClientUpdate, weighted_mean
from interlude.simulator.training.objective import Objective
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.transfer import numbers
from interlude.simulator.training.values import by_modality


class HarmonyOptions(MethodOptions):
    """Options of Harmony."""

    name: str = "harmony"
    waiting: Literal["all"] = Field("all", description="a client waits for all modalities that its federation needs")
    server: Barrier = Field(Barrier(), description="a barrier: every federation has rounds of its own")
    unimodal_rounds: PositiveInt = Field(20, description="rounds of each modality's federation, before the fusion's")
    num_clusters: PositiveInt = Field(3, description="clusters of clients, most, in a round of the fusion federation")
    encoder_rate: PositiveFloat = Field(
        0.1, description="in the fusion federation the encoders' learning rate by the scenario's"
    )


@dataclass(frozen=True)
class Own:
    """What the server keeps of a client in the fusion federation."""

    head: Parameters
    """The mean of its cluster when it was last merged."""
    encoders: Parameters
    """As it trained them; they stay with the client, for which this stands."""


class Harmony(Method):
    """Harmony: heterogeneous multi-modal federated learning through disentangled model training.

    Paper:
        Ouyang, Xie, Fu, Cheng, Pan, Ling, Xing, Zhou, Huang, Harmony: Heterogeneous Multi-Modal Federated Learning
        through Disentangled Model Training, MobiSys 2023; the server as in the published code
    Client:
        in the federation of modality m, for 20 rounds of it: E epochs of SGD on CE(f_m) over encoder m and its slice of
        the head, the logits f_m of m alone
        in the fusion federation, from its own encoders and its cluster's head: E epochs of SGD on CE(fused logits) over
        both, the encoders at a tenth of the learning rate; then d_m = 1 - cos(encoder m, the federated encoder m)
    Server:
        federations of modalities side by side, each at its own pace: theta_m <- mean of theta_k,m over its round
        then rounds of all clients with several modalities: k-means on d_k = [d_k,1 .. d_k,M], every d_m scaled to a
        maximum of 1 over the round's clients; head_k <- mean of head_j over the clients j of k's cluster, by group over
        those that trained it
    Payload:
        modality: encoder m and its head slice, both ways, and n_k up
        fusion: down the head's groups of the modalities held, the first time their encoders, too; up the head's groups
        of the modalities trained, M floats d_m and n_k; encoders stay with the client
    Waits:
        in a federation of a modality for that modality alone; in the fusion's for all; a client is in one round at a
        time, first of the federation that is furthest behind; the server for all clients of a round
    Staleness:
        not weighted; what is counted in the federations of modalities are the others' merges, so each is at 0
    Limits:
        * what is evaluated is the federated encoders with the mean head of the round: the paper reports accuracies of
          clients, each with encoders of its own and its cluster's head
        * num_clusters: 1 is a federation of one head over encoders of each client's own
        * while federations of modalities are under way, fused logits are the sum of what modalities say alone
    Reconstructed:
        * the head of the fusion starts from the modalities' slices side by side; published, from fresh weights
        * head_k becomes its cluster's mean; the published client adds the mean of its cluster's changes to the head it
          has just trained, so that its own change counts twice
        * k-means starts from the farthest points, without random numbers; a modality that a client lacks has d_m = 0
        * the shared bias of a head rests until the fusion
        * `clients_per_round`, `over_selection`: drawn uniformly from those of a federation; `deadline_s` and
          the first updates to suffice only in the fusion's; the paper's schedule of resources is left out
        * clients with one modality are in no round of the fusion, unless there are no others
        * the default of 20 rounds: the published server of a modality stops after 21
        * a round whose upload is lost is lost to the client's own encoders, too
    """

    Options = HarmonyOptions
    options: HarmonyOptions
    needs_summed_head = True

    def serve(self, server: ServerView) -> Process[None]:
        """Run the federations of modalities, then the fusion's for ever."""
        rule, draw = self.options.server, Draws(server, self.options.server)
        yield from modality_federations(server, draw, self.options.unimodal_rounds)
        if not server.is_stopped:
            yield from fusion_federation(server, draw, rule)

    def client_round(self, client: ClientDay) -> Steps:
        """Train one modality alone, or all together."""
        if isinstance(client.role, Fusing):
            yield from client.download(client.role.download)
            ready = yield from wait_for_all(client, 1)
            if client.trains_apart:
                yield from client.train(*self._each_alone(client, ready), activity="train_unimodal")
            else:
                yield from client.train(*self.local_steps(client, ready))
            yield from client.upload(Payload(heads_of(client.network.groups_of(ready.modalities))))
            return
        alone = Alone((client.role,))
        yield from client.download(alone.groups(client.network))
        if client.role in client.modalities:
            yield from client.wait_for(client.role)
            steps = LocalSteps(alone, client.num_steps(), f"unimodal-{client.role}", proximal=self.proximal)
            yield from client.train(steps, activity="train_unimodal")
            yield from client.upload()

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return what the fusion federation minimises."""
        del client
        return Fused(ready.modalities, self.options.encoder_rate)

    def initial_memory(self, network: Network, num_clients: int) -> Mapping[int, Own]:
        """Return no client's own parts."""
        del network, num_clients
        return {}

    def model_for(self, model: Parameters, memory: Mapping[int, Own], client: int) -> Parameters:
        """Return the federated encoders, with the head of the client's cluster."""
        return {**model, **memory[client].head} if client in memory else model

    def start_for(self, received: Parameters, memory: Mapping[int, Own], client: int) -> Parameters:
        """Return what the client downloads, with its own encoders."""
        return {**received, **memory[client].encoders} if client in memory else received

    def advance(
        self, model: Parameters, memory: Mapping[int, Own], updates: Sequence[ClientUpdate]
    ) -> tuple[Parameters, Mapping[int, Own]]:
        """Return the plain mean of what was sent, and in the fusion federation every client's own parts."""
        plain = [replace(update, num_samples=1) for update in updates]
        merged = weighted_mean(model, plain)
        distances = [by_modality(update.report, DISTANCE) for update in updates]
        if not any(distances):
            return merged, memory
        modalities = sorted({modality for of in distances for modality in of})
        read = iter(numbers(value for of in distances for value in of.values()))
        known = [{modality: next(read) for modality in of} for of in distances]
        points = np.array([[of.get(m, 0.0) for m in modalities] for of in known])
        labels = clusters(points, self.options.num_clusters)
        kept = dict(memory)
        for update, of, label in zip(updates, distances, labels, strict=True):
            mean = weighted_mean(model, [other for other, its in zip(plain, labels, strict=True) if its == label])
            encoders = select_groups(update.parameters, [encoder_group(m) for m in of])
            before = memory.get(update.client, Own({}, {}))
            kept[update.client] = Own(
                {**before.head, **select_groups(mean, update.groups)}, {**before.encoders, **encoders}
            )
        return merged, kept
