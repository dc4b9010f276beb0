"""What a run spent its simulated time and its bytes on, summed over the rows of its timeline."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from interlude.simulator.federation.accounting.rows import ACTIVITIES, Rows


@dataclass
class Spent:
    """Sums over all rows; what a summary needs where the record holds a part of the timeline, or none."""

    device_s: dict[str, float] = field(default_factory=dict)
    """Device-seconds by activity."""
    num_bytes: Counter[str] = field(default_factory=Counter)
    """Payload by activity."""
    num_merged: int = 0
    """Updates merged."""
    staleness: int = 0
    """Sum of their staleness, in versions."""

    def add(self, rows: Rows) -> None:
        """Add rows of the timeline."""
        spans = rows.where(~rows.do("merge"))
        # summed by pandas, which compensates for rounding
        device_s = pd.Series(spans.seconds).groupby(spans.activity).sum()
        for code, seconds in zip(device_s.index.tolist(), device_s.tolist(), strict=True):
            self.device_s[ACTIVITIES[code]] = self.device_s.get(ACTIVITIES[code], 0.0) + seconds
        moved = spans.where(spans.num_bytes > 0)
        num_bytes = np.zeros(len(ACTIVITIES), dtype=np.int64)
        np.add.at(num_bytes, moved.activity, moved.num_bytes)
        for code in np.flatnonzero(num_bytes):
            self.num_bytes[ACTIVITIES[code]] += int(num_bytes[code])
        self.num_merged += len(rows) - len(spans)
        self.staleness += int(rows.staleness.sum())

    def totals(self) -> dict[str, Any]:
        """Return the sums as run.json states them."""
        return {
            "device_s": {activity: float(seconds) for activity, seconds in sorted(self.device_s.items())},
            "bytes": {activity: int(moved) for activity, moved in sorted(self.num_bytes.items())},
            "merged": self.num_merged,
            "staleness": self.staleness,
        }
