"""When clients are available: on and off, joining and leaving.

In a scenario ``world.availability`` has a `kind` (``always``, ``markov``, ``daily``, ``intervals``), a `policy` for
work that is cut short (``pause`` it until the client is on again, or ``lose`` it), and optionally when clients join and
leave for good. Unset, every client is always on.
"""

import math
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PrivateAttr,
    model_validator,
)

from interlude.simulator.arrays import Floats
from interlude.simulator.randomness import Stream
from interlude.simulator.world.availability_files import Columns, NeverReady, read_intervals
from interlude.simulator.world.availability_patterns import (
    FOREVER_S,
    AlwaysOn,
    Daily,
    IntervalTraces,
    MarkovOnOff,
    Pattern,
    Replayed,
)
from interlude.simulator.world.derived import Derived
from interlude.simulator.world.distributions import Constant, Distribution, NonNegativeDistribution, Uniform
from interlude.simulator.world.trace_files import assigned_devices

_DAY_S = 86_400.0


def _is_share(distribution: Distribution) -> Distribution:
    highest = float(distribution.ppf(np.array([1.0 - 1e-9]))[0])
    if highest > 1.0:
        raise ValueError(f"is a share and must not exceed 1, but can be {highest:g}")
    return distribution


Share = Annotated[NonNegativeDistribution, AfterValidator(_is_share)]
"""A share per client, 0 to 1."""


class _Availability(Derived):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    policy: Literal["lose", "pause"] = Field(
        "pause", description="work in progress when a client goes off: lost, or continued when it is on again"
    )
    join_s: NonNegativeDistribution | None = Field(
        None, description="per client, when it joins; off before; unset: all clients take part from the start"
    )
    leave_s: NonNegativeDistribution | None = Field(
        None, description="per client, when it leaves for ever; one that leaves before it joins never takes part"
    )


class AlwaysSpec(_Availability):
    """On from joining to leaving."""

    kind: Literal["always"]


class MarkovSpec(_Availability):
    """Exponential on-times and off-times; at the start each client is on with its share's probability.

    Either `mean_on_s` and `mean_off_s`, or the same by `on_share` and `cycle_s`: on for ``on_share * cycle_s`` and off
    for ``(1 - on_share) * cycle_s`` on average. A client whose mean on-time is below a millisecond is never on.
    """

    kind: Literal["markov"]
    mean_on_s: NonNegativeDistribution | None = Field(None, description="per client, mean time on")
    mean_off_s: NonNegativeDistribution | None = Field(None, description="per client, mean time off")
    on_share: Share | None = Field(None, description="per client, share of time on")
    cycle_s: NonNegativeDistribution | None = Field(None, description="per client, mean time on plus mean time off")

    @model_validator(mode="after")
    def _one_of_two_ways(self) -> "MarkovSpec":
        given = {name for name in ("mean_on_s", "mean_off_s", "on_share", "cycle_s") if getattr(self, name) is not None}
        if given not in ({"mean_on_s", "mean_off_s"}, {"on_share", "cycle_s"}):
            listed = ", ".join(sorted(given)) or "none of them"
            raise ValueError(f"needs mean_on_s and mean_off_s, or on_share and cycle_s, and has {listed}")
        return self

    def means_s(self, seed: int, num_clients: int) -> tuple[Floats, Floats]:
        """Return the mean on-time and the mean off-time of each client, [N] each."""
        if self.on_share is not None and self.cycle_s is not None:
            share = self.on_share.ppf(Stream(seed, "availability-share").uniforms(num_clients))
            cycle_s = self.cycle_s.ppf(Stream(seed, "availability-cycle").uniforms(num_clients))
            return share * cycle_s, (1.0 - share) * cycle_s
        assert self.mean_on_s is not None
        assert self.mean_off_s is not None
        on_s = self.mean_on_s.ppf(Stream(seed, "availability-mean-on").uniforms(num_clients))
        return on_s, self.mean_off_s.ppf(Stream(seed, "availability-mean-off").uniforms(num_clients))


class DailySpec(_Availability):
    """One stretch of on-time a day, e.g. while the phone charges at night."""

    kind: Literal["daily"]
    on_share: Share = Field(description="per client, share of the day on")
    start_s: NonNegativeDistribution = Field(
        Uniform(distribution="uniform", low=0.0, high=_DAY_S),
        description="per client, time of the day at which it goes on",
    )
    jitter_s: NonNegativeDistribution = Field(
        Constant(value=0.0),
        description="per client, largest shift of a day's stretch, either way; at most half of its off-time",
    )
    period_s: PositiveFloat = Field(_DAY_S, ge=1.0, description="length of a day")


