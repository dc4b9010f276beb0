"""FedCMI: the dominant modality of the global model infiltrates the weak one (Fan et al., 2023)."""

from collections.abc import Sequence

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from interlude.models.decomposed import (
    CLASSIFIER,
    INFILTRATION_PROJECTOR,
    DecomposedNetwork,
    ProjectorName,
)
from interlude.models.groups import part_of
from interlude.models.inputs import Inputs
from interlude.models.network import Network, Parameters, select_groups
from interlude.models.spec import ModelSpec
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.rules import Barrier, ServerRule
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.fedcmi.objective import Infiltrated, InfiltratedAlone
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.waiting import Ready
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Objective

_PERSONAL_PARTS = (INFILTRATION_PROJECTOR, CLASSIFIER)


class FedCMIOptions(MethodOptions):
    """Options of FedCMI; the defaults are the released code's numbers, with its switches for the whole method on."""

    name: str = "fedcmi"
    server: ServerRule = Barrier()
    proximal: NonNegativeFloat = Field(1.0, description="mu of (mu/2) ||w - w_received||^2 over the trained groups")
    c1: NonNegativeFloat = Field(2.0, description="weight of the cross-entropy of each modality's own classifier")
    c2: NonNegativeFloat = Field(1.0, description="weight of the distillation")
    kappa: NonNegativeFloat = Field(2.0, description="strength of the class-wise temperature")
    class_wise: bool = Field(True, description="one temperature per class; false: temperature 1")
    warm_up: NonNegativeInt = Field(1, description="versions before distillation starts; rounds at a barrier")
    projector: ProjectorName = Field("linear", description="one linear layer, or three with ReLU between")
    personalised_branch: bool = Field(False, description="infiltration projectors and classifiers stay each client's")


class FedCMI(Method):
    """FedCMI: cross-modal infiltration.

    a and v are two modalities in the data set's order; aa, vv their self projections, av, va their infiltration
    projections (av: a imitating v), q_a, q_v the shared classifiers, h the fusion head, g the downloaded model, p(.; T)
    = softmax(. / T).

    Paper:
        Fan, Xu, Wang, Zhu, Guo, Balanced Multi-modal Federated Learning via Cross-Modal Infiltration, arXiv 2401.00894,
        2023; equations as in the code that its first author released with BMSFed (ECCV 2024)
    Client:
        per mini-batch, unless said otherwise:
            L = CE(h([aa; vv]), y) + c1 CE(q_a(aa), y) + c1 CE(q_v(vv), y) + c2 L_KD + (mu/2) ||w - w_g||^2
            L = CE(h([aa; av]), y)   of a client with modality a alone
            rho = sum_i p(q_a(aa_i))_{y_i} / sum_i p(q_v(vv_i))_{y_i}
            L_KD = -mean_i sum_c p(q_a^g(aa^g_i); T_{y_i})_c log p(q_v(va_i); T_{y_i})_c
                   if rho > 1, else a and v swapped: g's dominant modality teaches the weak one
            r_c = P_a[c] / P_v[c], P_m[c] = mean over local samples of class c of p(q_m^g)_c
            rbar = mean of r_c over classes
            T_c = 1 / (1 + kappa ln(r_c / rbar))   if rbar > 1 and r_c > rbar
                  1 / (1 + kappa ln(rbar / r_c))   if rbar <= 1 and r_c < rbar
                  1                                else
        T_c <= 1 by how far class c lags.
    Server:
        sample-weighted mean: each side over the clients that hold the modality, the head over all
    Payload:
        down: encoder, both projectors and shared classifier of the modalities held, the whole head; up: the same, and
        n_k
    Waits:
        clients wait for all their modalities; temperatures cost a forward pass of the global model over the window, and
        so does the teacher in every step
    Staleness:
        0 at a barrier; elsewhere as the server rule's paper, with the downloaded version as teacher
    Limits:
        * c1 = c2 = mu = 0 is FedAvg on the decomposed network where every client holds both modalities
    Reconstructed:
        * the released code's switches are on here and off there by default: --prox (off: proximal: 0) and, of
          distillation, --class_wise_t with --cross_modal_distill, without which that code distils nothing (c2: 0);
          with which of them the paper's tables were made is not known
        * class_wise: false, a temperature of 1: that branch of the released code cannot be reached
        * warm-up counted in versions where the server has no rounds
        * probabilities are kept above 1e-12 in the temperatures
        * with personalised_branch the teacher and the proximal term see the client's own branch as well
        * weight decay also acts on the classifier of a client with one modality, which its loss does not touch
        * a client that starts with one modality of two (waiting: first) trains as one that holds one
        * more than two modalities, with two as the special case: the modality d with the largest sum_i
          p(q_d(dd_i))_{y_i} in the mini-batch teaches each of the others ("the dominant modality infiltrates the weak
          one"); L_KD is the mean of these M - 1 distillations, so that c2 keeps its meaning, and each uses T_c of its
          pair of modalities; the mean of the infiltration projections of the modalities at hand stands in for a missing
          one
    """

    Options = FedCMIOptions
    options: FedCMIOptions
    min_modalities = 2

    def network(self, spec: ModelSpec, inputs: Inputs, num_classes: int) -> Network:
        """Return the network with self and infiltration projections and a classifier of each modality."""
        return DecomposedNetwork(spec, inputs, num_classes, self.options.projector)

    def objective(self, client: ClientDay, ready: Ready) -> Objective:
        """Return the infiltrated objective, without distillation during warm-up."""
        options = self.options
        if len(ready.modalities) == 1:
            return InfiltratedAlone(ready.modalities)
        c2 = options.c2 if client.version >= options.warm_up else 0.0
        return Infiltrated(ready.modalities, options.c1, c2, options.kappa if options.class_wise else 0.0)

    def initial_memory(self, network: Network, num_clients: int) -> dict[int, Parameters]:
        """Return every client's own branch: none yet."""
        del network, num_clients
        return {}

    def model_for(self, model: Parameters, memory: dict[int, Parameters], client: int) -> Parameters:
        """Return the global model with the client's own branch, if it keeps one."""
        return {**model, **memory[client]} if client in memory else model

    def remember(self, memory: dict[int, Parameters], updates: Sequence[ClientUpdate]) -> dict[int, Parameters]:
        """Return each client's own branch where branches are personal."""
        if not self.options.personalised_branch:
            return memory
        return memory | {update.client: _branch(update) for update in updates}


def _branch(update: ClientUpdate) -> Parameters:
    """Return a client's infiltration projectors and classifiers."""
    groups = [group for group in update.groups if part_of(group) in _PERSONAL_PARTS]
    return select_groups(update.parameters, groups)
