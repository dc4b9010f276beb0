"""What an objective needs, found by running it once on shapes without values, so that nothing unneeded is gathered."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from interlude.models.network import Network, Parameters
from interlude.simulator.training.objective import Batch, Context, Objective, Values

Path = tuple[str, ...]
"""Where a tensor stands in nested mappings."""

_NUM_SAMPLES = 2


@dataclass(frozen=True)
class Traits:
    """What an objective needs."""

    reads_received: bool
    """Whether it looks at the model that the client downloaded."""
    modulates: bool
    prepared: tuple[Path, ...]
    """What it prepares; nothing for most objectives."""
    reported: tuple[Path, ...]
    """What it reports."""
    noise_shapes: tuple[torch.Size, ...]
    """Shapes of the normal numbers that one step draws, in order."""


def traits_of(network: Network, objective: Objective, broadcast: Values) -> Traits:
    """Return what an objective needs.

    Args:
        network: the network.
        objective: the objective.
        broadcast: an example of what the server sends along; only its shapes matter.
    """
    received = _Watched(network.shapes)
    sent = {name: {m: v.to("meta") for m, v in values.items()} for name, values in broadcast.items()}
    batch = _example(network, objective)
    noise_shapes: list[torch.Size] = []

    def noise(like: Tensor) -> Tensor:
        noise_shapes.append(like.shape)
        return torch.empty_like(like)

    with torch.no_grad():
        prepared = objective.prepare(network, network.shapes, batch, Context(received, sent))
        context = Context(received, sent, prepared)
        objective.loss(network, network.shapes, batch, context)
        names = [name for group in objective.groups(network) for name in network.groups[group]]
        gradients = {name: network.shapes[name] for name in names}
        modulated = objective.modulate(network, gradients, network.shapes, batch, context, noise)
        report = objective.report(network, network.shapes, batch, context)
    return Traits(
        reads_received=received.is_read,
        modulates=any(modulated[name] is not gradients[name] for name in names),
        prepared=tuple(leaves_of(prepared)),
        reported=tuple(leaves_of(report)),
        noise_shapes=tuple(noise_shapes),
    )


def leaves_of(tree: Values) -> dict[Path, Tensor]:
    """Return named tensors per modality by their path."""
    return {(name, modality): value for name, values in tree.items() for modality, value in values.items()}


def tree_of(leaves: Mapping[Path, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return named tensors per modality from their paths: the inverse of `leaves_of`."""
    tree: dict[str, dict[str, Tensor]] = {}
    for (name, modality), value in leaves.items():
        tree.setdefault(name, {})[modality] = value
    return tree


def _example(network: Network, objective: Objective) -> Batch:
    inputs = network.example(objective.modalities, _NUM_SAMPLES)
    index = torch.empty(_NUM_SAMPLES, dtype=torch.long, device="meta")
    return Batch(inputs, index, index)


class _Watched(Mapping[str, Tensor]):
    """Parameters that notice when they are looked at."""

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
