"""Objectives: functions that a client minimises, pure over explicit parameters.

An objective is a frozen dataclass, so that equal objectives are recognised (their costs are counted once, their tasks
can be stacked). Shapes: B batch, W window (the samples of one local round), D features.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from torch import Tensor
from torch.nn import functional

from interlude.models.network import Network, Parameters
from interlude.simulator.training.values import Values

Noise = Callable[[Tensor], Tensor]
"""Standard normal numbers in the shape of a tensor."""


@dataclass(frozen=True)
class Batch:
    """Some samples of a client's window."""

    inputs: Mapping[str, Tensor]
    """[B, *shape] of each modality at hand."""
    labels: Tensor
    """[B] class indices."""
    positions: Tensor
    """[B] positions in the window, to index values prepared per sample."""
    mask: Tensor | None = None
    """[B] 1 for samples, 0 for padding; None where nothing is padded."""

    def only(self, modalities: tuple[str, ...]) -> Mapping[str, Tensor]:
        """Return the inputs of the given modalities."""
        return {modality: self.inputs[modality] for modality in modalities}

    def mean(self, per_sample: Tensor) -> Tensor:
        """Return the mean of [B] values over the samples that are not padding."""
        if self.mask is None:
            return per_sample.mean()
        return (per_sample * self.mask).sum() / self.mask.sum()


@dataclass(frozen=True)
class Context:
    """An objective's inputs besides parameters and data."""

    received: Parameters
    """The global model that the client downloaded last."""
    broadcast: Values = field(default_factory=dict)
    """The values that the server sent with the model, and those that the client has of its own."""
    prepared: Values = field(default_factory=dict)
    """What `Objective.prepare` returned, and `Objective.carry` changed since."""


class Objective(ABC):
    """Base of all objectives; a subclass is a frozen dataclass with a field ``modalities``.

    Its functions run for many clients at once and are recorded and replayed, so they are pure: they depend only on
    fields and arguments, do not branch on values or read them, change nothing in place, and honour `Batch.mask` in
    every reduction over samples. A class in a module, not in a script, can be trained by worker processes too.
    """

    modalities: tuple[str, ...]
    """The modalities the objective reads; the others are zero-filled."""

    def groups(self, network: Network) -> tuple[str, ...]:
        """Return the parameter groups that are trained."""
        return network.groups_of(self.modalities)

    def trained(self, network: Network) -> tuple[str, ...]:
        """Return the parameters of these groups that are trained: all here; the others stand still."""
        return tuple(name for group in self.groups(network) for name in network.groups[group])

    @abstractmethod
    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return the scalar to minimise."""

    def begin(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Parameters:
        """Return values that replace parameters before the first of these local steps, by name: none here."""
        del network, parameters, window, context
        return {}

    def prepare(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return values computed from the parameters once, before the first of these local steps."""
        del network, parameters, window, context
        return {}

    def modulate(
        self,
        network: Network,
        gradients: Parameters,
        parameters: Parameters,
        batch: Batch,
        context: Context,
        noise: Noise,
    ) -> Parameters:
        """Return the gradients to step along; `noise` returns standard normal numbers in the shape of a tensor."""
        del network, parameters, batch, context, noise
        return gradients

    def carry(
        self, network: Network, gradients: Parameters, parameters: Parameters, batch: Batch, context: Context
    ) -> Values:
        """Return the prepared values that change before the next of these local steps, as they are then.

        `gradients` are those of the loss, not modulated, at `parameters`, from which the step is taken. `report` sees
        what the last step leaves.
        """
        del network, gradients, parameters, batch, context
        return {}

    def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
        """Return values computed from the trained parameters and uploaded with them."""
        del network, parameters, window, context
        return {}


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Cross-entropy of the fused logits, with every modality not named here zero-filled.

    With one modality of several this is uni-modal training through the joint head: only that encoder, its head slice
    and the shared bias get a gradient.
    """

    modalities: tuple[str, ...]

    def loss(self, network: Network, parameters: Parameters, batch: Batch, context: Context) -> Tensor:
        """Return the mean cross-entropy."""
        del context
        logits = network(parameters, batch.only(self.modalities)).logits
        return batch.mean(functional.cross_entropy(logits, batch.labels, reduction="none"))


@lru_cache(maxsize=1 << 10)
def cross_entropy(modalities: tuple[str, ...]) -> CrossEntropy:
    """Return the cross-entropy of some modalities, cached: it is needed in every local round."""
    return CrossEntropy(modalities)
