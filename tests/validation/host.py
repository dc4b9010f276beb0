"""What a real run took of this machine: facts that explain where its times differ from predicted ones."""

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from interlude.simulator.world.compute import FLOPS_PER_GFLOP


@dataclass(frozen=True)
class HostFacts:
    """One method's run on this machine."""

    gflops: dict[str, float]
    """Achieved GFLOP per second of processor time, by activity."""
    assumed_gflops: float
    """What the slow factors, and so the prediction, assume."""
    cores_used: float
    """Processor seconds of all client processes per second."""
    cpu_wait_s: float
    """Seconds per minute and client in which a process could run but had no core; NaN where the system hides it."""
    waiting_share: float
    """Share of the trainings' wall-clock time in which they did not compute."""
    late_ms: tuple[float, float]
    """Median and 95th percentile of how late a sleep after a training ended."""


def cpu_wait_s() -> float:
    """Return how long this process has waited for a core while it could run, in seconds; NaN where Linux hides it."""
    try:
        return int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return math.nan


def host_facts(computed: pd.DataFrame, waits: pd.DataFrame, host_gflops: float, seconds: float) -> HostFacts:
    """Return the facts of a run.

    Args:
        computed: one row each training: activity, flops, cpu_s, host_s, late_s.
        waits: one row each client: cpu_s, cpu_wait_s.
        host_gflops: the speed that slow factors refer to.
        seconds: of the run.
    """
    sums = computed.groupby("activity")[["flops", "cpu_s"]].sum()
    late_ms = 1e3 * computed["late_s"]
    return HostFacts(
        {str(activity): row.flops / row.cpu_s / FLOPS_PER_GFLOP for activity, row in sums.iterrows()},
        host_gflops,
        float(waits["cpu_s"].sum() / seconds),
        float(waits["cpu_wait_s"].mean() * 60.0 / seconds),
        float(1.0 - computed["cpu_s"].sum() / computed["host_s"].sum()),
        (float(late_ms.median()), float(late_ms.quantile(0.95))),
    )
