"""The dry run of an objective, on shapes instead of values.

The functions that training runs are executed once on the meta device and counted (`profile.shapes`). Matrix products
and convolutions count, two FLOPs per multiply-add, forward and backward; element-wise work does not. Operations are
counted besides: what PyTorch dispatches, but for views, which move nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from interlude.models.network import Network, Parameters
from interlude.simulator.training.objective import Batch, Context, Objective
from interlude.simulator.training.operations import OperationWatcher
from interlude.simulator.training.profile import shapes
from interlude.simulator.training.values import Named, Values, num_bytes

T = TypeVar("T")

_OPERATIONS_PER_UPDATE = 2
"""To scale a gradient and to subtract it."""


class Work(NamedTuple):
    """What a computation counts."""

    flops: int
    operations: int
    """Kernels started: on a small network a device spends more time on starting them than on FLOPs."""


class _Step(NamedTuple):
    work: Work
    modulates: bool
    carried: tuple[Named, ...]
    noise_shapes: tuple[torch.Size, ...]


class Profile:
    """The dry run of an objective on a batch or window of some samples; each part runs when it is first needed.

    Args:
        network: the network trained.
        objective: what is profiled.
        num_samples: samples in the batch or window.
        broadcast: an example of what the server sends along; only its shapes matter.
    """

    def __init__(self, network: Network, objective: Objective, num_samples: int, broadcast: Values) -> None:
        self._network = network
        self._objective = objective
        self._received = _Watched(network.shapes)
        index = torch.empty(num_samples, dtype=torch.long, device="meta")
        self._batch = Batch(network.example(objective.modalities, num_samples), index, index)
        self._unprepared = Context(self._received, {key: value.to("meta") for key, value in broadcast.items()})

    @property
    def begin(self) -> Work:
        """The work of what replaces parameters at the beginning."""
        return self._beginning[1]

    @property
    def begun(self) -> tuple[str, ...]:
        """The parameters that are replaced at the beginning; none for most objectives."""
        return tuple(self._beginning[0])

    @property
    def prepare(self) -> Work:
        """The work of the preparation."""
        return self._preparation[1]

    @property
    def step(self) -> Work:
        """The work of one optimiser step, forward and backward; its operations with reading and updating."""
        return self._step.work

    @property
    def report(self) -> Work:
        """The work of the report."""
        return self._reporting[1]

    @property
    def report_bytes(self) -> int:
        """Payload of the report."""
        return num_bytes(self._reporting[0])

    @property
    def prepared(self) -> tuple[Named, ...]:
        """What is prepared; nothing for most objectives."""
        return tuple(self._preparation[0])

    @property
    def reported(self) -> tuple[Named, ...]:
        """What is reported."""
        return tuple(self._reporting[0])

    @property
    def needs_window(self) -> bool:
        """Whether the samples of the whole window are read, not only mini-batches of them."""
        return bool(self.begun or self.prepared or self.reported)

    @property
    def modulates(self) -> bool:
        """Whether gradients are modulated."""
        return self._step.modulates

    @property
    def carried(self) -> tuple[Named, ...]:
        """What is carried from one step to the next; nothing for most objectives."""
        return self._step.carried

    @property
    def noise_shapes(self) -> tuple[torch.Size, ...]:
        """Shapes of the normal numbers that one step draws, in order."""
        return self._step.noise_shapes

    @cached_property
    def reads_received(self) -> bool:
        """Whether the objective reads the model that the client downloaded."""
        _ = self._beginning, self._preparation, self._step, self._reporting  # known once all parts have run
        return self._received.is_read

    @cached_property
    def _beginning(self) -> tuple[Parameters, Work]:
        network = self._network
        return _counted(partial(self._objective.begin, network, network.shapes, self._batch, self._unprepared))

    @cached_property
    def _preparation(self) -> tuple[Values, Work]:
        network = self._network
        return _counted(partial(self._objective.prepare, network, network.shapes, self._batch, self._unprepared))

    @cached_property
    def _context(self) -> Context:
        return Context(self._received, self._unprepared.broadcast, self._preparation[0])

    @cached_property
    def _reporting(self) -> tuple[Values, Work]:
        network = self._network
        return _counted(partial(self._objective.report, network, network.shapes, self._batch, self._context))

    @cached_property
    def _step(self) -> _Step:
        network, objective, batch, context = self._network, self._objective, self._batch, self._context
        names = objective.trained(network)
        leaves = {name: network.shapes[name].clone().requires_grad_() for name in names}
        parameters = {**network.shapes, **leaves}
        noise_shapes: list[torch.Size] = []

        def noise(like: Tensor) -> Tensor:
            noise_shapes.append(like.shape)
            return torch.empty_like(like)

        def step() -> tuple[bool, Values]:
            with torch.enable_grad():
                loss = objective.loss(network, parameters, batch, context)
                # a probe trains nothing
                values = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True) if leaves else ()
            gradients = dict(zip(leaves, values, strict=True))
            with torch.no_grad():
                modulated = objective.modulate(network, gradients, parameters, batch, context, noise)
                carried = objective.carry(network, gradients, parameters, batch, context)
            return any(modulated[name] is not gradient for name, gradient in gradients.items()), carried

        (modulates, carried), work = _counted(step)
        read = len(objective.modalities) + 1  # labels
        work = work._replace(operations=work.operations + read + _OPERATIONS_PER_UPDATE * len(names))
        return _Step(work, modulates, tuple(carried), tuple(noise_shapes))


class _Watched(Mapping[str, Tensor]):
    """Parameters that record whether they are read."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self.is_read = False

    def __getitem__(self, name: str) -> Tensor:
        self.is_read = True
        return self._parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)


class WorkCounter(OperationWatcher):
    """Counts operations and their FLOPs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # nor its constructors
        self.flops = 0
        self.operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.operations += not func.is_view
        out, flops = shapes.call(func, args, kwargs or {})
        self.flops += flops
        return out


def _counted(function: Callable[[], T]) -> tuple[T, Work]:
    """Return what a function returns, and its work."""
    with WorkCounter() as counter:
        result = function()
    return result, Work(counter.flops, counter.operations)
