"""What a FedCMI client minimises: cross-entropy, each modality's own, and the distillation into the weak one.

Formulas: see `interlude.simulator.methods.fedcmi.FedCMI`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

from interlude.models.decomposed import (
    DecomposedNetwork,
    Projections,
)
from interlude.models.network import Network, Parameters
from interlude.simulator.training.objective import Batch, Context, Objective
from interlude.simulator.training.values import Named, Values

_SMALLEST_PROBABILITY = 1e-12  # a softmax that underflows must not make a temperature of 0


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
        return {
            _temperature(a, v): class_temperatures(true[a], true[v], counts > 0, self.kappa)
            for a, v in combinations(self.modalities, 2)
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
                key = _temperature(*(m for m in self.modalities if m in (dominant, modality)))
                temperature = torch.ones_like(batch.labels, dtype=teacher.dtype)
                if key in context.prepared:
                    temperature = context.prepared[key][batch.labels]
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


def _temperature(first: str, second: str) -> Named:
    """Return what the temperatures of two modalities are called, in the data set's order."""
    return Named("temperature", f"{first}+{second}")


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
