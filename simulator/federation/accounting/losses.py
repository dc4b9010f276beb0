"""What a run lost: local rounds without an update, their device-seconds, bytes, and updates that were too stale.

What is on its way when the run ends is not lost: it is cut.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from interlude.simulator.federation.accounting.rows import Rows


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
    bytes_up_cut: int = 0
    """Bytes of uploads that were on their way when the run ended."""
    bytes_down_cut: int = 0
    """Bytes of downloads that were on their way then."""
    updates_dropped: int = 0
    """Updates that arrived too stale to be merged."""
    bytes_sent: int = 0
    """Bytes of all uploads."""
    off_s: float = 0.0
    """Device-seconds off, of all clients."""
    stalled_s: float = 0.0
    """Device-seconds stalled while the server was away."""
    slow_s: float = 0.0
    """Device-seconds in a straggler's slow mode."""

    def add_round(self, reason: str, spent_s: float, bytes_not_received: int = 0) -> None:
        """Count a lost local round: device-seconds spent, and bytes received of a download that was cut off."""
        self.rounds[reason] += 1
        self.device_s += spent_s
        self.bytes_not_received += bytes_not_received

    def add_rows(self, rows: Rows) -> None:
        """Add rows of the timeline."""
        seconds = rows.seconds
        self.bytes_sent += int(rows.num_bytes[rows.do("upload")].sum())
        self.off_s += float(seconds[rows.do("off")].sum())
        self.stalled_s += float(seconds[rows.do("stalled")].sum())
        self.slow_s += float(seconds[rows.is_slow].sum())

    def totals(self) -> Mapping[str, Any]:
        """Return the losses as run.json states them, once all rows of the timeline are added."""
        return {
            "rounds": dict(sorted(self.rounds.items())),
            "device_s": float(self.device_s),
            "bytes_up": self.bytes_sent - self.bytes_received - self.bytes_up_cut,
            "bytes_down": self.bytes_not_received,
            "updates_dropped": self.updates_dropped,
            "off_s": self.off_s,
            "stalled_s": self.stalled_s,
            "slow_s": self.slow_s,
        }
