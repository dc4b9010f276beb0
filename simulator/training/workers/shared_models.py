"""Models in rows of memory that worker processes see."""

import os

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from interlude.models.packed import Layout
from interlude.simulator.training.workers.shared_memory import Arena, open_block

_MOST_ROWS = 1 << 16


class SharedModels:
    """An arena of models, as many as fit in the machine's memory; a row is allocated when it is written.

    Args:
        layout: how a model lies in its row.
    """

    def __init__(self, layout: Layout) -> None:
        row_bytes = Arena.num_bytes(layout.size, layout.dtype, 1)
        machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self.num_rows = min(_MOST_ROWS, machine_bytes // row_bytes)
        self.descriptor = open_block(Arena.num_bytes(layout.size, layout.dtype, self.num_rows))
        self._arena = Arena(self.descriptor, layout.size, layout.dtype, self.num_rows)
        self._copies = WeakTensorKeyDictionary()

    def row_of(self, flat: Tensor) -> int | None:
        """Return the row of a model [P], copied there if necessary; None if no row is free."""
        slot = self._arena.slot_of(flat)
        if slot is None:
            if flat not in self._copies:
                made = self._arena.new_row()
                if made is None:
                    return None
                made[1].copy_(flat)
                self._copies[flat] = made
            slot, _ = self._copies[flat]
        return slot

    def new_row(self) -> tuple[int, Tensor] | None:
        """Return a free row [P] and its number; None where all are taken."""
        return self._arena.new_row()
