"""Wall-clock time of a run, the same in all processes of a machine."""

import asyncio
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class WallTime:
    """Seconds since a run's start."""

    start_s: float
    """The start by the machine's monotonic clock, which its processes share."""

    def now_s(self) -> float:
        """Return the seconds since the start; negative before it."""
        return time.monotonic() - self.start_s

    async def sleep_until(self, at_s: float) -> None:
        """Sleep until a moment of the run; not at all if it is past."""
        left_s = at_s - self.now_s()
        if left_s > 0.0:
            await asyncio.sleep(left_s)
