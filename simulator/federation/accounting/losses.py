"""What came to nothing in a run: local rounds, their device-seconds, bytes, and updates that were too old."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from interlude.simulator.federation.timeline import SLOW


@dataclass
class Losses:
    """Counted while the run goes on."""

    rounds: Counter[str] = field(default_factory=Counter)
    """Local rounds that came to nothing, by why: broke off, gave up, crashed, went off, left."""
    device_s: float = 0.0
    """Device-seconds spent on them, off-time left out."""
    bytes_received: int = 0
    """Payload of the updates that arrived."""
    bytes_not_received: int = 0
    """Payload moved of the downloads that were cut off."""
    updates_dropped: int = 0
    """Updates that arrived and were too stale to be merged."""

    def add_round(self, fate: str, spent_s: float, bytes_not_received: int = 0) -> None:
        """Count a local round that came to nothing, and what was moved of its download if that was cut off."""
        self.rounds[fate] += 1
        self.device_s += spent_s
        self.bytes_not_received += bytes_not_received

    def totals(self, timeline: pd.DataFrame) -> Mapping[str, Any]:
        """Return what run.json says.

        Args:
            timeline: all rows of the run; an update that is still on its way at the end is lost.
        """
        kinds = timeline["kind"].astype(str)
        num_bytes, spans_s = timeline["bytes"], timeline["end_s"] - timeline["start_s"]
        bytes_up = int(num_bytes[kinds.str.startswith("upload")].sum())
        return {
            "rounds": dict(sorted(self.rounds.items())),
            "device_s": float(self.device_s),
            "bytes_up": bytes_up - self.bytes_received,
            "bytes_down": self.bytes_not_received,
            "updates_dropped": self.updates_dropped,
            "off_s": float(spans_s[kinds == "off"].sum()),
            "stalled_s": float(spans_s[kinds == "stalled"].sum()),
            "slow_s": float(spans_s[kinds.str.contains(SLOW)].sum()),
        }
