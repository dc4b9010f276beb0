"""The samples of a stack's rows, step by step: index, positions and mask, drawn on the host.

Rows have windows and last mini-batches of different sizes; padding is masked.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from interlude.simulator.training.stacked.rows import Leaves, Row
from interlude.simulator.training.task import batch_positions
from interlude.simulator.training.transfer import to_device


class MiniBatches:
    """The mini-batches of local steps, for all rows and steps at once.

    Args:
        seed: the run's seed.
        rows: the longest first.
        batch_size: samples of a full mini-batch.
        pads: whether every batch is filled up to the full size, so that steps have few different shapes.
        device: where they are used.
    """

    def __init__(self, seed: int, rows: Sequence[Row], batch_size: int, pads: bool, device: torch.device) -> None:
        by_row = [batch_positions(seed, row.task, row.steps, batch_size) for row in rows]
        num_steps = len(by_row[0])
        self._num_rows = [sum(len(steps) > step for steps in by_row) for step in range(num_steps)]
        sizes = [[len(at) for at in steps] + [0] * (num_steps - len(steps)) for steps in by_row]
        self._sizes = np.array(sizes, dtype=np.int64).T
        width = batch_size if pads else self._sizes.max(initial=0)
        positions = np.zeros((num_steps, len(rows), width), dtype=np.int64)
        for r, steps in enumerate(by_row):
            for s, at in enumerate(steps):
                positions[s, r, : len(at)] = at
        index = np.stack([row.task.samples[positions[:, r]] for r, row in enumerate(rows)], axis=1)
        self._positions = to_device(torch.from_numpy(positions), device)
        self._index = to_device(torch.from_numpy(index), device)
        self._pads = pads
        self._device = device

    def at(self, step: int) -> tuple[int, Leaves]:
        """Return how many rows take part in a step, and its index, positions and mask [n, B]."""
        num_rows = self._num_rows[step]
        sizes = self._sizes[step, :num_rows]
        width = self._positions.shape[2] if self._pads else int(sizes.max())
        leaves = {
            ("index",): self._index[step, :num_rows, :width],
            ("positions",): self._positions[step, :num_rows, :width],
        }
        return num_rows, leaves | _mask(sizes, width, self._device)


def whole_windows(rows: Sequence[Row], multiple: int, device: torch.device) -> Leaves:
    """Return the index, positions and mask [G, W] of the rows' whole windows, W being a multiple of something."""
    sizes = np.array([len(row.task.samples) for row in rows])
    width = -(-int(sizes.max()) // multiple) * multiple
    index = np.zeros((len(rows), width), dtype=np.int64)
    for r, row in enumerate(rows):
        index[r, : sizes[r]] = row.task.samples
        index[r, sizes[r] :] = row.task.samples[0]
    positions = np.broadcast_to(np.arange(width), index.shape).copy()
    leaves = {("index",): torch.from_numpy(index), ("positions",): torch.from_numpy(positions)}
    return {path: to_device(value, device) for path, value in leaves.items()} | _mask(sizes, width, device)


def _mask(sizes: "np.ndarray[Any, np.dtype[np.int64]]", width: int, device: torch.device) -> Leaves:
    """Return the mask [n, width] of rows of these sizes; none where nothing is padded."""
    if (sizes == width).all():
        return {}
    mask = (np.arange(width) < sizes[:, None]).astype(np.float32)
    return {("mask",): to_device(torch.from_numpy(mask), device)}
