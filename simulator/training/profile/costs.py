"""The cost of training: FLOPs and bytes counted on the network itself, never guessed."""

from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

from interlude.models.network import Network
from interlude.simulator.errors import BadInputError
from interlude.simulator.training.objective import CrossEntropy, Objective
from interlude.simulator.training.profile.by_samples import BySamples
from interlude.simulator.training.profile.dry_run import Profile
from interlude.simulator.training.task import LocalSteps, steps_per_epoch
from interlude.simulator.training.values import Values

MOST_STEPS = 100_000
"""Most optimiser steps of one phase of a local round: far more than useful, few enough to be counted one by one."""


@dataclass(frozen=True, slots=True)
class TaskCost:
    """The cost of one task, and what it trains."""

    flops: int
    """Beginning, preparation, steps and report."""
    report_bytes: int
    """Payload of the report."""
    groups: tuple[str, ...]
    """Parameter groups trained."""
    modality: str
    """The modalities trained, joined by '+'."""


class _Counts(NamedTuple):
    """The counts of an objective by samples of a batch or window."""

    before_flops: BySamples
    step_flops: BySamples
    report_flops: BySamples
    report_bytes: BySamples


class CostModel:
    """Counts FLOPs and bytes for one network and batch size.

    Args:
        network: the network trained.
        batch_size: samples of a full mini-batch.
        broadcast: an example of what the server sends along; only its shapes matter.
    """

    def __init__(self, network: Network, batch_size: int, broadcast: Values) -> None:
        self._network = network
        self._batch_size = batch_size
        self._broadcast = broadcast
        # Objectives are frozen dataclasses, so every count is made once.
        self.of_task = cache(self._of_task)
        self.profile = cache(self._profile)
        self._counts = cache(self._counts_of)

    def num_steps(self, num_samples: int, epochs: int) -> int:
        """Return the steps of some passes over a window.

        Raises:
            BadInputError: if they are more than `MOST_STEPS`.
        """
        num_steps = epochs * steps_per_epoch(num_samples, self._batch_size)
        if num_steps > MOST_STEPS:
            raise BadInputError(
                f"a local round of {num_samples} samples would take {num_steps:.3g} optimiser steps "
                f"({epochs:.3g} passes, batches of {self._batch_size}), but at most {MOST_STEPS:,} are allowed"
            )
        return num_steps

    def batch_samples(self, step: int, num_samples: int) -> int:
        """Return the samples in the `step`-th mini-batch over a window: full ones, then the rest of each pass."""
        per_epoch = steps_per_epoch(num_samples, self._batch_size)
        is_last = step % per_epoch == per_epoch - 1
        return num_samples - (per_epoch - 1) * self._batch_size if is_last else self._batch_size

    def _of_task(self, local_steps: tuple[LocalSteps, ...], num_samples: int) -> TaskCost:
        """Return the cost of a task on a window of `num_samples`."""
        objectives = list(dict.fromkeys(steps.objective for steps in local_steps))
        flops = sum(
            num_steps * self.step_flops(steps.objective, size)
            for steps in local_steps
            for size, num_steps in self._steps_by_size(steps, num_samples)
        )
        flops += sum(self._counts(steps.objective).before_flops(num_samples) for steps in local_steps)
        flops += sum(self._counts(objective).report_flops(num_samples) for objective in objectives)
        report_bytes = sum(self._counts(objective).report_bytes(num_samples) for objective in objectives)
        groups = tuple(dict.fromkeys(group for o in objectives for group in o.groups(self._network)))
        trained = [modality for modality in self._network.modalities if self._network.encoder_group(modality) in groups]
        return TaskCost(flops, report_bytes, groups, "+".join(trained))

    def _steps_by_size(self, steps: LocalSteps, num_samples: int) -> list[tuple[int, int]]:
        """Return the sizes of the mini-batches of local steps and how many there are of each."""
        per_epoch = steps_per_epoch(num_samples, self._batch_size)
        num_last = (steps.first_step + steps.num_steps) // per_epoch - steps.first_step // per_epoch
        rest = num_samples - (per_epoch - 1) * self._batch_size
        sizes = [(self._batch_size, steps.num_steps - num_last), (rest, num_last)]
        return [(size, num_steps) for size, num_steps in sizes if num_steps > 0]

    def step_flops(self, objective: Objective, num_samples: int) -> int:
        """Return the FLOPs of one optimiser step (forward and backward) on a mini-batch of `num_samples`."""
        return self._counts(objective).step_flops(num_samples)

    def _counts_of(self, objective: Objective) -> _Counts:
        """Return the counts of an objective, by samples."""
        of = partial(self.profile, objective)
        return _Counts(
            before_flops=BySamples(lambda num_samples: of(num_samples).begin_flops + of(num_samples).prepare_flops),
            step_flops=BySamples(lambda num_samples: of(num_samples).step_flops),
            report_flops=BySamples(lambda num_samples: of(num_samples).report_flops),
            report_bytes=BySamples(lambda num_samples: of(num_samples).report_bytes),
        )

    def _profile(self, objective: Objective, num_samples: int) -> Profile:
        """Return the dry run of an objective on `num_samples`."""
        return Profile(self._network, objective, num_samples, self._broadcast)


@dataclass(frozen=True)
class _Counted:
    """A network and batch size whose costs are counted; equal to any other with the same costs."""

    key: tuple[Any, ...]
    network: Network = field(compare=False)
    batch_size: int = field(compare=False)
    broadcast: Values = field(compare=False)


def shared_costs(network: Network, batch_size: int, broadcast: Values) -> CostModel:
    """Return the cost model, cached for equal networks: counting takes longer than simulating a short run.

    Args:
        network: the network trained.
        batch_size: samples of a full mini-batch.
        broadcast: an example of what the server sends along.
    """
    shapes = [(key, tuple(value.shape), value.dtype) for key, value in broadcast.items()]
    kind, made_of = network.__reduce__()
    return _shared(_Counted((kind, repr(made_of), batch_size, tuple(shapes)), network, batch_size, broadcast))


@lru_cache(maxsize=16)
def _shared(counted: _Counted) -> CostModel:
    return CostModel(counted.network, counted.batch_size, counted.broadcast)


def joint_flops_per_sample(network: Network, batch_size: int) -> float:
    """Return the FLOPs of training on one sample with cross-entropy on all modalities, in a full mini-batch."""
    costs = shared_costs(network, batch_size, {})
    return costs.step_flops(CrossEntropy(network.modalities), batch_size) / batch_size
