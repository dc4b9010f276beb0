"""When each client is on: patterns of on-time with random access.

A pattern has one query, `stretch`: the first stretch of on-time at or after a moment. Every answer is a function of
(client, moment), never of earlier queries, and none is computed by walking through the time before the moment.
"""

import math
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from interlude.simulator.arrays import Floats
from interlude.simulator.randomness import ClientDraws, Stream

FOREVER_S = 1e12
"""Later moments (31,700 years) are never reached; a float64 still resolves a fifth of a millisecond there."""

SHORTEST_S = 1e-3
"""A mean on-time or off-time below it counts as none."""

Stretch = tuple[float, float]
"""From when to when, in seconds; the end can be infinite."""


class Pattern(Protocol):
    """When clients are on."""

    def stretch(self, client: int, at_s: float) -> Stretch | None:
        """Return the first stretch of on-time at or after `at_s`, None if there is none; it starts at `at_s` if on."""
        ...

    def on_share(self, client: int) -> float:
        """Return the share of a long time that a client is on."""
        ...


class AlwaysOn:
    """Clients that are never off."""

    def stretch(self, client: int, at_s: float) -> Stretch | None:
        """Return all remaining time."""
        return at_s, math.inf

    def on_share(self, client: int) -> float:
        """Return 1."""
        return 1.0


class MarkovOnOff:
    """The two-state Markov chain in continuous time: exponential on-times and off-times, in its stationary state at 0.

    Two clocks ring at each client, independently and without memory: one every `mean_off_s` on average, which switches
    the client on, and one every `mean_on_s`, which switches it off; a ring for its present state changes nothing.
    That is the same chain (the time to the next ring is exponential whenever one begins to wait), and a moment's state
    is told by the clock that rang last, without a walk through history.

    Args:
        seed: the run's seed.
        mean_on_s: of each client; below `SHORTEST_S` it is never on.
        mean_off_s: of each client; below `SHORTEST_S` it is always on.
    """

    def __init__(self, seed: int, mean_on_s: Floats, mean_off_s: Floats) -> None:
        never, always = mean_on_s < SHORTEST_S, mean_off_s < SHORTEST_S
        cycle_s = np.where(never | always, 1.0, mean_on_s + mean_off_s)
        share = np.where(never, 0.0, np.where(always, 1.0, mean_on_s / cycle_s))
        self._share: list[float] = share.tolist()
        self._starts_on: list[bool] = (Stream(seed, "availability-start").uniforms(len(share)) < share).tolist()
        self._switch_on = _Rings(seed, "availability-on", mean_off_s)
        self._switch_off = _Rings(seed, "availability-off", mean_on_s)

    def stretch(self, client: int, at_s: float) -> Stretch | None:
        """Return the first stretch of on-time at or after `at_s`."""
        share = self._share[client]
        if share in (0.0, 1.0):
            return (at_s, math.inf) if share else None
        if not self._is_on(client, at_s):
            at_s = self._switch_on.next(client, at_s)
            if at_s > FOREVER_S:
                return None
        return at_s, self._switch_off.next(client, at_s)

    def on_share(self, client: int) -> float:
        """Return mean on-time over mean cycle."""
        return self._share[client]

    def _is_on(self, client: int, at_s: float) -> bool:
        on_s, off_s = self._switch_on.last(client, at_s), self._switch_off.last(client, at_s)
        if on_s is None and off_s is None:
            return self._starts_on[client]
        return off_s is None or (on_s is not None and on_s >= off_s)


class _Rings:
    """A clock per client that rings at random: a Poisson process.

    Time is cut into windows of `_RINGS_PER_WINDOW` mean gaps. Each window draws how often its clock rings in it and
    when, from a generator of its own, so that any window is drawn directly. One window is kept per client.
    """

    _RINGS_PER_WINDOW = 32

    def __init__(self, seed: int, purpose: str, mean_gap_s: Floats) -> None:
        self._seed = seed
        self._purpose = purpose
        self._window_s: list[float] = (self._RINGS_PER_WINDOW * mean_gap_s).tolist()
        self._kept: dict[int, tuple[int, array[float]]] = {}

    def next(self, client: int, at_s: float) -> float:
        """Return the first ring after `at_s`, or a moment beyond `FOREVER_S`."""
        window = self._window_of(client, at_s)
        while at_s <= FOREVER_S:
            rings = self._rings(client, window)
            i = bisect_right(rings, at_s)
            if i < len(rings):
                return rings[i]
            window += 1
            if window * self._window_s[client] > FOREVER_S:
                break
        return math.inf

    def last(self, client: int, at_s: float) -> float | None:
        """Return the last ring at or before `at_s`, None before the first."""
        for window in range(self._window_of(client, at_s), -1, -1):
            rings = self._rings(client, window)
            i = bisect_right(rings, at_s)
            if i > 0:
                return rings[i - 1]
        return None

    def _window_of(self, client: int, at_s: float) -> int:
        window_s = self._window_s[client]
        window = int(at_s / window_s)
        if window * window_s > at_s:  # the quotient was rounded up exactly at a border
            return window - 1
        return window + 1 if (window + 1) * window_s <= at_s else window

    def _rings(self, client: int, window: int) -> "array[float]":
        kept = self._kept.get(client)
        if kept is None or kept[0] != window:
            generator = Stream(self._seed, self._purpose, client).generator(window)
            share = np.sort(generator.random(generator.poisson(self._RINGS_PER_WINDOW)))
            window_s = self._window_s[client]
            last_s = np.nextafter((window + 1) * window_s, 0.0)  # rounding must not push a ring into the next window
            kept = window, array("d", np.minimum((window + share) * window_s, last_s).tobytes())
            self._kept[client] = kept
        return kept[1]


