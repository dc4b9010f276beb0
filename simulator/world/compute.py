"""How long a device computes: counted FLOPs over its throughput, plus an overhead per task."""

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, model_validator

from simulator.arrays import Floats
from simulator.randomness import ClientDraws, Stream
from simulator.world.arrivals import Probability
from simulator.world.distributions import Constant, MeanOneJitter, NonNegativeDistribution, Rate

FLOPS_PER_GFLOP = 1e9


class StragglerSpec(BaseModel):
    """Devices that are slow for some rounds: throttled by heat, or busy with something else."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    probability: Probability = Field(description="chance that a device becomes slow from one local round to the next")
    persistence: Probability = Field(0.0, description="chance that a slow device is still slow in its next local round")
    slowdown: float = Field(ge=1, description="how many times longer a slow device computes")

    @model_validator(mode="after")
    def _slowness_attracts(self) -> "StragglerSpec":
        if 0.0 < self.persistence < self.probability:
            raise ValueError(
                f"persistence ({self.persistence:g}) must not be below probability ({self.probability:g}): a slow "
                "device is at least as likely to be slow in its next round as any other; unset: as likely"
            )
        return self

    @property
    def share(self) -> float:
        """The share of local rounds that are slow in the long run."""
        stays = max(self.persistence, self.probability)
        return self.probability / (1.0 - stays + self.probability)


class ComputeSpec(BaseModel):
    """What a scenario says of devices."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    throughput_gflops: Rate = Field(description="sustained GFLOP/s of each client's device")
    overhead_s: NonNegativeDistribution = Field(
        Constant(value=0.0),
        description="fixed time each training task costs a client, e.g. loading the model",
    )
    jitter_sigma: NonNegativeFloat = Field(0.0, description="spread of the mean-one factor on each round's speed")
    stragglers: StragglerSpec | None = Field(None, description="a slow mode that devices enter at random")


class Devices:
    """Computing speed of every client.

    Args:
        spec: what the scenario says.
        seed: the run's seed.
        num_clients: clients in the world.
    """

    def __init__(self, spec: ComputeSpec, seed: int, num_clients: int) -> None:
        self._jitter_sigma = spec.jitter_sigma
        gflops = spec.throughput_gflops.ppf(Stream(seed, "throughput").uniforms(num_clients))
        self._s_per_flop = (1.0 / (gflops * FLOPS_PER_GFLOP)).tolist()
        self._overhead_s = spec.overhead_s.ppf(Stream(seed, "overhead").uniforms(num_clients)).tolist()
        self._jitter = ClientDraws(seed, "compute", MeanOneJitter(spec.jitter_sigma))
        self._stragglers = spec.stragglers
        self._slow = ClientDraws(seed, "straggler", _Identity())

    def overhead_s(self, client: int) -> float:
        """Return the fixed time of one training task at a client."""
        overhead_s: float = self._overhead_s[client]
        return overhead_s

    def s_per_flop(self, client: int, window: int) -> float:
        """Return the seconds one FLOP takes in a client's local round on the given window."""
        jitter = self._jitter.at(client, window) if self._jitter_sigma > 0.0 else 1.0
        if self._stragglers is not None and self.is_slow(client, window):
            jitter *= self._stragglers.slowdown
        seconds: float = self._s_per_flop[client] * jitter
        return seconds

    def is_slow(self, client: int, window: int) -> bool:
        """Return whether a device is in its slow mode in a local round.

        The chain is read backwards, so that no answer depends on what was asked before: a draw below `probability`
        makes a device slow whatever it was, one above `persistence` makes it normal, and one between leaves it as it
        was in the round before. All are normal before their first round.
        """
        spec = self._stragglers
        if spec is None:
            return False
        for earlier in range(window, -1, -1):
            uniform = self._slow.at(client, earlier)
            if uniform < spec.probability:
                return True
            if uniform >= spec.persistence:
                return False
        return False


class _Identity:
    def ppf(self, uniform: Floats) -> Floats:
        return uniform
