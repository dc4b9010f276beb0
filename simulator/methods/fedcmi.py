"""FedCMI: the dominant modality of the global model infiltrates the weak one.

Fan, Xu, Wang, Zhu, Guo, "Balanced Multi-modal Federated Learning via Cross-Modal Infiltration", arXiv 2401.00894, 2023.
The equations are those of the code that its first author released with BMSFed (ECCV 2024). a and v are two
modalities in the data set's order; aa, vv their self projections, av, va their infiltration projections (av: a
imitating v), q_a, q_v the shared classifiers, h the fusion head, g the downloaded model, p(.; T) = softmax(. / T):

    L = CE(h([aa; vv]), y) + c1 CE(q_a(aa), y) + c1 CE(q_v(vv), y) + c2 L_KD + (mu/2) ||w - w_g||^2
    rho = sum_i p(q_a(aa_i))_{y_i} / sum_i p(q_v(vv_i))_{y_i}                                        per mini-batch
    L_KD = -mean_i sum_c p(q_a^g(aa^g_i); T_{y_i})_c log p(q_v(va_i); T_{y_i})_c     if rho > 1, else a and v swapped
    r_c = P_a[c] / P_v[c], P_m[c] = mean over local samples of class c of p(q_m^g)_c;  rbar = mean of r_c over classes
    T_c = 1 / (1 + kappa ln(r_c / rbar))   if rbar > 1 and r_c > rbar;   1 / (1 + kappa ln(rbar / r_c))   if rbar <= 1
          and r_c < rbar;   else 1

A client with one modality minimises CE(h([aa; av]), y). Sides are merged over the clients that hold them. With
c1 = c2 = mu = 0 this is FedAvg on the decomposed network.

More than two modalities are a reconstruction, with the above as its case of two. "The dominant modality infiltrates the
weak one": the modality d with the largest sum_i p(q_d(dd_i))_{y_i} in the mini-batch teaches each of the others, and
L_KD is the mean of these M - 1 distillations, so that c2 keeps its meaning. Each uses T_c of its pair of modalities.
What stands in for a missing modality is the mean of the infiltration projections of those at hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor
from torch.nn import functional

from interlude.models.decomposed import DecomposedNetwork, Projections, ProjectorName
from interlude.models.inputs import Inputs
from interlude.models.network import ModelSpec, Network, Parameters, select_groups
from interlude.simulator.errors import BadInputError
from interlude.simulator.federation.client_day import LocalRound
from interlude.simulator.federation.rules import Barrier, ServerRule
from interlude.simulator.methods.base import Method, MethodOptions
from interlude.simulator.methods.card import FormulaCard
from interlude.simulator.methods.waiting import Ready
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Batch, Context, Objective, Values, proximal

_SMALLEST_PROBABILITY = 1e-12  # a softmax that underflows must not make a temperature of 0
_PERSONAL_PARTS = ("infiltration_projector", "classifier")


class FedCMIOptions(MethodOptions):
    """Options of FedCMI; the defaults are those of the released code."""

    name: Literal["fedcmi"] = "fedcmi"
    server: ServerRule = Barrier()
    proximal: NonNegativeFloat = Field(1.0, description="mu of (mu/2) ||w - w_received||^2 over the trained groups")
    c1: NonNegativeFloat = Field(2.0, description="weight of the cross-entropy of each modality's own classifier")
    c2: NonNegativeFloat = Field(1.0, description="weight of the distillation")
    kappa: NonNegativeFloat = Field(2.0, description="strength of the class-wise temperature")
    class_wise: bool = Field(True, description="one temperature per class; false: temperature 1")
    warm_up: NonNegativeInt = Field(1, description="versions before distillation starts; rounds at a barrier")
    projector: ProjectorName = Field("linear", description="one linear layer, or three with ReLU between")
    personalised_branch: bool = Field(False, description="infiltration projectors and classifiers stay each client's")

    def check_modalities(self, modalities: Sequence[str]) -> None:
        """Check that there are at least two modalities.

        Raises:
            ValueError: if not.
        """
        if len(modalities) < 2:
            raise ValueError(
                f"name: fedcmi distils between modalities, but the data set has only {', '.join(modalities)}"
            )


@dataclass(frozen=True)
class Infiltrated(Objective):
    """A client's joint loss with two modalities or more at hand."""

    modalities: tuple[str, ...]
    c1: float
    c2: float
    """0 during warm-up: nothing is distilled."""
    kappa: float
    """0 for a temperature of 1."""

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return T_c [K] of each pair of modalities, by the global model's own classifiers over the window."""
        del parameters
        if self.c2 == 0.0 or self.kappa == 0.0:
            return {}
        teachers = _own_logits(network, context.received, window.only(self.modalities))
        one_hot = _one_hot(window.labels, network.num_classes)  # [W, K]
        if window.mask is not None:
            one_hot = one_hot * window.mask[:, None]
        counts = one_hot.sum(dim=0)
        true = {m: (z.softmax(dim=1) * one_hot).sum(dim=0) / counts.clamp(min=1.0) for m, z in teachers.items()}
        pairs = combinations(self.modalities, 2)
        return {
            "temperature": {_pair(a, v): class_temperatures(true[a], true[v], counts > 0, self.kappa) for a, v in pairs}
        }

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return CE(fused) + c1 sum_m CE(q_m) + c2 L_KD."""
        decomposed = _decomposed(network)
        inputs = batch.only(self.modalities)
        # only distillation infiltrates, and what stands in for a modality that is missing
        infiltrates = self.c2 > 0.0 or len(self.modalities) < len(network.modalities)
        both = decomposed.project(parameters, inputs) if infiltrates else None
        own = network.features(parameters, inputs) if both is None else both.own
        slots = own if both is None else _slots(network, both)
        loss = _cross_entropy(network.classify(parameters, slots), batch)
        if self.c1 == self.c2 == 0.0:
            return loss
        logits = {m: decomposed.classify_alone(parameters, m, z) for m, z in own.items()}
        loss = loss + self.c1 * sum(_cross_entropy(z, batch) for z in logits.values())
        if both is None or self.c2 == 0.0:
            return loss
        students = {m: decomposed.classify_alone(parameters, m, z) for m, z in both.infiltration.items()}
        teachers = _own_logits(network, context.received, inputs)
        taught = [self._taught_by(m, teachers[m], students, batch, context) for m in teachers]
        scores = [batch.mean(_true_probability(z, batch.labels)) for z in logits.values()]
        by_dominant, best = taught[0], scores[0]
        for by_next, score in zip(taught[1:], scores[1:], strict=True):
            by_dominant = torch.where(best > score, by_dominant, by_next)  # of two: rho > 1
            best = torch.maximum(best, score)
        return loss + self.c2 * by_dominant

    def _taught_by(
        self, dominant: str, teacher: Tensor, students: Mapping[str, Tensor], batch: Batch, context: Context
    ) -> Tensor:
        """Return L_KD if one modality dominates: the mean of its distillations into all others."""
        losses = []
        for modality, student in students.items():
            if modality != dominant:
                pair = _pair(*(m for m in self.modalities if m in (dominant, modality)))
                temperature = torch.ones_like(batch.labels, dtype=teacher.dtype)
                if "temperature" in context.prepared:
                    temperature = context.prepared["temperature"][pair][batch.labels]
                losses.append(batch.mean(distillation(teacher, student, temperature)))
        return torch.stack(losses).mean() if len(losses) > 1 else losses[0]


@dataclass(frozen=True)
class InfiltratedAlone(Objective):
    """The cross-entropy where one modality's infiltration projection stands in for the missing modality."""

    modalities: tuple[str, ...]

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return CE(h([aa; av]), y), or CE(h([va; vv]), y) of the other modality."""
        del context
        slots = _slots(network, _decomposed(network).project(parameters, batch.only(self.modalities)))
        return _cross_entropy(network.classify(parameters, slots), batch)


def class_temperatures(a: Tensor, v: Tensor, present: Tensor, kappa: float) -> Tensor:
    """Return T_c [K] from both modalities' mean true-class probabilities [K]; absent classes keep 1.

    Args:
        a: P_a[c].
        v: P_v[c].
        present: whether a class has samples here.
        kappa: strength.
    """
    ratio = a.clamp(min=_SMALLEST_PROBABILITY) / v.clamp(min=_SMALLEST_PROBABILITY)
    mean = (ratio * present).sum() / present.sum().clamp(min=1)
    lag = torch.where(mean > 1.0, ratio / mean, mean / ratio)
    return torch.where(present & (lag > 1.0), 1.0 / (1.0 + kappa * lag.clamp(min=1.0).log()), torch.ones_like(lag))


def distillation(teacher: Tensor, student: Tensor, temperature: Tensor) -> Tensor:
    """Return -sum_c p(teacher; T)_c log p(student; T)_c per sample [B] from logits [B, K] and T [B]."""
    target = (teacher / temperature[:, None]).softmax(dim=1).detach()
    return -(target * (student / temperature[:, None]).log_softmax(dim=1)).sum(dim=1)


def _pair(first: str, second: str) -> str:
    """Return what the temperatures of two modalities are called, in the data set's order."""
    return f"{first}+{second}"