class Daily:
    """One stretch of on-time every day, at about the same time of the day.

    Stretch d of a client is ``[d period + start + shift_d, ... + share period)``, with shift_d uniform within plus and
    minus its jitter. The jitter is bounded by half of the off-time, so that two days' stretches never meet.

    Args:
        seed: the run's seed.
        period_s: length of a day.
        start_s: time of the day at which each client goes on.
        share: share of the day that each client is on.
        jitter_s: largest shift of each client.
    """

    def __init__(self, seed: int, period_s: float, start_s: Floats, share: Floats, jitter_s: Floats) -> None:
        self._period_s = period_s
        self._start_s: list[float] = np.mod(start_s, period_s).tolist()
        self._share: list[float] = np.where(share * period_s < SHORTEST_S, 0.0, share).tolist()
        self._jitter_s: list[float] = np.minimum(jitter_s, 0.5 * period_s * (1.0 - share)).tolist()
        self._shifts = ClientDraws(seed, "availability-day", _MinusOneToOne())

    def stretch(self, client: int, at_s: float) -> Stretch | None:
        """Return the first stretch of on-time at or after `at_s`."""
        share, period_s = self._share[client], self._period_s
        if share in (0.0, 1.0):
            return (at_s, math.inf) if share else None
        today = math.floor((at_s - self._start_s[client]) / period_s)
        for day in range(today - 1, today + 3):
            shift_s = self._shifts.at(client, day + 2) * self._jitter_s[client]
            on_s = day * period_s + self._start_s[client] + shift_s
            off_s = on_s + share * period_s
            if off_s > max(on_s, at_s):
                return (max(on_s, at_s), off_s) if on_s <= FOREVER_S else None
        return None  # beyond the resolution of a float64

    def on_share(self, client: int) -> float:
        """Return the share of the day."""
        return self._share[client]


class _MinusOneToOne:
    def ppf(self, uniform: Floats) -> Floats:
        return 2.0 * uniform - 1.0


@dataclass(frozen=True)
class IntervalTraces:
    """On-intervals of several devices in flat arrays: those of device d are ``first[d]`` to ``first[d + 1]``."""

    first: "array[int]"
    on_s: "array[float]"
    off_s: "array[float]"
    """Sorted within a device, off after on, no two of a device touching."""
    length_s: "array[float]"
    """Per device, when its trace is over and begins again."""
    ready_s: "array[float]"
    """Per device, on-time in one trace."""


class Replayed:
    """Recorded on-intervals, begun again at the trace's end for as long as the simulation lasts.

    The last interval of a trace and the first of its next lap are one stretch where they touch.

    Args:
        traces: of the devices.
        devices: the device that each client is.
    """

    def __init__(self, traces: IntervalTraces, devices: Sequence[int]) -> None:
        self._traces = traces
        self._devices = devices

    def stretch(self, client: int, at_s: float) -> Stretch | None:
        """Return the first stretch of on-time at or after `at_s`, by binary search."""
        traces, device = self._traces, self._devices[client]
        first, end = traces.first[device], traces.first[device + 1]
        length_s = traces.length_s[device]
        if first == end:
            return None
        if traces.ready_s[device] >= length_s:
            return at_s, math.inf
        lap_start_s = at_s - (inside_s := math.fmod(at_s, length_s))
        lap = round(lap_start_s / length_s)
        i = bisect_right(traces.off_s, inside_s, first, end)
        while True:
            if i == end:
                lap, i, inside_s = lap + 1, first, -1.0
            lap_s = lap * length_s
            on_s = at_s if traces.on_s[i] <= inside_s else max(at_s, lap_s + traces.on_s[i])
            off_s = lap_s + traces.off_s[i]
            if i == end - 1 and traces.off_s[i] == length_s and traces.on_s[first] == 0.0:
                off_s = (lap + 1) * length_s + traces.off_s[first]
            if on_s > FOREVER_S:
                return None
            if off_s > on_s:
                return on_s, off_s
            i += 1  # rounding: the moment is exactly the end of this interval

    def on_share(self, client: int) -> float:
        """Return on-time over length of the client's trace."""
        device = self._devices[client]
        return self._traces.ready_s[device] / self._traces.length_s[device]
