"""MFedMC: only the encoders that matter most, and least lately sent, travel (Yuan et al., 2024)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from interlude.models.network import Network, Parameters
from interlude.simulator.counts import ceil_product
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import REPORT_ONLY, Role, Steps
from interlude.simulator.federation.views import SelectionView
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.mfedmc.objective import LOSS, Apart, Sent, trained_groups
from interlude.simulator.methods.mfedmc.offers import Offers
from interlude.simulator.methods.mfedmc.options import MFedMCOptions
from interlude.simulator.methods.waiting import WAITING, Ready
from interlude.simulator.randomness import Stream
from interlude.simulator.training.merge import ClientUpdate, num_holders
from interlude.simulator.training.objective import Objective
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.values import by_modality

_TRAIN = "train"


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
        * gamma = M and delta = 1: all clients upload everything, a plain mean of models trained alone
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
        loss = float(by_modality(offers.trained[client].report, LOSS)[modality])
        return loss if self.options.losses == "lowest" else -loss


def _shuffled(view: SelectionView, purpose: str, clients: Sequence[int]) -> list[int]:
    """Return clients in a random order of this moment's."""
    order = Stream(view.seed, purpose).generator(view.version, view.num_returned).permutation(list(clients))
    return [int(client) for client in order]
