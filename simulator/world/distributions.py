"""Named distributions a scenario can draw from, each defined by its quantile function.

In a scenario a distribution is a number (a constant) or a mapping ``{distribution: lognormal, median: 5, sigma: 1}``.
Where the field that holds it names a unit (``uplink_mbps``), the parameters are in that unit. Where it does not
(``per_client`` arrival delays), parameters that are times say so: ``median_s: 4``.
"""

import math
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import scipy  # its members are loaded when they are named
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    WrapSerializer,
    model_validator,
)

from interlude.simulator.arrays import Floats
from interlude.simulator.world.derived import Derived
from interlude.simulator.world.trace_files import column_of

_LEAST = 2.0**-53
"""The smallest probability that is ever drawn."""

_LARGEST, _SMALLEST = 1e100, 1e-100
"""Allowed range of values: sums and products of a few of them are finite."""


class Distribution(Derived):
    """A non-negative random quantity; `ppf` maps probabilities in (0, 1) to values."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _is_finite(self) -> "Distribution":
        """Refuse parameters so far apart that some values cannot be computed."""
        with np.errstate(all="ignore"):
            reached = self.ppf(np.array([_LEAST, 0.5, 1.0 - _LEAST]))
        if not np.all((reached >= 0.0) & (reached <= _LARGEST)):
            raise ValueError(f"its values cannot be computed: they reach from {reached[0]:g} to {reached[2]:g}")
        return self

    def ppf(self, probability: Floats) -> Floats:
        """Return the quantile of each probability, same shape."""
        return np.asarray(self._frozen.ppf(probability), dtype=np.float64)

    @property
    def mean_value(self) -> float:
        """The expected value."""
        with np.errstate(all="ignore"):  # scipy computes the variance, too, which may be infinite
            return float(self._frozen.mean())

    @property
    def _frozen(self) -> Any:
        raise NotImplementedError


class Constant(Distribution):
    """Always the same value."""

    distribution: Literal["constant"] = "constant"
    value: NonNegativeFloat

    def ppf(self, probability: Floats) -> Floats:
        """Return the value at every probability."""
        return np.full_like(probability, self.value)

    @property
    def mean_value(self) -> float:
        """The value."""
        return self.value


class Uniform(Distribution):
    """Uniform between `low` and `high`."""

    distribution: Literal["uniform"]
    low: NonNegativeFloat
    high: NonNegativeFloat

    def model_post_init(self, _context: object) -> None:
        """Refuse an empty interval."""
        if self.high < self.low:
            raise ValueError(f"high ({self.high}) is below low ({self.low})")

    def ppf(self, probability: Floats) -> Floats:
        """Return low + (high - low) p."""
        return self.low + (self.high - self.low) * probability

    @property
    def mean_value(self) -> float:
        """The middle."""
        return 0.5 * (self.low + self.high)


class Normal(Distribution):
    """Normal, cut at zero (the truncated distribution, not a clipped one)."""

    distribution: Literal["normal"]
    mean: NonNegativeFloat
    std: PositiveFloat

    @cached_property
    def _frozen(self) -> Any:
        return scipy.stats.truncnorm(-self.mean / self.std, np.inf, loc=self.mean, scale=self.std)


class LogNormal(Distribution):
    """Log-normal by its median; `sigma` is the standard deviation of the logarithm."""

    distribution: Literal["lognormal"]
    median: PositiveFloat
    sigma: PositiveFloat

    @cached_property
    def _frozen(self) -> Any:
        return scipy.stats.lognorm(s=self.sigma, scale=self.median)


class Exponential(Distribution):
    """Exponential by its mean."""

    distribution: Literal["exponential"]
    mean: PositiveFloat

    @cached_property
    def _frozen(self) -> Any:
        return scipy.stats.expon(scale=self.mean)


class Gamma(Distribution):
    """Gamma by its shape (dimensionless) and mean."""

    distribution: Literal["gamma"]
    shape: PositiveFloat
    mean: PositiveFloat

    @cached_property
    def _frozen(self) -> Any:
        return scipy.stats.gamma(self.shape, scale=self.mean / self.shape)


class Weibull(Distribution):
    """Weibull by its shape (dimensionless) and scale (the 63.2 % quantile)."""

    distribution: Literal["weibull"]
    shape: PositiveFloat
    scale: PositiveFloat

    @cached_property
    def _frozen(self) -> Any:
        return scipy.stats.weibull_min(self.shape, scale=self.scale)


class Pareto(Distribution):
    """Pareto by its shape (above 1, so that a mean exists) and its minimum."""

    distribution: Literal["pareto"]
    shape: Annotated[float, Field(gt=1)]
    minimum: PositiveFloat

    @cached_property
    def _frozen(self) -> Any:
        return scipy.stats.pareto(self.shape, scale=self.minimum)


class Empirical(Distribution):
    """The values of one column of a CSV file with a header line, interpolated between order statistics.

    Every quantity is drawn on its own. Where a client is to be one device of the file, see
    `interlude.simulator.world.traces`.
    """

    distribution: Literal["empirical"]
    file: Path
    column: str

    _values: tuple[float, ...] = PrivateAttr()

    def model_post_init(self, _context: object) -> None:
        """Read the column now, so that a bad file is an error before anything runs."""
        self._values = tuple(sorted(column_of(self.file, self.column)))

    def ppf(self, probability: Floats) -> Floats:
        """Return the interpolated sample quantiles."""
        quantiles: Floats = np.quantile(self._values, probability)
        return quantiles

    @property
    def mean_value(self) -> float:
        """The sample mean."""
        return float(np.mean(self._values))


class Quantiles(Distribution):
    """Some of its quantiles, as papers print them; the value or its logarithm is linear in between."""

    distribution: Literal["quantiles"]
    probabilities: tuple[float, ...] = Field(description="from 0 to 1, rising")
    values: tuple[NonNegativeFloat, ...] = Field(description="the quantile of each probability")
    spacing: Literal["linear", "log"] = Field("linear", description="what is linear between two quantiles")

    def model_post_init(self, _context: object) -> None:
        """Refuse anything that is not a quantile function."""
        given = self.probabilities
        if len(given) != len(self.values):
            raise ValueError(f"has {len(given)} probabilities and {len(self.values)} values; each needs the other")
        if len(given) < 2 or given[0] != 0.0 or given[-1] != 1.0 or any(a >= b for a, b in pairwise(given)):
            raise ValueError("probabilities must rise from 0 to 1")
        if any(a > b for a, b in pairwise(self.values)):
            raise ValueError("values must not fall")
        if self.spacing == "log" and self.values[0] == 0.0:
            raise ValueError("spacing 'log' needs values above 0")

    def ppf(self, probability: Floats) -> Floats:
        """Return the interpolated quantiles."""
        if self.spacing == "log":
            between: Floats = np.exp(np.interp(probability, self.probabilities, np.log(self.values)))
        else:
            between = np.interp(probability, self.probabilities, self.values)
        return between

    @property
    def mean_value(self) -> float:
        """The integral of the quantile function."""
        widths = np.diff(self.probabilities)
        return float(sum(w * self._mean_of(a, b) for w, (a, b) in zip(widths, pairwise(self.values), strict=True)))

    def _mean_of(self, low: float, high: float) -> float:
        if self.spacing == "linear" or high - low <= 1e-9 * high:
            return 0.5 * (low + high)
        return (high - low) / math.log(high / low)


class MeanOneJitter:
    """Log-normal factor with mean 1, so that jitter spreads a quantity and does not inflate it."""

    def __init__(self, sigma: float) -> None:
        self._location = -0.5 * sigma**2
        self._sigma = sigma

    def ppf(self, probability: Floats) -> Floats:
        """Return exp(sigma z - sigma^2 / 2) at the normal quantile z of each probability."""
        if self._sigma == 0.0:
            return np.ones_like(probability)
        factors: Floats = np.exp(self._location + self._sigma * scipy.special.ndtri(probability))
        return factors


DISTRIBUTIONS: dict[str, type[Distribution]] = {
    "constant": Constant,
    "uniform": Uniform,
    "normal": Normal,
    "lognormal": LogNormal,
    "exponential": Exponential,
    "gamma": Gamma,
    "weibull": Weibull,
    "pareto": Pareto,
    "empirical": Empirical,
    "quantiles": Quantiles,
}

_DIMENSIONAL = frozenset({"value", "low", "high", "mean", "std", "median", "scale", "minimum", "values"})


def number_is_constant(given: Any) -> Any:
    """Return a number as the constant distribution that it stands for, anything else as it is."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        return {"distribution": "constant", "value": given}
    return given


