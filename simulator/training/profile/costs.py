"""The cost of training: FLOPs, operations and bytes counted on the network itself, never guessed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

from interlude.models.network import Network
from interlude.simulator.errors import BadInputError
from interlude.simulator.training.objective import CrossEntropy, Objective
from interlude.simulator.training.profile.by_samples import BySamples
from interlude.simulator.training.profile.dry_run import Profile, Work
from interlude.simulator.training.task import LocalSteps, steps_per_epoch
from interlude.simulator.training.values import Values

MOST_STEPS = 100_000
"""Most optimiser steps of one phase of a local round: far more than useful, few enough to be counted one by one."""


@dataclass(frozen=True, slots=True)
class TaskCost:
    """The cost of one task, and what it trains."""

    flops: int
    """Beginning, preparation, steps and report."""
    operations: int
    """Of the same."""
    report_bytes: int
    """Payload of the report."""
    groups: tuple[str, ...]
    """Parameter groups trained."""
    modality: str
    """The modalities trained, joined by '+'."""


class _Works:
    """The work of a part of an objective by samples.

    Args:
        made: makes the dry runs of that part.
    """

    def __init__(self, made: Callable[[int], Sequence[Work]]) -> None:
        self._flops = BySamples(lambda num_samples: sum(work.flops for work in made(num_samples)))
        self._operations = BySamples(lambda num_samples: sum(work.operations for work in made(num_samples)))

    def of(self, num_samples: int) -> Work:
        """Return the work on `num_samples`."""
        return Work(self._flops(num_samples), self._operations(num_samples))


class _Costs(NamedTuple):
    """The costs of an objective by samples of a batch or window."""

    before: _Works
    """Beginning and preparation."""
    step: _Works
    report: _Works
    report_bytes: BySamples


class CostModel:
    """Counts FLOPs, operations and bytes for one network and batch size.

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
        self.num_steps = cache(self._num_steps)
        self.step = cache(self._step)
        self.profile = cache(self._profile)
        self._costs = cache(self._costs_of)

    def _num_steps(self, num_samples: int, epochs: int) -> int:
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
        works = [(1, self._costs(steps.objective).before.of(num_samples)) for steps in local_steps]
        works += [
            (num_steps, self.step(steps.objective, size))
            for steps in local_steps
            for size, num_steps in self._steps_by_size(steps, num_samples)
        ]
        works += [(1, self._costs(objective).report.of(num_samples)) for objective in objectives]
        flops = sum(times * work.flops for times, work in works)
        operations = sum(times * work.operations for times, work in works)
        report_bytes = sum(self._costs(objective).report_bytes(num_samples) for objective in objectives)
        groups = tuple(dict.fromkeys(group for o in objectives for group in o.groups(self._network)))
        trained = [modality for modality in self._network.modalities if self._network.encoder_group(modality) in groups]
        return TaskCost(flops, operations, report_bytes, groups, "+".join(trained))

    def _steps_by_size(self, steps: LocalSteps, num_samples: int) -> list[tuple[int, int]]:
        """Return the sizes of the mini-batches of local steps and how many there are of each."""
        per_epoch = steps_per_epoch(num_samples, self._batch_size)
        num_last = (steps.first_step + steps.num_steps) // per_epoch - steps.first_step // per_epoch
        rest = num_samples - (per_epoch - 1) * self._batch_size
        sizes = [(self._batch_size, steps.num_steps - num_last), (rest, num_last)]
        return [(size, num_steps) for size, num_steps in sizes if num_steps > 0]

    def _step(self, objective: Objective, num_samples: int) -> Work:
        """Return the work of one optimiser step (forward and backward) on a mini-batch of `num_samples`."""
        return self._costs(objective).step.of(num_samples)

    def _costs_of(self, objective: Objective) -> _Costs:
        """Return the costs of an objective, by samples."""
        of = partial(self.profile, objective)
        return _Costs(
            before=_Works(lambda num_samples: (of(num_samples).begin, of(num_samples).prepare)),
            step=_Works(lambda num_samples: (of(num_samples).step,)),
            report=_Works(lambda num_samples: (of(num_samples).report,)),
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
    return costs.step(CrossEntropy(network.modalities), batch_size).flops / batch_size
