"""This machine: how fast it trains, and what a real run took of it, which explains where times differ."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from interlude.simulator.calibrate.speed import Speed, Timed, fitted
from interlude.simulator.world.compute import FLOPS_PER_GFLOP, ComputeSpec, OperationsSpec
from interlude.simulator.world.distributions import Constant, LogNormal


@dataclass(frozen=True)
class Host:
    """The speed of this machine, by the processor's time."""

    speed: Speed
    joint_gflops: float
    """FLOPs of joint trainings over all the time that they take: the scenario's devices are slower than that."""

    def devices(self, given: ComputeSpec) -> ComputeSpec:
        """Return devices that are as much slower than this host, in everything, as a scenario's are than its FLOPs.

        Raises:
            ValueError: if the scenario's throughput is neither a number nor lognormal.
        """
        factor, rate = self.speed.gflops / self.joint_gflops, given.throughput_gflops
        scaled: Constant | LogNormal
        if isinstance(rate, Constant):
            scaled = Constant(value=rate.value * factor)
        elif isinstance(rate, LogNormal):
            scaled = rate.model_copy(update={"median": rate.median * factor})
        else:
            raise ValueError("the real federation takes a throughput that is a number or lognormal")
        operations = OperationsSpec(flops_each=self.speed.flops_each, per_task=self.speed.per_task)
        return given.model_copy(update={"throughput_gflops": scaled, "operations": operations})


def host_of(given: Mapping[str, Any]) -> Host:
    """Return the host of a mapping as `dataclasses.asdict` makes it."""
    return Host(Speed(**given["speed"]), given["joint_gflops"])


def rehearsed(joint: Sequence[Timed], other: Sequence[Timed]) -> Host:
    """Return the speed of the host by local rounds on all modalities, and by other trainings."""
    speed = fitted([*joint, *other])
    return Host(speed, sum(one.flops for one in joint) / sum(one.seconds for one in joint) / FLOPS_PER_GFLOP)


@dataclass(frozen=True)
class HostFacts:
    """One method's run on this machine."""

    gflops: dict[str, float]
    """Achieved GFLOP per second of processor time, by activity."""
    slower: dict[str, float]
    """Processor time that trainings took over the time that the prediction assumes, by activity."""
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


def host_facts(computed: pd.DataFrame, waits: pd.DataFrame, seconds: float) -> HostFacts:
    """Return the facts of a run.

    Args:
        computed: one row each training: activity, flops, assumed_s, cpu_s, host_s, late_s.
        waits: one row each client: cpu_s, cpu_wait_s.
        seconds: of the run.
    """
    sums = computed.groupby("activity")[["flops", "assumed_s", "cpu_s"]].sum()
    late_ms = 1e3 * computed["late_s"]
    return HostFacts(
        {str(activity): row.flops / row.cpu_s / FLOPS_PER_GFLOP for activity, row in sums.iterrows()},
        {str(activity): row.cpu_s / row.assumed_s for activity, row in sums.iterrows()},
        float(waits["cpu_s"].sum() / seconds),
        float(waits["cpu_wait_s"].mean() * 60.0 / seconds),
        float(1.0 - computed["cpu_s"].sum() / computed["host_s"].sum()),
        (float(late_ms.median()), float(late_ms.quantile(0.95))),
    )
