"""How training runs on this machine, and the fixed rule that decides it.

Nothing here is timed at run time: the same scenario on the same device takes the same path and gives the same bytes.

    batch statistics in the network        looped: a padded batch would change them
    convolutions on a CPU                  looped: stacked convolutions are slower than one by one
    convolutions on a GPU, rows > 16 MB    looped: a client fills the device by itself
    rows > 4 MB on a CPU                   looped: products that large gain nothing from a stack
    else                                   stacked: on a GPU in groups of 128; on a CPU of up to 64, of fewer where
                                           their parameters take more than 32 MB, but not of fewer than 16

`interlude calibrate` measures whether the rule is right for a machine, and prints what to set where it is not.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from interlude.models.network import Network
from interlude.simulator.errors import BadInputError
from interlude.simulator.training.host import has_bfloat16
from interlude.simulator.training.objective import Batch, Context, CrossEntropy
from interlude.simulator.training.profile.dry_run import WorkCounter
from interlude.simulator.training.spec import ExecutorSpec

_CPU_GROUP = 64
_LEAST_CPU_GROUP = 16
_CPU_GROUP_BYTES = 32 << 20
_GPU_GROUP = 128
_CPU_ROW_BYTES = 4 << 20
_GPU_ROW_BYTES = 16 << 20
_PARAMETER_COPIES = 4


@dataclass(frozen=True)
class Strategy:
    """How the rows of a group are trained."""

    stacks: bool
    """Whether a group is a stack; else it is one client."""
    group_size: int
    reason: str
    precision: Literal["float32", "bfloat16"] = "float32"
    records: bool = False
    """Whether steps that run often are recorded."""
    compiles: bool = False

    @property
    def label(self) -> str:
        """Its name in messages, e.g. ``stacked in groups of 16``."""
        how = f"stacked in groups of {self.group_size}" if self.stacks else "looped"
        extras = [
            "bfloat16" if self.precision == "bfloat16" else "",
            "compiled" if self.compiles else "",
        ]
        return ", ".join([how, *filter(None, extras)])

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """Return the context of a forward pass."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16)


def choose_strategy(spec: ExecutorSpec, network: Network, device: torch.device, batch_size: int) -> Strategy:
    """Return the strategy that the scenario names, or the rule's.

    Args:
        spec: the ``executor`` section of the scenario.
        network: the network.
        device: where it is trained.
        batch_size: samples of a full mini-batch, on which memory depends.

    Raises:
        BadInputError: if the scenario wants bfloat16 and the CPU does not compute in it.
    """
    if spec.precision == "bfloat16" and device.type == "cpu" and not has_bfloat16():
        raise BadInputError(
            "executor.precision: 'bfloat16' crashes on this CPU: it advertises instructions that the system does not "
            "permit; use 'float32', or set ONEDNN_MAX_CPU_ISA=AVX512_CORE_FP16"
        )
    stacks, reason = _by_rule(network, device)
    if spec.strategy != "auto":
        stacks, reason = spec.strategy == "stacked", "as the scenario says"
    if network.has_batch_statistics and stacks:
        stacks, reason = False, "batch statistics cannot be padded"
    is_cpu = device.type == "cpu"
    group_size = spec.group_size or (_cpu_group(network) if is_cpu else _GPU_GROUP)
    if spec.memory_gb is not None:
        group_size = max(1, min(group_size, int(spec.memory_gb * 1e9) // client_bytes(network, batch_size)))
    return Strategy(
        stacks=stacks,
        group_size=group_size if stacks else 1,
        reason=reason,
        precision=spec.precision,
        records=stacks and is_cpu,
        compiles=stacks and is_cpu and spec.compile,
    )


def client_bytes(network: Network, batch_size: int) -> int:
    """Return the memory that one client of a group takes in a step on all modalities, counted on shapes.

    Parameters, gradients, momentum and one temporary copy, the inputs, and the tensors saved for the backward pass.
    """
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved[id(tensor)] = tensor
        return tensor

    parameters = {name: shape.clone().requires_grad_() for name, shape in network.shapes.items()}
    inputs = network.example(network.modalities, batch_size)
    labels = torch.empty(batch_size, dtype=torch.long, device="meta")
    # under the counter, which knows many shapes already and finds the others sooner
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), WorkCounter():
        loss = CrossEntropy(network.modalities).loss(
            network, parameters, Batch(inputs, labels, labels), Context(parameters)
        )
    del loss
    num_bytes = sum(tensor.numel() * tensor.itemsize for tensor in (*saved.values(), *inputs.values()))
    return num_bytes + _PARAMETER_COPIES * sum(network.group_bytes.values())


def _cpu_group(network: Network) -> int:
    fitting = _CPU_GROUP_BYTES // sum(network.group_bytes.values())
    return min(max(fitting, _LEAST_CPU_GROUP), _CPU_GROUP)


def _by_rule(network: Network, device: torch.device) -> tuple[bool, str]:
    row_bytes = sum(network.group_bytes.values())
    is_cpu = device.type == "cpu"
    if network.has_batch_statistics:
        return False, "batch statistics cannot be padded"
    if network.has_own_modules:
        return False, "modules of your own are not known to stack; 'strategy: stacked' tries it"
    if network.has_convolutions and is_cpu:
        return False, "stacked convolutions are slower than one after the other on a CPU"
    if row_bytes > (_CPU_ROW_BYTES if is_cpu else _GPU_ROW_BYTES):
        return False, f"{row_bytes / 1e6:.0f} MB of parameters per client gain nothing from a stack"
    return True, "small products: many clients share every operation"
