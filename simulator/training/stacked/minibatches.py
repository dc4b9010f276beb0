"""The samples of a stack's rows, step by step: index, positions and mask, drawn on the host.

Rows have windows and last mini-batches of different sizes; padding is masked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from interlude.simulator.training.batches import BatchOrders
from interlude.simulator.training.stacked.rows import Leaves, Row


@dataclass(frozen=True)
class MiniBatches:
    """The mini-batches of local steps, for all rows and steps at once."""

    leaves: Leaves
    """Index, positions and, where any step needs one, mask: [S, G, B] each."""
    num_rows: tuple[int, ...]
    """Of every step: how many rows take part, the first ones."""
    widths: tuple[int, ...]
    """Of every step: the columns in use."""
    is_padded: tuple[bool, ...]
    """Of every step: whether some row has fewer samples than columns, so that it needs the mask."""

    def at(self, step: int) -> tuple[int, Leaves]:
        """Return how many rows take part in a step, and its index, positions and mask [n, B]."""
        num_rows, width = self.num_rows[step], self.widths[step]
        return num_rows, {
            path: of_all[step, :num_rows, :width]
            for path, of_all in self.leaves.items()
            if path != ("mask",) or self.is_padded[step]
        }


def drawn_batches(orders: BatchOrders, rows: Sequence[Row], pads: bool) -> MiniBatches:
    """Return the mini-batches of some rows, on the host.

    Args:
        orders: draw each row's.
        rows: the longest first.
        pads: whether every batch is filled up to the full size, so that steps have few different shapes.
    """
    num_steps = rows[0].steps.num_steps
    num_rows = [sum(row.steps.num_steps > step for row in rows) for step in range(num_steps)]
    drawn = [orders.batches(row.task, row.steps) for row in rows]
    width = orders.batch_size if pads else max(int(of_row.sizes.max(initial=0)) for of_row in drawn)
    sizes = np.zeros((num_steps, len(rows)), np.int64)
    positions = np.zeros((num_steps, len(rows), width), np.int64)
    index = np.zeros_like(positions)
    for r, (row, of_row) in enumerate(zip(rows, drawn, strict=True)):
        steps, columns = len(of_row.sizes), min(of_row.positions.shape[1], width)
        positions[:steps, r, :columns] = of_row.positions[:, :columns]
        sizes[:steps, r] = of_row.sizes
        index[:, r] = row.task.samples[positions[:, r]]
    widths = [width if pads else int(sizes[step, :n].max()) for step, n in enumerate(num_rows)]
    is_padded = [bool((sizes[step, :n] != widths[step]).any()) for step, n in enumerate(num_rows)]
    leaves: Leaves = {("index",): torch.from_numpy(index), ("positions",): torch.from_numpy(positions)}
    if any(is_padded):
        leaves["mask",] = _mask(sizes, width)
    return MiniBatches(leaves, tuple(num_rows), tuple(widths), tuple(is_padded))


def whole_windows(rows: Sequence[Row], multiple: int) -> Leaves:
    """Return the index, positions and mask [G, W] of the rows' whole windows, W being a multiple of something."""
    sizes = np.array([len(row.task.samples) for row in rows])
    width = -(-int(sizes.max()) // multiple) * multiple
    index = np.zeros((len(rows), width), dtype=np.int64)
    for r, row in enumerate(rows):
        index[r, : sizes[r]] = row.task.samples
        index[r, sizes[r] :] = row.task.samples[0]
    positions = np.broadcast_to(np.arange(width), index.shape).copy()
    leaves: Leaves = {("index",): torch.from_numpy(index), ("positions",): torch.from_numpy(positions)}
    return leaves if (sizes == width).all() else {**leaves, ("mask",): _mask(sizes, width)}


def _mask(sizes: "np.ndarray[Any, np.dtype[np.int64]]", width: int) -> torch.Tensor:
    """Return the mask [..., width] of rows of sizes [...]."""
    return torch.from_numpy((np.arange(width) < sizes[..., None]).astype(np.float32))
