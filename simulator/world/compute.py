"""How long a device computes: counted FLOPs over its throughput, plus an overhead per task."""

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat

from simulator.randomness import ClientDraws, Stream
from simulator.world.distributions import Constant, MeanOneJitter, NonNegativeDistribution, Rate

FLOPS_PER_GFLOP = 1e9


class ComputeSpec(BaseModel):
    """What a scenario says of devices."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    throughput_gflops: Rate = Field(description="sustained GFLOP/s of each client's device")
    overhead_s: NonNegativeDistribution = Field(
        Constant(value=0.0),
        description="fixed time each training task costs a client, e.g. loading the model",
    )
    jitter_sigma: NonNegativeFloat = Field(0.0, description="spread of the mean-one factor on each round's speed")


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

    def overhead_s(self, client: int) -> float:
        """Return the fixed time of one training task at a client."""
        overhead_s: float = self._overhead_s[client]
        return overhead_s

    def s_per_flop(self, client: int, window: int) -> float:
        """Return the seconds one FLOP takes in a client's local round on the given window."""
        jitter = self._jitter.at(client, window) if self._jitter_sigma > 0.0 else 1.0
        seconds: float = self._s_per_flop[client] * jitter
        return seconds