def _slots(network: Network, at_hand: Projections) -> dict[str, Tensor]:
    """Return what the head reads of each modality: its self projection, or the others' mean infiltration of it."""
    infiltration = list(at_hand.infiltration.values())
    missing = infiltration[0] if len(infiltration) == 1 else torch.stack(infiltration).mean(dim=0)
    return {m: at_hand.own.get(m, missing) for m in network.modalities}


def _own_logits(network: Network, parameters: Parameters, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    own = network.features(parameters, inputs)
    return {m: _decomposed(network).classify_alone(parameters, m, z) for m, z in own.items()}


def _true_probability(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1)


def _one_hot(labels: Tensor, num_classes: int) -> Tensor:
    return (labels[:, None] == torch.arange(num_classes, device=labels.device)).float()


def _cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    return batch.mean(functional.cross_entropy(logits, batch.labels, reduction="none"))


def _decomposed(network: Network) -> DecomposedNetwork:
    assert isinstance(network, DecomposedNetwork)
    return network


class FedCMI(Method):
    """Cross-modal infiltration on the decomposed network."""

    Options = FedCMIOptions
    options: FedCMIOptions
    card = FormulaCard(
        title="FedCMI: cross-modal infiltration",
        paper="Fan, Xu, Wang, Zhu, Guo, Balanced Multi-modal Federated Learning via Cross-Modal Infiltration, arXiv "
        "2401.00894, 2023; equations as in the code that its first author released with BMSFed (ECCV 2024)",
        client="CE(h([aa; vv])) + c1 CE(q_a(aa)) + c1 CE(q_v(vv)) + c2 L_KD + (mu/2)||w - w_g||^2; L_KD = "
        "cross-entropy of the weak modality's infiltration projection with the global model's dominant modality, both "
        "at T_y; dominance rho per mini-batch, T_c <= 1 by how far class c lags; one modality alone: CE(h([aa; av]))",
        server="sample-weighted mean: each side over the clients that hold the modality, the head over all",
        payload="down: encoder, both projectors and shared classifier of the modalities held, the whole head; up: the "
        "same, and n_k",
        waits="clients wait for all their modalities; temperatures cost a forward pass of the global model over the "
        "window, and so does the teacher in every step",
        staleness="0 at a barrier; elsewhere as the server rule's paper, with the downloaded version as teacher",
        reconstructed=(
            "class_wise: false, a temperature of 1: that branch of the released code cannot be reached",
            "warm-up counted in versions where the server has no rounds",
            "probabilities are kept above 1e-12 in the temperatures",
            "with personalised_branch the teacher and the proximal term see the client's own branch as well",
            "weight decay also acts on the classifier of a client with one modality, which its loss does not touch",
            "a client that starts with one modality of two (waiting: first) trains as one that holds one",
            "more than two modalities: the dominant one of the batch teaches each of the others, L_KD is the mean of "
            "these distillations, T_c is that of teacher and student; the mean infiltration of the modalities at hand "
            "stands in for a missing one",
        ),
        limits=("c1 = c2 = mu = 0 is FedAvg on the decomposed network where every client holds both modalities",),
    )

    def network(self, spec: ModelSpec, inputs: Inputs, num_classes: int) -> DecomposedNetwork:
        """Return the decomposed network.

        Raises:
            BadInputError: unless there are two modalities or more.
        """
        try:
            self.options.check_modalities(tuple(inputs))
        except ValueError as error:
            raise BadInputError(str(error)) from error
        return DecomposedNetwork(spec, inputs, num_classes, self.options.projector)

    def objective_at(self, client: LocalRound, ready: Ready) -> Objective:
        """Return the infiltrated objective, without distillation during warm-up."""
        options = self.options
        inner: Objective = InfiltratedAlone(ready.modalities)
        if len(ready.modalities) > 1:
            c2 = options.c2 if client.version >= options.warm_up else 0.0
            inner = Infiltrated(ready.modalities, options.c1, c2, options.kappa if options.class_wise else 0.0)
        return proximal(inner, options.proximal)

    def initial_memory(self, network: Network, num_clients: int) -> dict[int, Parameters]:
        """Return every client's own branch: none yet."""
        del network, num_clients
        return {}

    def model_for(self, model: Parameters, memory: dict[int, Parameters], client: int) -> Parameters:
        """Return the global model with the client's own branch, if it keeps one."""
        return {**model, **memory[client]} if client in memory else model

    def merge(
        self, model: Parameters, memory: dict[int, Parameters], updates: Sequence[ClientUpdate]
    ) -> tuple[Parameters, dict[int, Parameters]]:
        """Return the next model, and each client's own branch where branches are personal."""
        merged, _ = super().merge(model, memory, updates)
        if self.options.personalised_branch:
            memory = memory | {update.client: _branch(update) for update in updates}
        return merged, memory


def _branch(update: ClientUpdate) -> Parameters:
    """Return a client's infiltration projectors and classifiers."""
    groups = [group for group in update.groups if group.startswith(_PERSONAL_PARTS)]
    return select_groups(update.parameters, groups)