def _times_name_their_unit(given: Any) -> Any:
    if not isinstance(given, dict):
        if isinstance(given, int | float):
            raise ValueError(f"a time must name its unit: write {{distribution: constant, value_s: {given}}}")
        return given
    for name in given:
        if name in _DIMENSIONAL:
            raise ValueError(f"'{name}' is a time and must name its unit: write '{name}_s'")
    kind = DISTRIBUTIONS.get(str(given.get("distribution")), Distribution)
    for name, field in kind.model_fields.items():
        if name in _DIMENSIONAL and field.is_required() and f"{name}_s" not in given:
            raise ValueError(f"'{name}_s' is missing")
    names = {f"{name}_s": name for name in _DIMENSIONAL}
    return {names.get(name, name): value for name, value in given.items()}


def _name_the_unit(distribution: Distribution, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
    names = {name: f"{name}_s" for name in _DIMENSIONAL}
    return {names.get(name, name): value for name, value in dump(distribution).items()}


class _TimesInSchema:
    """Says in a JSON Schema that parameters which are times are named with their unit."""

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> dict[str, Any]:
        return {"anyOf": [self._renamed(kind.model_json_schema()) for kind in DISTRIBUTIONS.values()]}

    def _renamed(self, schema: dict[str, Any]) -> dict[str, Any]:
        names = {name: f"{name}_s" if name in _DIMENSIONAL else name for name in schema["properties"]}
        properties = {names[name]: said for name, said in schema["properties"].items()}
        return {**schema, "properties": properties, "required": [names[name] for name in schema.get("required", [])]}


def is_positive(distribution: Distribution) -> Distribution:
    """Return a distribution of positive values.

    Raises:
        ValueError: if it is not one.
    """
    if not math.isfinite(distribution.mean_value) or distribution.ppf(np.array([_LEAST]))[0] < _SMALLEST:
        raise ValueError("must be positive")
    return distribution


_Any = Annotated[
    Constant | Uniform | Normal | LogNormal | Exponential | Gamma | Weibull | Pareto | Empirical | Quantiles,
    Field(discriminator="distribution"),
]
NonNegativeDistribution = Annotated[_Any, BeforeValidator(number_is_constant, json_schema_input_type=float | _Any)]
"""A quantity in the unit that the name of its field gives."""

Rate = Annotated[NonNegativeDistribution, AfterValidator(is_positive)]
"""A speed or bandwidth: zero would take forever, so it must be positive."""

Seconds = Annotated[
    NonNegativeDistribution,
    BeforeValidator(_times_name_their_unit, json_schema_input_type=Annotated[Any, _TimesInSchema()]),
    WrapSerializer(_name_the_unit),
]
"""A time whose field does not name the unit, so its parameters do (``median_s``)."""