class IntervalsSpec(_Availability):
    """On-intervals of devices from a CSV file with a header line; a client is a device for the whole run.

    A row is one interval ``[on, off)`` in seconds from the start of its trace; rows of a device are in order and do not
    overlap. Intervals shorter than a millisecond are left out; a device with empty cells instead of an interval has
    none. After a trace's length it begins again: its own (`length`, a column), the same for all (`trace_s`), or, where
    neither is given, the largest `off` in the file.
    """

    kind: Literal["intervals"]
    file: Path = Field(description="CSV file; a relative one is looked for below the data directory first")
    device: str = Field("device", description="column with the device's name")
    on: str = Field("on_s", description="column with the start of an interval, in seconds")
    off: str = Field("off_s", description="column with its end")
    length: str | None = Field(None, description="column with the length of the device's trace, the same in all rows")
    trace_s: PositiveFloat | None = Field(None, description="length of every device's trace, at least 1 s")
    never_ready: NeverReady = Field(
        "refuse", description="devices without on-time: an error, left out, or clients that are off for ever"
    )

    _traces: IntervalTraces = PrivateAttr()

    def model_post_init(self, _context: object) -> None:
        """Read the file now, so that a bad one is an error before anything runs."""
        if self.length is not None and self.trace_s is not None:
            raise ValueError("length and trace_s both say when a trace is over; give one of them")
        columns = Columns(self.device, self.on, self.off, self.length)
        self._traces = read_intervals(self.file, columns, self.trace_s, self.never_ready)

    @property
    def traces(self) -> IntervalTraces:
        """The devices' intervals."""
        return self._traces


_Kinds = AlwaysSpec | MarkovSpec | DailySpec | IntervalsSpec
AvailabilitySpec = Annotated[_Kinds, Field(discriminator="kind")]


class Availability:
    """When each client is on, as functions of (client, moment), never of the order of calls.

    Moments later than `FOREVER_S` are never reached.

    Args:
        spec: what the scenario says.
        seed: the run's seed.
        num_clients: clients in the world.
    """

    def __init__(self, spec: _Kinds, seed: int, num_clients: int) -> None:
        self.policy = spec.policy
        self._pattern = _pattern(spec, seed, num_clients)
        self._join_s, self._leave_s = [0.0] * num_clients, [math.inf] * num_clients
        if spec.join_s is not None:
            self._join_s = spec.join_s.ppf(Stream(seed, "join").uniforms(num_clients)).tolist()
        if spec.leave_s is not None:
            self._leave_s = spec.leave_s.ppf(Stream(seed, "leave").uniforms(num_clients)).tolist()

    def join_s(self, client: int) -> float:
        """Return when a client joins."""
        return self._join_s[client]

    def leave_s(self, client: int) -> float:
        """Return when a client leaves for ever; infinite if it does not."""
        return self._leave_s[client]

    def on_share(self, client: int) -> float:
        """Return the share of a long time that a client is on between joining and leaving."""
        return self._pattern.on_share(client)

    def next_on(self, client: int, at_s: float) -> float:
        """Return the first moment at or after `at_s` at which a client is on; infinite if it never is again."""
        stretch = self._stretch(client, at_s)
        return math.inf if stretch is None else stretch[0]

    def remaining_on(self, client: int, at_s: float) -> float:
        """Return how long a client stays on without a break from `at_s`; 0 if it is off, infinite if for ever."""
        stretch = self._stretch(client, at_s)
        return 0.0 if stretch is None or stretch[0] > at_s else stretch[1] - at_s

    def _stretch(self, client: int, at_s: float) -> tuple[float, float] | None:
        """Return the first stretch of on-time at or after a moment, between joining and leaving."""
        at_s = max(at_s, self._join_s[client])
        leave_s = self._leave_s[client]
        if at_s >= min(leave_s, FOREVER_S):
            return None
        stretch = self._pattern.stretch(client, at_s)
        if stretch is None or stretch[0] >= leave_s:
            return None
        return stretch[0], min(stretch[1], leave_s)


def _pattern(spec: _Kinds, seed: int, num_clients: int) -> Pattern:
    match spec:
        case AlwaysSpec():
            return AlwaysOn()
        case MarkovSpec():
            return MarkovOnOff(seed, *spec.means_s(seed, num_clients))
        case DailySpec():
            start_s = spec.start_s.ppf(Stream(seed, "availability-start-of-day").uniforms(num_clients))
            share = spec.on_share.ppf(Stream(seed, "availability-share").uniforms(num_clients))
            jitter_s = spec.jitter_s.ppf(Stream(seed, "availability-jitter").uniforms(num_clients))
            return Daily(seed, spec.period_s, start_s, share, jitter_s)
        case IntervalsSpec():
            num_devices = len(spec.traces.length_s)
            return Replayed(spec.traces, assigned_devices(seed, spec.file, num_devices, num_clients))
