"""How long a device computes: counted work times seconds per FLOP, plus an overhead per task.

The work is FLOPs, and where the scenario says what starting an operation costs, its operations besides.

Seconds per FLOP are given in one of two ways:

* ``throughput_gflops``: the device's sustained speed.
* ``ms_per_sample``: what published device traces hold, the device's time for one sample of inference. Training a sample
  is taken as ``training_factor`` times that (3 in FedScale: forward, and backward twice as long). This says nothing of
  FLOPs, so it is tied to the scenario's own network: one training sample of the joint objective on all modalities takes
  ``ms_per_sample * training_factor``, and everything else (a uni-modal step, preparation, a report) as much more or
  less as it counts more or fewer FLOPs. So a step takes ``samples * ms_per_sample * training_factor * FLOPs of its
  objective / FLOPs of the joint objective``. As in FedScale, the trace's figure stands for the network that is trained,
  whatever network it was measured on; a wider network in the scenario takes no longer.
"""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from interlude.simulator.arrays import Floats, packed
from interlude.simulator.randomness import ClientDraws, Stream
from interlude.simulator.world.arrivals import Probability
from interlude.simulator.world.distributions import Constant, MeanOneJitter, NonNegativeDistribution, Rate
from interlude.simulator.world.traces import PerSample, per_client

FLOPS_PER_GFLOP = 1e9


class StragglerSpec(BaseModel):
    """Devices that are slow for some rounds: throttled by heat, or busy with other work."""

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


class _Compute(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    overhead_s: NonNegativeDistribution = Field(
        Constant(value=0.0),
        description="fixed time each training task costs a client, e.g. loading the model",
    )
    jitter_sigma: NonNegativeFloat = Field(
        0.0, le=10, description="spread of the mean-one factor on each round's speed"
    )
    stragglers: StragglerSpec | None = Field(None, description="a slow mode that devices enter at random")


class OperationsSpec(BaseModel):
    """What starting operations costs: most of the time of a small network, whose FLOPs alone are done at once.

    It is said in FLOPs, so that a device that is slow at one is as much slower at the other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    flops_each: NonNegativeFloat = Field(description="FLOPs in whose time a device starts one operation")
    per_task: NonNegativeFloat = Field(0.0, description="operations a training task takes besides those counted")


class ComputeSpec(_Compute):
    """Devices given by their throughput."""

    throughput_gflops: Rate = Field(description="sustained GFLOP/s of each client's device")
    operations: OperationsSpec | None = Field(None, description="what starting operations costs; unset: nothing")

    @model_serializer(mode="wrap")
    def _without_unset_operations(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave operations out that are unset: a scenario without them stays the scenario that it was."""
        fields: dict[str, Any] = handler(self)
        return fields if self.operations is not None else {k: v for k, v in fields.items() if k != "operations"}


class ComputePerSampleSpec(_Compute):
    """Devices given by their time per sample."""

    ms_per_sample: PerSample = Field(description="milliseconds of inference per sample of each client's device")
    training_factor: PositiveFloat = Field(3.0, description="time of training a sample over that of inferring it")


_BY_FLOP, _BY_SAMPLE = "[by FLOP]", "[by sample]"  # not valid as keys, so that no error message confuses them with one


def compute_of(given: Any) -> str:
    """Return in which way a scenario gives the speed of devices, given or parsed."""
    is_per_sample = "ms_per_sample" in given if isinstance(given, dict) else hasattr(given, "ms_per_sample")
    return _BY_SAMPLE if is_per_sample else _BY_FLOP


AnyCompute = Annotated[
    Annotated[ComputeSpec, Tag(_BY_FLOP)] | Annotated[ComputePerSampleSpec, Tag(_BY_SAMPLE)],
    Discriminator(compute_of),
]


class Devices:
    """Computing speed of every client.

    Args:
        spec: what the scenario says.
        seed: the run's seed.
        num_clients: clients in the world.
        joint_flops_per_sample: FLOPs of training on one sample with the joint objective, counted on the scenario's
            network; needed where the scenario says `ms_per_sample`.

    Raises:
        ValueError: if it is needed and missing.
    """

    def __init__(
        self,
        spec: ComputeSpec | ComputePerSampleSpec,
        seed: int,
        num_clients: int,
        joint_flops_per_sample: float | None = None,
    ) -> None:
        self._jitter_sigma = spec.jitter_sigma
        self.operation_flops = 0.0
        """FLOPs in whose time an operation starts."""
        self.task_flops = 0.0
        """FLOPs in whose time a task starts, besides the overhead."""
        if isinstance(spec, ComputeSpec):
            if spec.operations is not None:
                self.operation_flops = spec.operations.flops_each
                self.task_flops = spec.operations.per_task * spec.operations.flops_each
            gflops = spec.throughput_gflops.ppf(Stream(seed, "throughput").uniforms(num_clients))
            self._s_per_flop = packed(1.0 / (gflops * FLOPS_PER_GFLOP))
        else:
            if not joint_flops_per_sample:
                raise ValueError("ms_per_sample needs the FLOPs of the joint objective, but none are given")
            ms = per_client(spec.ms_per_sample, seed, num_clients, "ms-per-sample")
            self._s_per_flop = packed(ms / 1e3 * spec.training_factor / joint_flops_per_sample)
        self._overhead_s = packed(spec.overhead_s.ppf(Stream(seed, "overhead").uniforms(num_clients)))
        self._jitter = ClientDraws(seed, "compute", MeanOneJitter(spec.jitter_sigma))
        self._stragglers = spec.stragglers
        self._slow = ClientDraws(seed, "straggler", _Identity())

    @property
    def draws(self) -> list[ClientDraws]:
        """What every local round reads."""
        return [*([self._jitter] if self._jitter_sigma > 0.0 else []), *([self._slow] if self._stragglers else [])]

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

        The chain is read backwards, so that no answer depends on earlier queries: a draw below `probability`
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
