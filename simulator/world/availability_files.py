"""Reads the on-intervals of devices from a CSV file."""

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from interlude.simulator.errors import shown
from interlude.simulator.files import located
from interlude.simulator.world.availability_patterns import SHORTEST_S, IntervalTraces
from interlude.simulator.world.trace_files import non_negative, read_rows

NeverReady = Literal["refuse", "drop", "keep"]

_SHORTEST_TRACE_S = 1.0


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a file of intervals."""

    device: str
    on: str
    off: str
    length: str | None


@dataclass
class _Device:
    """One device's intervals, sorted, those that touch joined; and where the last stands in the file."""

    intervals: list[tuple[float, float]] = field(default_factory=list)
    length_s: float | None = None
    last_line: int = 0

    @property
    def end_s(self) -> float:
        return self.intervals[-1][1] if self.intervals else 0.0

    def add(self, on_s: float, off_s: float, where: str) -> None:
        """Add the next interval."""
        if off_s < on_s:
            raise ValueError(f"{where} goes off at {off_s:g}, before it is on at {on_s:g}")
        if on_s < self.end_s:
            raise ValueError(
                f"{where} is on from {on_s:g}, but the row before is on until {self.end_s:g}; "
                "the intervals of a device must be sorted and must not overlap"
            )
        if self.intervals and on_s == self.end_s:
            on_s = self.intervals.pop()[0]
        self.intervals.append((on_s, off_s))


def read_intervals(file: Path, columns: Columns, trace_s: float | None, never_ready: NeverReady) -> IntervalTraces:
    """Return the intervals of a file's devices, in the order of first appearance.

    Args:
        file: CSV with a header line.
        columns: names of its columns.
        trace_s: length of every trace, where no column gives it; None: the largest end in the file.
        never_ready: how devices that are never on are treated.

    Raises:
        ValueError: one sentence about what is wrong, with the file and the line.
    """
    devices = _read_devices(file, columns)
    path = located(file)
    longest_s = max((device.end_s for device in devices.values()), default=0.0)
    traces = IntervalTraces(array("q", [0]), array("d"), array("d"), array("d"), array("d"))
    for name, device in devices.items():
        length_s = trace_s or longest_s if device.length_s is None else device.length_s
        ready = [(on_s, off_s) for on_s, off_s in device.intervals if off_s - on_s >= SHORTEST_S]
        if device.end_s > length_s:
            raise ValueError(
                f"'{path}', line {device.last_line}: device {shown(name)} is on until {device.end_s:g}, "
                f"after its trace is over at {length_s:g}"
            )
        if not ready and never_ready == "drop":
            continue
        if not ready and never_ready == "refuse":
            raise ValueError(
                f"'{path}': device {shown(name)} is never on; leave such devices out (never_ready: drop) "
                "or let them be clients that are off for ever (never_ready: keep)"
            )
        if length_s < _SHORTEST_TRACE_S:
            raise ValueError(
                f"'{path}': the trace of device {shown(name)} is {length_s:g} s long; it must be 1 s or more"
            )
        traces.on_s.extend(on_s for on_s, _ in ready)
        traces.off_s.extend(off_s for _, off_s in ready)
        traces.first.append(len(traces.on_s))
        traces.length_s.append(length_s)
        traces.ready_s.append(math.fsum(off_s - on_s for on_s, off_s in ready))
    if not traces.on_s:
        raise ValueError(f"'{path}': no device is ever on" if devices else f"'{path}' has no rows")
    return traces


def _read_devices(file: Path, columns: Columns) -> Mapping[str, _Device]:
    """Return the devices of a file by their names."""
    path = located(file)
    devices: dict[str, _Device] = {}
    names = [columns.device, columns.on, columns.off, *([columns.length] if columns.length else [])]
    for line, (name, on, off, *length) in read_rows(file, names):
        where = f"'{path}', line {line}"
        if not name:
            raise ValueError(f"{where}, column '{columns.device}': is empty; every row belongs to a device")
        device = devices.setdefault(name, _Device())
        if length:
            length_s = non_negative(length[0], f"{where}, column '{columns.length}'")
            if device.length_s not in (None, length_s):
                raise ValueError(f"{where}: device {shown(name)} has two lengths, {device.length_s:g} and {length_s:g}")
            device.length_s = length_s
        if on or off:
            on_s = non_negative(on, f"{where}, column '{columns.on}'")
            off_s = non_negative(off, f"{where}, column '{columns.off}'")
            device.add(on_s, off_s, f"{where}: device {shown(name)}")
            device.last_line = line
    return devices
