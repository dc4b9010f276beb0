"""BMSFed: clients and the modality each one trains are selected so that the weak modality catches up.

Fan et al., ECCV 2024.
"""

from collections.abc import Mapping, Sequence

import torch

from interlude.models.network import Network
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import Role, Steps
from interlude.simulator.federation.views import Process, SelectionView, ServerView
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.bmsfed.balance import Balance
from interlude.simulator.methods.bmsfed.enhancement import RATIO, ModalEnhanced
from interlude.simulator.methods.bmsfed.measures import Measuring, MeasuringOnly, Moment
from interlude.simulator.methods.bmsfed.options import BMSFedOptions, Weak
from interlude.simulator.methods.facility_location import balanced_greedy, subset_draw
from interlude.simulator.methods.probe import PROBE, probe, probe_round
from interlude.simulator.methods.prototypes import PROTOTYPE, global_prototypes
from interlude.simulator.methods.waiting import Ready, wait_for_all
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import CrossEntropy, Objective
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.values import Named, Values, named


class BMSFed(Method):
    """BMSFed: balanced modality selection.

    A and I are two modalities, d the Euclidean distance.

    Paper:
        Fan, Xu, Wang, Huo, Chen, Guo, Overcome Modal Bias in Multi-modal Federated Learning via Balanced Modality
        Selection, ECCV 2024 (arXiv 2401.00403)
    Client:
        before the first round one epoch, the probe, which reports s_m and c_k of the received model and has c_k for c;
        then
            scores  s_m = mean_i softmax_j(-d(z_i^m, c_k,j^m)) at j = y_i, c_k its own class means   (eq. 16)
                    rho_k = s_A / s_I                                                                (eq. 17)
            multi   CE(fused) + gamma_k L_ME^A + beta_k L_ME^I                                       (eq. 8)
            uni     CE(uni-modal forward) + beta_k L_ME^I, on the weak modality only                 (eq. 9)
                    L_ME^m = -mean_i log softmax_j(-d(z_i^m, c_j^m)) at j = y_i, c the global means  (eq. 7)
                    beta_k = clip(rho_k - 1, 0, 1), gamma_k = clip(1 / rho_k - 1, 0, 1)              (eq. 19)
        beta_k and gamma_k are one formula: the weight of modality m is clip(s_other / s_m - 1, 0, 1). The published
        code differs, and each difference is an option:
            coefficient: code  weight (MI_alpha) for the modality of the least score in the mini-batch by the
                               global means c, 0 for the other; always weight where one is trained alone
            ratio: accuracy    s_m = share of the samples nearest to their own class's c_k,j^m
            measures: held     a uni-modal client measures s_m and c_k of both modalities after its training
    Server:
        merges, and selects by two facility locations on the distances of gradients:
            c_j^m <- sum_k n_kj c_kj^m / sum_k n_kj                                                  (eq. 15)
            rho = sum_k n_k rho_k / sum_k n_k; above 1, I is weak, else A and all is mirrored        (eq. 18)
            theta_g <- sum_k n_k theta_k,g / sum_k n_k over the clients that trained group g
            D_ik = ||g_i - g_k||, g_k = theta_received - theta_k of encoders: D^M of all, D^W of the weak one
            steps, each on a random subset of s clients, until K are selected:
                k1 = argmin sum_i min(u_i, D^M_ik), k2 = argmin sum_i min(w_i, D^W_ik)           (eq. 12-13)
                rule: paper    k2 -> S_W if k1 != k2 and k2's imbalance > chi, else k2 -> S_M
                rule: literal  k1 -> S_M; if k1 != k2, k2 -> S_W if k2's imbalance > chi, else k2 -> S_M
                rule: code     k2 -> S_W if its imbalance > chi, else k1 -> S_M
    Payload:
        down: all groups of the modalities to train, [K,D] prototypes of all modalities, 1 float (none with coefficient:
        code); up: the groups trained and of each of their modalities [K,D] prototypes and a float s_m, K class counts,
        n_k; the probe moves as much for every client; measures: held: a uni-modal client's download is a multi-modal
        one's, and its prototypes and s_m are of all modalities held
    Waits:
        multi-modal clients for all their modalities, uni-modal ones for the weak one alone (measures: held: for the
        others once it is trained, then a forward pass of all); the first round for the probe of every client; a barrier
        as in FedAvg
    Staleness:
        0 at a barrier; ratios and gradients of clients that were not selected lately are old
    Limits:
        * selection: uniform is FedAvg + ME; with enhancement: false it is FedAvg, number for number
        * rule: code, chi: null, gradients: model is DivFL + ME; with enhancement: false it is DivFL
        * nearest to the published code: rule, coefficient: code, ratio: accuracy, measures: held; to its
          balance_submodular: the same with enhancement: false, gradients: model
        * chi: null never selects a uni-modal client
        * timing-only: selection is uniform and no client is uni-modal, as there are no ratios
    Reconstructed:
        * rule: paper reads eq. 12 and 13 as one choice per step, in which k1 is only compared with k2; literal does
          what eq. 12 says, S_M <- S_M + k1, so that a step selects two, and k1 where there is room for one
        * neither the published code nor this splits a client's gradient into its CE and its ME part: g_k is the whole
          update of the local round. D^M leaves heads out, as in the code; with gradients: model they are in it, as in
          the code's DivFL and balance_submodular
        * the probe trains at the scenario's learning rate: in the published code it is 0, so that its gradients are all
          zero
        * rho_k in beta_k and gamma_k is computed once per local round, over the window and with the received model (the
          paper sums over batches); the one that is uploaded is computed after training
        * chi = 1.5 and weight = 2 are of the code's runs on AVE; its defaults are 1 and 1
        * coefficient: code: in the probe, which knows no global means, c_k stand for them
        * ratio: accuracy counts one sample as right at least, so that no ratio is infinite
        * a class that no selected client holds keeps its prototype, and one that no client ever held takes no part: the
          code averages in zeros; class means are over the samples of the local round
        * a uni-modal client trains before it sees the other modality, if ever, so the server tells it its last rho_k;
          with measures: trained it refreshes its own score only; scores s_m travel instead of their ratio
        * D^W starts from the probe's gradients of that encoder; a client whose probe was lost counts as a zero
          gradient; clients with one modality have zeros in the other's part and rho_k = 1
        * the head is merged per slice over those that trained it; the code averages it over all selected
        * under on_arrival prototypes are mixed like the model, (1 - alpha s) c + alpha s c_k
        * more than two modalities, with two as the special case: s_other is the mean of all other modalities' scores,
          as OGM-GE's ratio is extended, so that every modality below average is enhanced: never all of them, and none
          only if all score alike (coefficient: code: the least of all alone); one modality at a time is weak, the one
          left behind by eq. 18 in duels, one after the other in the data set's order; a client's imbalance, compared
          with chi, is s_other / s_weak; D^M is that of all modalities together, and a client that trains two modalities
          or more refreshes it; recorded is s_m / s_other of each
    """

    Options = BMSFedOptions
    options: BMSFedOptions
    min_modalities = 2

    def client_round(self, client: ClientDay) -> Steps:
        """Spend a local round: the probe, uni-modal training, or joint training."""
        role = client.role
        if role == PROBE:
            yield from probe_round(client, self._probed, self.proximal)
        elif isinstance(role, Weak):
            yield from self._weak_round(client, role)
        else:
            yield from super().client_round(client)

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return what joint training minimises."""
        del client
        return self._objective(ready.modalities)

    def before_rounds(self, server: ServerView) -> Process[None]:
        """Probe all clients if there is a choice to make."""
        if self.options.selection == "submodular":
            yield from probe(server)

    def select(self, view: SelectionView, num_clients: int) -> Mapping[int, Role] | None:
        """Return multi-modal clients, and then clients for the weak modality."""
        options, memory = self.options, view.memory
        if options.selection == "uniform" or not memory.fused.vectors:
            return None
        weak = memory.weak()
        dominance = memory.lead_over(weak)
        multimodal, unimodal = balanced_greedy(
            memory.fused.matrix(),
            memory.single[weak].matrix(),
            dominance,
            view.idle,
            num_clients,
            subset_draw(view, num_clients, options.subset_size),
            threshold=float("inf") if options.chi is None else options.chi,
            rule=options.rule,
        )
        roles: dict[int, Role] = dict.fromkeys(multimodal)
        return roles | {client: Weak(weak, float(dominance[client])) for client in unimodal}

    def initial_memory(self, network: Network, num_clients: int) -> Balance:
        """Return a view without any report."""
        return Balance.empty(network, num_clients)

    def remember(self, memory: Balance, updates: Sequence[ClientUpdate]) -> Balance:
        """Return the view after updates."""
        if not updates:
            return memory
        prototypes = memory.prototypes
        if self._shares:
            prototypes = global_prototypes(self.options.server, prototypes, updates)
        compared = self.options.gradients if self.options.selection == "submodular" else None
        return memory.updated(updates, prototypes, compared)

    def broadcast(self, memory: Balance) -> Values:
        """Return what weights need: of eq. 19 the ratio, in whose place a uni-modal client gets its own; prototypes."""
        options = self.options
        ratio = {RATIO: memory.ratio()} if options.enhancement and options.coefficient == "paper" else {}
        return {**ratio, **named(PROTOTYPE, memory.prototypes)} if self._shares else ratio

    def observe(self, memory: Balance) -> Values:
        """Return rho; of more than two modalities, the ratio of each to the others."""
        if len(memory.modalities) > 2:
            return named("modality_ratio", {m: memory.ratio(m) for m in memory.modalities})
        return {Named("modality_ratio"): memory.ratio()}

    @property
    def _shares(self) -> bool:
        """Whether prototypes travel."""
        return self.options.enhancement and self.options.prototypes == "global"

    def _probed(self, ready: Ready) -> Objective:
        """Return the probe's objective: the server has no prototypes yet, and the received model is measured."""
        return self._objective(ready.modalities, "before")

    def _objective(self, modalities: tuple[str, ...], moment: Moment = "after", *, is_weak: bool = False) -> Objective:
        options = self.options
        if not options.enhancement:
            # Scores are asked for where clients are selected by them.
            selects = options.selection == "submodular"
            return Measuring(modalities, options.ratio, False, moment) if selects else CrossEntropy(modalities)
        return ModalEnhanced(
            modalities,
            options.ratio,
            self._shares,
            moment,
            source="local" if moment == "before" else options.prototypes,
            is_weak=is_weak,
            constant=options.weight if options.coefficient == "code" else None,
        )

    def _weak_round(self, client: ClientDay, role: Weak) -> Steps:
        """Train the weak modality alone, without waiting for the others."""
        measures_all = self.options.measures == "held"
        yield from client.download(None if measures_all else client.network.groups_of((role.modality,)))
        if role.modality not in client.modalities:
            return
        yield from client.wait_for(role.modality)
        broadcast = client.broadcast
        if (ratio := broadcast.get(RATIO)) is not None:
            broadcast = {**broadcast, RATIO: torch.full_like(ratio, role.ratio)}
        objective = self._objective((role.modality,), "never" if measures_all else "after", is_weak=True)
        steps = LocalSteps(objective, client.num_steps(), f"unimodal-{role.modality}", proximal=self.proximal)
        yield from client.train(steps, activity="train_unimodal", broadcast=broadcast)
        if measures_all:
            held = yield from wait_for_all(client, 1)
            measuring = MeasuringOnly(held.modalities, self.options.ratio, self._shares)
            yield from client.train(LocalSteps(measuring, 0, "measure"))
        yield from client.upload()
