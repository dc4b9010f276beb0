"""Server outages: the server neither sends nor receives, merges nothing and dispatches no client.

A transfer in progress is held (``stalled``) and continues when the server is back. Clients notice nothing else: they
keep training. Events that would make the server act (a deadline, a client that returns without an update) wait.
"""

import math
from bisect import bisect_right
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, field_validator

from interlude.simulator.randomness import Stream

_BLOCK_DRAWS = 64


class OutageWindows(BaseModel):
    """Outages at known moments."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["windows"]
    windows_s: tuple[tuple[NonNegativeFloat, PositiveFloat], ...] = Field(
        description="[start, end) of each outage, in simulated seconds, in order"
    )

    @field_validator("windows_s")
    @classmethod
    def _in_order(cls, windows_s: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        edges = [edge for window_s in windows_s for edge in window_s]
        if any(after <= before for before, after in pairwise(edges)):
            raise ValueError("each outage must end after it starts, and before the next one starts")
        return windows_s


class RandomOutages(BaseModel):
    """A Markov chain in continuous time: the server is up and down for exponential times, up at first."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["markov"]
    mean_up_s: PositiveFloat = Field(ge=1e-3, description="mean time between two outages")
    mean_down_s: PositiveFloat = Field(ge=1e-3, description="mean length of an outage")


OutageSpec = Annotated[OutageWindows | RandomOutages, Field(discriminator="kind")]


class Outages:
    """The server's outages, as a function of the moment, never of the order of calls.

    Args:
        spec: what the scenario says.
        seed: the run's seed.
    """

    def __init__(self, spec: OutageWindows | RandomOutages, seed: int) -> None:
        self._edges_s: list[float] = []  # down, up, down, up, ...
        self._spec = spec
        self._stream = Stream(seed, "outage")
        self._num_drawn = 0
        if isinstance(spec, OutageWindows):
            self._edges_s = [edge_s for window_s in spec.windows_s for edge_s in window_s]

    @property
    def share(self) -> float | None:
        """The long-run share of time that the server is away; None where outages are given as windows."""
        spec = self._spec
        return None if isinstance(spec, OutageWindows) else spec.mean_down_s / (spec.mean_up_s + spec.mean_down_s)

    def back_s(self, at_s: float) -> float:
        """Return the first moment at or after `at_s` at which the server is up."""
        index = self._edges_until(at_s)
        return self._edges_s[index] if index % 2 else at_s

    def away_s(self, at_s: float) -> float:
        """Return the start of the next outage after `at_s`, infinite if there is none."""
        index = self._edges_until(at_s)
        index += index % 2
        return self._edges_s[index] if index < len(self._edges_s) else math.inf

    def _edges_until(self, at_s: float) -> int:
        """Return the number of edges at or before a moment; at least two later ones are drawn."""
        spec = self._spec
        while isinstance(spec, RandomOutages) and (len(self._edges_s) < 2 or self._edges_s[-2] <= at_s):
            uniforms = self._stream.uniforms(_BLOCK_DRAWS, start=self._num_drawn).tolist()
            self._num_drawn += _BLOCK_DRAWS
            edge_s = self._edges_s[-1] if self._edges_s else 0.0
            for uniform in uniforms:
                mean_s = spec.mean_down_s if len(self._edges_s) % 2 else spec.mean_up_s
                edge_s -= mean_s * math.log(uniform)
                self._edges_s.append(edge_s)
        return bisect_right(self._edges_s, at_s)
