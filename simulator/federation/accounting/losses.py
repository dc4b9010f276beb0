"""What a run lost: local rounds without an update, their device-seconds, bytes, and updates that were too stale."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass
class Losses:
    """Counts losses while the run advances."""

    rounds: Counter[str] = field(default_factory=Counter)
    """Local rounds without an update, by reason: broke off, gave up, crashed, went off, left."""
    device_s: float = 0.0
    """Device-seconds spent on them, without off-time."""
    bytes_received: int = 0
    """Payload of the updates that arrived."""
    bytes_not_received: int = 0
    """Bytes received in downloads that were cut off."""
    updates_dropped: int = 0
    """Updates that arrived too stale to be merged."""

    def add_round(self, reason: str, spent_s: float, bytes_not_received: int = 0) -> None:
        """Count a lost local round: device-seconds spent, and bytes received of a download that was cut off."""
        self.rounds[reason] += 1
        self.device_s += spent_s
        self.bytes_not_received += bytes_not_received

    def totals(self, timeline: pd.DataFrame) -> Mapping[str, Any]:
        """Return the losses as run.json states them, ``bytes_up``, ``off_s``, ... included.

        Args:
            timeline: all rows of the run; an upload that the end of the run cut is lost.
        """
        activity, spans_s = timeline["activity"], timeline["end_s"] - timeline["start_s"]
        bytes_up = int(timeline.loc[activity == "upload", "bytes"].sum())
        return {
            "rounds": dict(sorted(self.rounds.items())),
            "device_s": float(self.device_s),
            "bytes_up": bytes_up - self.bytes_received,
            "bytes_down": self.bytes_not_received,
            "updates_dropped": self.updates_dropped,
            "off_s": float(spans_s[activity == "off"].sum()),
            "stalled_s": float(spans_s[activity == "stalled"].sum()),
            "slow_s": float(spans_s[timeline["is_slow"]].sum()),
        }
