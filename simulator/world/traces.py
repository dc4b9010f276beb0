"""Quantities of real devices: a client is one row of a CSV file, the same row in every trace of that file.

In a scenario a trace stands where a distribution can: ``{distribution: trace, file: ..., column: ..., unit: ...}``.
Unlike ``empirical``, which draws every quantity on its own, a trace keeps the quantities of one device together: a slow
phone keeps its own link. Each client's device is drawn with replacement from a stream named after the file.
"""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import scipy  # its members are loaded when they are named
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PrivateAttr

from interlude.simulator.arrays import Floats
from interlude.simulator.files import located
from interlude.simulator.randomness import ClientDraws, Stream
from interlude.simulator.world.derived import Derived
from interlude.simulator.world.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    Gamma,
    LogNormal,
    Normal,
    Pareto,
    Quantiles,
    Uniform,
    Weibull,
    is_positive,
    number_is_constant,
)
from interlude.simulator.world.trace_files import assigned_devices, column_of

_MBPS = {"bps": 1e-6, "kbps": 1e-3, "mbps": 1.0}
_MS = {"s": 1e3, "ms": 1.0, "us": 1e-3}

SLOWEST = 0.01
"""A transfer's drawn speed is cut at this share of the device's mean: at 0 the mean time would be infinite."""


class _Trace(Derived):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    distribution: Literal["trace"]
    file: Path = Field(description="CSV file, a row per device; a relative one is looked for below the data directory")
    column: str = Field(description="column with each device's value")

    _values: tuple[float, ...] = PrivateAttr()

    def model_post_init(self, _context: object) -> None:
        """Read the column now, so that a bad file is an error before anything runs."""
        self._values = tuple(_positive_column(self.file, self.column))

    def devices(self, seed: int, num_clients: int) -> list[int]:
        """Return the device (row) that each client is."""
        return assigned_devices(seed, self.file, len(self._values), num_clients)

    def _per_client(self, factor: float, seed: int, num_clients: int) -> Floats:
        return factor * np.array(self._values)[self.devices(seed, num_clients)]


class TimeTrace(_Trace):
    """A time of each device, from a column of a CSV file with a row per device."""

    unit: Literal["s", "ms", "us"] = Field(description="unit of the column")

    def per_client(self, seed: int, num_clients: int) -> Floats:
        """Return each client's time in milliseconds, [N]."""
        return self._per_client(_MS[self.unit], seed, num_clients)


class SpeedTrace(_Trace):
    """A link's speed of each device, from a column as well: its mean, and by option how transfers vary around it.

    With a `deviation` column a transfer's speed is drawn from the normal distribution of the device's mean and
    deviation, truncated (not clipped) below `SLOWEST` of the mean.
    """

    unit: Literal["bps", "kbps", "mbps"] = Field(description="unit of the columns, in bits")
    deviation: str | None = Field(None, description="column with the standard deviation from transfer to transfer")

    _deviations: tuple[float, ...] | None = PrivateAttr(None)

    def model_post_init(self, _context: object) -> None:
        """Read the columns now, so that a bad file is an error before anything runs."""
        super().model_post_init(_context)
        if self.deviation is not None:
            self._deviations = tuple(column_of(self.file, self.deviation))

    def per_client(self, seed: int, num_clients: int) -> Floats:
        """Return each client's mean speed in mbps, [N]."""
        return self._per_client(_MBPS[self.unit], seed, num_clients)

    def relative_deviation(self, seed: int, num_clients: int) -> Floats | None:
        """Return each client's deviation over its mean, [N]; None where transfers do not vary."""
        if self._deviations is None:
            return None
        relative: Floats = np.array(self._deviations) / np.array(self._values)
        return relative[self.devices(seed, num_clients)].copy()


Plain = (
    Constant | Uniform | Normal | LogNormal | Exponential | Gamma | Weibull | Pareto | Empirical | Quantiles
)  # a union with a trace must be flat to be told apart by its key


def _rate_is_positive(given: Distribution | _Trace) -> Distribution | _Trace:
    return is_positive(given) if isinstance(given, Distribution) else given


_Bandwidth = Annotated[Plain | SpeedTrace, Field(discriminator="distribution")]
Bandwidth = Annotated[
    _Bandwidth,
    BeforeValidator(number_is_constant, json_schema_input_type=float | _Bandwidth),
    AfterValidator(_rate_is_positive),
]
"""A link's speed; a trace, or a distribution in the unit that the name of its field gives."""

_PerSample = Annotated[Plain | TimeTrace, Field(discriminator="distribution")]
PerSample = Annotated[
    _PerSample,
    BeforeValidator(number_is_constant, json_schema_input_type=float | _PerSample),
    AfterValidator(_rate_is_positive),
]
"""A time per sample; a trace, or a distribution in the unit that the name of its field gives."""


def per_client(given: Distribution | SpeedTrace | TimeTrace, seed: int, num_clients: int, *purpose: str) -> Floats:
    """Return each client's value in the field's unit, [N].

    Args:
        given: a distribution, or a trace.
        seed: the run's seed.
        num_clients: clients in the world.
        purpose: address of the stream that a distribution is drawn from.
    """
    if isinstance(given, SpeedTrace | TimeTrace):
        return given.per_client(seed, num_clients)
    return given.ppf(Stream(seed, *purpose).uniforms(num_clients))


class SpeedDraws:
    """Speeds of single transfers, as shares of the client's mean speed.

    Args:
        relative_deviation: standard deviation over mean of each client, [N].
        seed: the run's seed.
        detail: which link.
    """

    def __init__(self, relative_deviation: Floats, seed: int, detail: str) -> None:
        self._deviation: list[float] = relative_deviation.tolist()
        self.draws = ClientDraws(seed, "transfer-speed", _Itself(), detail)

    def share(self, client: int, window: int) -> float:
        """Return the speed of a client's transfer in the local round on a window, over the client's mean."""
        deviation = self._deviation[client]
        if deviation == 0.0:
            return 1.0
        below = scipy.special.ndtr((SLOWEST - 1.0) / deviation)
        probability = below + self.draws.at(client, window) * (1.0 - below)
        return max(SLOWEST, float(1.0 + deviation * scipy.special.ndtri(probability)))


class _Itself:
    def ppf(self, uniform: Floats) -> Floats:
        return uniform


def _positive_column(file: Path, column: str) -> list[float]:
    values = column_of(file, column)
    if 0.0 in values:
        raise ValueError(
            f"'{located(file)}', row {values.index(0.0) + 1}, column '{column}': 0 is no speed or time; "
            "leave such devices out of the file"
        )
    return values
