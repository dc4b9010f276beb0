"""BMSFed: clients and the modality each one trains are selected so that the weak modality catches up.

Fan, Xu, Wang, Huo, Chen, Guo, "Overcome Modal Bias in Multi-modal Federated Learning via Balanced Modality Selection",
ECCV 2024 (arXiv 2401.00403). A and I are two modalities, d the Euclidean distance:

    client   scores    s_m = mean_i softmax_j(-d(z_i^m, c_k,j^m)) at j = y_i, c_k its own class means    (eq. 16)
                       rho_k = s_A / s_I                                                                 (eq. 17)
             multi     CE(fused) + gamma_k L_ME^A + beta_k L_ME^I                                        (eq. 8)
             uni       CE(uni-modal forward) + beta_k L_ME^I, on the weak modality only                  (eq. 9)
                       L_ME^m = -mean_i log softmax_j(-d(z_i^m, c_j^m)) at j = y_i, c global             (eq. 7)
                       beta_k = clip(rho_k - 1, 0, 1), gamma_k = clip(1 / rho_k - 1, 0, 1)               (eq. 19)
    server   c_j^m <- sum_k n_kj c_kj^m / sum_k n_kj     (eq. 15),   rho = sum_k n_k rho_k / sum_k n_k   (eq. 18)
             S_M, S_I by two facility locations on the distances of encoders' gradients                  (eq. 12-13)
             theta_g <- sum_k n_k theta_k,g / sum_k n_k over the clients that trained group g

I is weak where rho > 1, else A, and everything is mirrored. beta_k and gamma_k are one formula: the weight of modality
m is clip(s_other / s_m - 1, 0, 1).

More than two modalities are a reconstruction, with the above as its case of two. s_other becomes the mean of all other
modalities' scores, as OGM-GE's ratio is extended: whoever is below average is enhanced, which is never everybody, and
never nobody unless all score alike. The weak modality, of which there is one at a time, is left behind by eq. 18 in
duels, one after the other in the data set's order; a client's imbalance, compared with chi, is s_other / s_weak. D^M is
that of all encoders together, and a client that trains two modalities or more refreshes it.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from pydantic import Field, PositiveInt, model_validator

from interlude.models.inputs import Inputs
from interlude.models.network import ModelSpec, Network, Parameters
from interlude.simulator.errors import BadInputError
from interlude.simulator.federation.client_day import LocalRound, Steps
from interlude.simulator.federation.rules import Barrier, ServerRule, Serving
from interlude.simulator.federation.server import Choosing, Role, Server
from interlude.simulator.methods.balance import Balance
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.methods.card import FormulaCard
from interlude.simulator.methods.divfl import PROBE, choose_by_values, probe, probe_round, subset_draw
from interlude.simulator.methods.enhancement import ModalEnhanced, Source
from interlude.simulator.methods.facility_location import GradientMap, Rule, balanced_greedy
from interlude.simulator.methods.fedproto import global_prototypes
from interlude.simulator.methods.waiting import Ready
from interlude.simulator.training.evaluation import FUSED
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import CrossEntropy, Objective, Values, proximal
from interlude.simulator.training.prototypes import no_prototypes
from interlude.simulator.training.task import LocalSteps


class BMSFedOptions(MethodOptions):
    """Options of BMSFed; `selection`, `enhancement` and `prototypes` are its ablation switches."""

    name: Literal["bmsfed"] = "bmsfed"
    server: ServerRule = Barrier()
    selection: Literal["submodular", "uniform"] = Field(
        "submodular",
        description="submodular: BMSFed's choice after a probe of all clients; uniform: no choice, no probe",
    )
    rule: Rule = Field("paper", description="how the two greedy choices are resolved")
    chi: float | None = Field(
        1.5, ge=1, description="imbalance above which a client trains the weak modality alone; null: never"
    )
    subset_size: PositiveInt | None = Field(
        None, description="clients a greedy step looks at; unset: clients per round or a tenth of all, the larger"
    )
    enhancement: bool = Field(True, description="the modal-enhancement loss; false: cross-entropy only")
    prototypes: Source = Field("global", description="what the enhancement compares with; local: nothing is sent")

    @model_validator(mode="after")
    def _selection_needs_rounds(self) -> "BMSFedOptions":
        if self.selection == "submodular" and not isinstance(self.server, Barrier):
            raise ValueError(
                "selection 'submodular' probes all clients and then chooses round by round: it needs server.rule "
                "'barrier', or else selection 'uniform'"
            )
        return self

    def check_modalities(self, modalities: Sequence[str]) -> None:
        """Check that there are at least two modalities.

        Raises:
            ValueError: if not.
        """
        if len(modalities) < 2:
            raise ValueError(f"name: BMSFed compares modalities, but the data set has only {', '.join(modalities)}")


class Weak(NamedTuple):
    """The role of a client that trains one modality alone."""

    modality: str
    ratio: float
    """How many times better the others scored at this client when it was last heard of."""


class BMSFed(Method):
    """Balanced modality selection, modal enhancement, merge per group."""

    Options = BMSFedOptions
    options: BMSFedOptions
    card = FormulaCard(
        title="BMSFed: balanced modality selection",
        paper="Fan, Xu, Wang, Huo, Chen, Guo, Overcome Modal Bias in Multi-modal Federated Learning via Balanced "
        "Modality Selection, ECCV 2024 (arXiv 2401.00403)",
        client="multi: CE(fused) + clip(1/rho_k - 1, 0, 1) L_ME^A + clip(rho_k - 1, 0, 1) L_ME^I; uni: CE of the weak "
        "modality's forward + its clip(. - 1, 0, 1) L_ME; L_ME^m = -mean_i log softmax(-||z_i^m - c_j^m||) at y_i with "
        "global class means c; rho_k = s_A/s_I, s_m = mean_i softmax(-||z_i^m - c_k,j^m||) at y_i with the client's "
        "own class means; before the first round every client makes one epoch, with its own class means for c",
        server="c_j^m = sum_k n_kj c_kj^m / sum_k n_kj; rho = sum_k n_k rho_k / sum_k n_k, above 1: I is weak, else A; "
        "K steps on random subsets of s clients: k1, k2 = argmin sum_i min(u_i, D^M_ik), argmin sum_i min(w_i, D^W_ik) "
        "over ||g_i - g_k||, g_k = theta_received - theta_k of the encoders; paper: k2 -> S_W if k1 != k2 and k2's "
        "imbalance > chi, else k2 -> S_M; code: k2 -> S_W if its imbalance > chi, else k1 -> S_M; "
        "theta_g <- sum_k n_k theta_k,g / sum_k n_k over those that trained g",
        payload="down: all groups of the modalities to train, [K,D] prototypes of all modalities, 1 float; up: the "
        "groups trained and of each of their modalities [K,D] prototypes and a float s_m, K class counts, n_k; the "
        "probe moves as much for every client",
        waits="multi-modal clients for all their modalities, uni-modal ones for the weak one alone; the first round "
        "for everybody's probe; a barrier as in FedAvg",
        staleness="0 at a barrier; ratios and gradients of clients that were not selected lately are old",
        reconstructed=(
            "the probe trains at the scenario's learning rate: in the published code it is 0, so that its gradients "
            "are all zero",
            "rho_k in beta_k and gamma_k is computed once per local round, over the window and with the received model "
            "(the paper sums over batches); the one that is uploaded is computed after training",
            "a class that no selected client holds keeps its prototype, and one that nobody ever held takes no part: "
            "the code averages in zeros; class means are over the samples of the local round",
            "a uni-modal client cannot see the other modality, so the server tells it its last rho_k; it refreshes "
            "only its own score; scores s_m travel instead of their ratio",
            "D^W starts from the probe's gradients of that encoder; a client whose probe was lost counts as a zero "
            "gradient; clients with one modality have zeros in the other's part and rho_k = 1",
            "the head is merged per slice over those that trained it; the code averages it over all selected",
            "under on_arrival prototypes are mixed like the model, (1 - alpha s) c + alpha s c_k",
            "more than two modalities: s_other is the mean of all others' scores, the weak modality is left behind by "
            "eq. 18 in duels in the data set's order, one after the other; recorded is s_m / s_other of each",
        ),
        limits=(
            "selection: uniform is FedAvg + ME; with enhancement: false it is FedAvg, number for number",
            "rule: code, chi: null is DivFL + ME; with enhancement: false it is DivFL with gradients: encoders",
            "enhancement: false alone is the published code's balance_submodular",
            "chi: null never selects a uni-modal client",
            "timing-only: selection is uniform and nobody is uni-modal, as there are no ratios",
        ),
    )

    def network(self, spec: ModelSpec, inputs: Inputs, num_classes: int) -> Network:
        """Return the network of the scenario.

        Raises:
            BadInputError: unless there are two modalities or more.
        """
        try:
            self.options.check_modalities(tuple(inputs))
        except ValueError as error:
            raise BadInputError(str(error)) from error
        return super().network(spec, inputs, num_classes)

    def serve(self, server: Server) -> Serving:
        """Probe everybody if there is a choice to make, then run the server rule."""
        if self.options.selection == "submodular":
            yield from probe(server)
        yield from super().serve(server)

    def client_round(self, client: LocalRound) -> Steps:
        """Spend a local round: the probe, uni-modal training, or joint training."""
        role = client.role
        if role == PROBE:
            yield from probe_round(client, lambda ready: self._objective(ready.modalities, source="local"))
        elif isinstance(role, Weak):
            yield from self._weak_round(client, role)
        else:
            yield from super().client_round(client)

    def objective(self, ready: Ready) -> Objective:
        """Return what joint training minimises."""
        return self._objective(ready.modalities, source=self.options.prototypes)

    def choose(self, server: Server, num_clients: int) -> Choosing:
        """Take multi-modal clients and clients for the weak modality."""
        if self.options.selection == "uniform":
            return (yield from super().choose(server, num_clients))
        return choose_by_values(server, num_clients, lambda: self._select(server, num_clients))

    def initial_memory(self, network: Network, num_clients: int) -> Balance:
        """Return a view without any report."""
        nothing = GradientMap.empty(num_clients)
        return Balance(
            network.modalities,
            no_prototypes(network),
            torch.zeros(len(network.modalities), num_clients),
            torch.zeros(num_clients),
            nothing,
            dict.fromkeys(network.modalities, nothing),
        )

    def learn(self, memory: Balance, updates: Sequence[ClientUpdate]) -> Balance:
        """Return the view after updates."""
        prototypes = memory.prototypes
        if self._shares:
            prototypes = global_prototypes(self.options.server, prototypes, updates)
        return memory.updated(updates, prototypes, self.options.selection == "submodular")

    def merge(self, model: Parameters, memory: Balance, updates: Sequence[ClientUpdate]) -> tuple[Parameters, Balance]:
        """Return the next model, merged per group over those that trained it, and the view after the updates."""
        merged, _ = super().merge(model, memory, updates)
        return merged, self.learn(memory, updates)

    def broadcast(self, memory: Balance) -> Values:
        """Return the global ratio, in whose place a uni-modal client gets its own, and the prototypes if compared."""
        if not self.options.enhancement:
            return {}
        ratio = {"ratio": {FUSED: memory.ratio()}}
        return {**ratio, "prototype": memory.prototypes} if self._shares else ratio

    def observe(self, memory: Balance) -> Values:
        """Return rho; of more than two modalities, the ratio of each to the others."""
        if len(memory.modalities) > 2:
            return {"modality_ratio": {m: memory.ratio(m) for m in memory.modalities}}
        return {"modality_ratio": {FUSED: memory.ratio()}}

    @property
    def _shares(self) -> bool:
        """Whether prototypes travel."""
        return self.options.enhancement and self.options.prototypes == "global"

    def _objective(self, modalities: tuple[str, ...], *, source: Source, is_weak: bool = False) -> Objective:
        inner: Objective = ModalEnhanced(modalities, self.options.enhancement, source, self._shares, is_weak)
        if not self.options.enhancement and self.options.selection == "uniform":
            inner = CrossEntropy(modalities)  # nobody asks for scores
        return proximal(inner, self.options.proximal)

    def _weak_round(self, client: LocalRound, role: Weak) -> Steps:
        """Train the weak modality alone, without waiting for the others."""
        model = yield from client.download(client.network.groups_of((role.modality,)))
        if role.modality not in client.modalities:
            return
        yield from client.wait_for(role.modality)
        if "ratio" in client.broadcast:
            told = torch.full_like(client.broadcast["ratio"][FUSED], role.ratio)
            client.broadcast = {**client.broadcast, "ratio": {FUSED: told}}
        objective = self._objective((role.modality,), source=self.options.prototypes, is_weak=True)
        stint = LocalSteps(objective, client.num_steps(), f"unimodal-{role.modality}")
        trained = yield from client.train(stint, start=model, kind="train_unimodal")
        yield from client.upload(trained)

    def _select(self, server: Server, num_clients: int) -> dict[int, Role]:
        """Return the selected clients in their roles, multi-modal ones first."""
        options, memory = self.options, server.memory
        weak = memory.weak()
        dominance = memory.lead_over(weak)
        multimodal, unimodal = balanced_greedy(
            memory.fused.matrix(),
            memory.single[weak].matrix(),
            dominance,
            sorted(server.idle),
            num_clients,
            subset_draw(server, num_clients, options.subset_size),
            threshold=float("inf") if options.chi is None else options.chi,
            rule=options.rule,
        )
        roles: dict[int, Role] = dict.fromkeys(multimodal)
        return roles | {client: Weak(weak, float(dominance[client])) for client in unimodal}
