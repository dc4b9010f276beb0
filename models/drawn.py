"""Samples that are made when they are first indexed, block by block, and kept in a bounded pool.

A set of drawn samples looks like tensors [L, *shape] of a length that no memory holds. A sample's index is its address:
block * `BLOCK` + its position in the block, e.g. a client's samples are one block. Only indexing makes samples.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from interlude.models.inputs import Samples, taken

BLOCK = 1 << 20
"""Indices of one block; it may have as many samples."""
MAX_BLOCKS = 1 << 22
POOL_BYTES = 1 << 28
"""About the most that is kept of the samples of a set."""

MakeBlock = Callable[[int], Samples]
"""Returns the samples of a block, always the same; it can be pickled."""


class Pool:
    """The blocks that were asked for lately; when it is full it begins anew.

    Args:
        make: makes the samples of a block.
        num_bytes: about the most that it keeps.
    """

    def __init__(self, make: MakeBlock, num_bytes: int = POOL_BYTES) -> None:
        self.make = make
        self.num_bytes = num_bytes
        self._blocks: dict[int, int] = {}
        """The position of the first sample of each block that is there."""
        self._kept: dict[str | None, Tensor] = {}
        """[capacity, ...] inputs by modality, and labels."""
        self._size = 0
        self._asked: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._positions = torch.empty(0, dtype=torch.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        return Pool, (self.make, self.num_bytes)

    def take(self, name: str | None, index: Tensor) -> Tensor:
        """Return the samples at an index of any shape, of one modality; None: their labels."""
        asked = index.numpy()
        if not np.array_equal(asked, self._asked):  # a batch is asked for once per modality
            self._positions, self._asked = self._positions_of(asked), asked.copy()
        return taken(self._kept[name], self._positions)

    def _positions_of(self, asked: npt.NDArray[np.int64]) -> Tensor:
        blocks, which = np.unique(asked // BLOCK, return_inverse=True)
        missing = [block for block in blocks.tolist() if block not in self._blocks]
        if missing:
            made = [self.make(block) for block in missing]
            if self._is_full(made):
                self._blocks, self._size = {}, 0
                missing = blocks.tolist()
                made = [self.make(block) for block in missing]
            for block, samples in zip(missing, made, strict=True):
                self._keep(block, samples)
        firsts = np.array([self._blocks[block] for block in blocks.tolist()], np.int64)
        return torch.from_numpy(firsts[which].reshape(asked.shape) + asked % BLOCK)

    def _is_full(self, made: Sequence[Samples]) -> bool:
        num_new = sum(len(labels) for _, labels in made)
        inputs, labels = made[0]
        sample_bytes = sum(x[:1].numel() * x.itemsize for x in (*inputs.values(), labels))
        return self._size > 0 and (self._size + num_new) * sample_bytes > self.num_bytes

    def _keep(self, block: int, samples: Samples) -> None:
        inputs, labels = samples
        end = self._size + len(labels)
        named: list[tuple[str | None, Tensor]] = [*inputs.items(), (None, labels)]
        for name, values in named:
            kept = self._kept.get(name)
            if kept is None or len(kept) < end:
                grown = values.new_empty((max(end, 2 * self._size), *values.shape[1:]))
                if kept is not None:
                    grown[: self._size] = kept[: self._size]
                kept = self._kept[name] = grown
            kept[self._size : end] = values
        self._blocks[block], self._size = self._size, end


class DrawnTensor(Tensor):
    """One modality of drawn samples, or their labels; its own values mean nothing, only indexing it does."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment] # computing makes plain tensors
    pool: Pool
    modality: str | None

    @staticmethod
    def of(pool: Pool, modality: str | None, shape: Sequence[int], like: Tensor) -> "DrawnTensor":
        """Return the drawn samples of a pool.

        Args:
            pool: where they come from.
            modality: which; None: the labels.
            shape: of one sample.
            like: a tensor of the type and device of the samples.
        """
        drawn = like.new_zeros((1, *shape)).expand(BLOCK * MAX_BLOCKS, *shape).as_subclass(DrawnTensor)
        drawn.pool, drawn.modality = pool, modality
        return drawn

    def __getitem__(self, index: Any) -> Tensor:
        return self.pool.take(self.modality, index.cpu()).to(self.device)

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Return the samples at an index [n]."""
        assert dim == 0, "drawn samples are only taken whole"
        return self[index]

    def to(self, device: torch.device) -> Self:  # type: ignore[override]
        """Return the samples on a device; they are made on the CPU all the same."""
        return self.of(self.pool, self.modality, self.shape[1:], torch.empty(0, dtype=self.dtype, device=device))  # type: ignore[return-value]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return DrawnTensor.of, (self.pool, self.modality, tuple(self.shape[1:]), torch.empty(0, dtype=self.dtype))


def drawn_samples(make: MakeBlock, shapes: Mapping[str, Sequence[int]], num_bytes: int = POOL_BYTES) -> Samples:
    """Return a set of samples that are made when they are indexed.

    Args:
        make: makes the samples of a block: float inputs [n, *shape] of each modality, and labels [n].
        shapes: of one sample of each modality.
        num_bytes: about the most that is kept of them.
    """
    pool = Pool(make, num_bytes)
    inputs = {name: DrawnTensor.of(pool, name, shape, torch.empty(0)) for name, shape in shapes.items()}
    return inputs, DrawnTensor.of(pool, None, (), torch.empty(0, dtype=torch.int64))
