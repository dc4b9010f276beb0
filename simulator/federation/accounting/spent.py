"""What a run spent its simulated time and its bytes on, summed over the rows of its timeline."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pandas as pd


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

    def add(self, part: pd.DataFrame) -> None:
        """Add rows of the timeline."""
        spans = part[part["activity"] != "merge"]
        for activity, seconds in (spans["end_s"] - spans["start_s"]).groupby(spans["activity"]).sum().items():
            self.device_s[str(activity)] = self.device_s.get(str(activity), 0.0) + float(seconds)
        moved = spans[spans["bytes"] > 0]
        for activity, num_bytes in moved["bytes"].groupby(moved["activity"]).sum().items():
            self.num_bytes[str(activity)] += int(num_bytes)
        self.num_merged += len(part) - len(spans)
        self.staleness += int(part["staleness"].sum())

    def totals(self) -> dict[str, Any]:
        """Return the sums as run.json states them."""
        return {
            "device_s": {activity: float(seconds) for activity, seconds in sorted(self.device_s.items())},
            "bytes": {activity: int(moved) for activity, moved in sorted(self.num_bytes.items())},
            "merged": self.num_merged,
            "staleness": self.staleness,
        }
