"""Runs several models over the same samples: chunk by chunk, all models at once or one after the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from interlude.models.inputs import Samples
from interlude.models.network import Network, Parameters
from interlude.models.packed import Packed

_MOST_CHUNK_SAMPLES = 2048
_CHUNK_VALUES = 1 << 23  # of the inputs; a convolutional network's activations take some ten times as many


class Models:
    """Several models of one network.

    Args:
        network: the network.
        models: V models.
        stacks: whether all of them run at once; otherwise one after the other.
    """

    def __init__(self, network: Network, models: Sequence[Parameters], stacks: bool) -> None:
        self.network = network
        self._flats = [network.layout.pack(model).flat for model in models]
        self._stacks = stacks

    def __len__(self) -> int:
        return len(self._flats)

    def map(self, function: Callable[..., tuple[Tensor, ...]], *of_each: Tensor) -> tuple[Tensor, ...]:
        """Return what a function returns for each model: [V, ...] each.

        Args:
            function: takes a model's parameters, and its own values of each of `of_each`.
            of_each: [V, ...] values of the models.
        """

        def of_one(flat: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
            return function(Packed(self.network.layout, flat), *values)

        if self._stacks:
            stacked: tuple[Tensor, ...] = torch.vmap(of_one)(torch.stack(self._flats), *of_each)
            return stacked
        return tuple(torch.stack(values) for values in zip(*map(of_one, self._flats, *of_each), strict=True))


def chunks(samples: Samples) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Yield samples a chunk at a time, in order: inputs [n, *shape] of each modality and labels [n]."""
    inputs, labels = samples
    num_samples = _chunk_samples(inputs)
    for start in range(0, len(labels), num_samples):
        yield {m: x[start : start + num_samples] for m, x in inputs.items()}, labels[start : start + num_samples]


def _chunk_samples(inputs: Mapping[str, Tensor]) -> int:
    """Return the number of samples in a chunk: fewer if they are large."""
    num_values = sum(x.shape[1:].numel() for x in inputs.values())
    return max(1, min(_MOST_CHUNK_SAMPLES, _CHUNK_VALUES // num_values))
