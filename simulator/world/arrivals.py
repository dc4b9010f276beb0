"""When the data of each modality arrive.

A *window* is the samples of one local round; its modalities arrive separately. Two kinds of arrival:

* ``per_round``: the client starts collecting when its local round starts; the modality arrives after a delay. The
  delay is drawn once per client (``per_client``) and jittered every round.
* ``stream``: sensors never stop. Window w is complete at ``(w + 1) * window size * sample_period_s`` plus a transfer
  delay, whether the client is busy or not; finished windows queue until a local round takes the oldest.

A modality can miss (`miss_probability`). With ``on_miss: wait`` the collection is repeated until it succeeds; with
``skip`` the round continues without that modality; with ``uni_modal`` it does so too, but the modalities that arrived
are trained each alone, without joint training, and only their groups are sent.
"""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, NonNegativeFloat, PositiveInt, Tag

from interlude.simulator.arrays import Floats, packed
from interlude.simulator.randomness import ClientDraws, Stream
from interlude.simulator.world.distributions import MeanOneJitter, NonNegativeDistribution, Rate, Seconds

Probability = Annotated[float, Field(ge=0, lt=1)]


def _former_name(given: Any) -> Any:
    return "skip" if given == "absent" else given


OnMiss = Annotated[
    Literal["wait", "skip", "uni_modal"],
    BeforeValidator(_former_name, json_schema_input_type=Literal["wait", "skip", "uni_modal", "absent"]),
]
"""What happens to a round in which a modality misses; ``absent`` is an old name for ``skip``."""


class _Arrival(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    jitter_sigma: NonNegativeFloat = Field(
        0.0, le=10, description="spread of the mean-one log-normal factor of each round"
    )
    miss_probability: Probability = Field(0.0, description="chance that a window's modality does not arrive")
    on_miss: OnMiss = Field(
        "wait", description="repeat the collection, continue without it, or train each of the others alone"
    )


class PerRound(_Arrival):
    """A delay from the start of each local round."""

    kind: Literal["per_round"] = "per_round"
    per_client: Seconds = Field(description="each client's mean delay")


class StreamOfWindows(_Arrival):
    """Windows that fill up continuously and queue while the client is busy."""

    kind: Literal["stream"]
    sample_period_s: Rate = Field(description="each client's time between two samples")
    transfer_s: NonNegativeDistribution = Field(description="delay from the sensor to the client, drawn per window")
    queue_windows: PositiveInt | None = Field(None, description="finished windows kept; older ones are dropped")


def kind_of(given: Any) -> str:
    """Return the kind of an arrival model, given or parsed."""
    kind = given.get("kind", "per_round") if isinstance(given, dict) else getattr(given, "kind", "per_round")
    return str(kind)


AnyArrival = Annotated[
    Annotated[PerRound, Tag("per_round")] | Annotated[StreamOfWindows, Tag("stream")],
    Discriminator(kind_of),
]


class Misses:
    """How often a collection misses before it succeeds: geometric.

    Args:
        probability: of a miss, above 0.
    """

    def __init__(self, probability: float) -> None:
        self._probability = probability

    def ppf(self, uniform: Floats) -> Floats:
        """Return the number of misses at each probability."""
        misses: Floats = np.floor(np.log(uniform) / np.log(self._probability))
        return misses


class ModalityArrivals:
    """Arrival times of one modality at every client.

    Args:
        spec: what the scenario says.
        seed: the run's seed.
        modality: the modality's name (part of the random streams' addresses).
        num_clients: clients in the world.
    """

    def __init__(self, spec: PerRound | StreamOfWindows, seed: int, modality: str, num_clients: int) -> None:
        self.spec = spec
        self._may_miss = spec.miss_probability > 0.0
        self._jitters = spec.jitter_sigma > 0.0
        self._is_per_round = isinstance(spec, PerRound)
        base = spec.per_client if isinstance(spec, PerRound) else spec.sample_period_s
        self._base_s = packed(base.ppf(Stream(seed, "arrival-base", modality).uniforms(num_clients)))
        self._jitter = ClientDraws(seed, "arrival", MeanOneJitter(spec.jitter_sigma), modality)
        self._misses = ClientDraws(seed, "miss", Misses(spec.miss_probability), modality)
        if isinstance(spec, StreamOfWindows):
            self._transfer = ClientDraws(seed, "arrival-transfer", spec.transfer_s, modality)

    @property
    def draws(self) -> list[ClientDraws]:
        """What every local round reads."""
        jitter = [self._jitter] if self._jitters else []
        misses = [self._misses] if self._may_miss else []
        return jitter + misses + ([] if self._is_per_round else [self._transfer])

    @property
    def leaves_others_alone(self) -> bool:
        """Whether after a miss the other modalities are trained each alone."""
        return self.spec.on_miss == "uni_modal" and self._may_miss

    @property
    def drops_windows(self) -> bool:
        """Whether windows that wait too long are dropped."""
        return isinstance(self.spec, StreamOfWindows) and self.spec.queue_windows is not None

    def arrival_s(self, client: int, window: int, round_start_s: float, num_samples: int) -> float | None:
        """Return when the modality's data of a window arrive, in absolute simulated seconds.

        Args:
            client: the client.
            window: index of the client's window, 0, 1, ...
            round_start_s: when the local round started.
            num_samples: samples in the window.

        Returns:
            The arrival time, which can be before `round_start_s` for a stream; None if the modality misses and
            the scenario lets the round continue without it.
        """
        attempts = 1.0
        if self._may_miss:
            misses = self._misses.at(client, window)
            if misses > 0 and self.spec.on_miss != "wait":
                return None
            attempts += misses
        jitter = self._jitter.at(client, window) if self._jitters else 1.0
        if self._is_per_round:
            return round_start_s + self._base_s[client] * jitter * attempts
        transfer_s = self._transfer.at(client, window)
        period_s = self._base_s[client] * num_samples
        return period_s * (window + attempts) + transfer_s * jitter

    def oldest_kept(self, client: int, at_s: float, num_samples: int) -> int:
        """Return the oldest window still queued at `at_s`; 0 where nothing is ever dropped."""
        spec = self.spec
        if isinstance(spec, PerRound) or spec.queue_windows is None:
            return 0
        period_s = self._base_s[client] * num_samples
        finished = int(at_s / period_s)
        if (finished + 1) * period_s <= at_s:  # the quotient was rounded down exactly at a window's end
            finished += 1
        return max(0, finished - spec.queue_windows)
