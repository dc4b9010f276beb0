"""synthetic: modalities of any shape and difficulty, drawn client by client, for any number of clients.

Nothing is stored: a client's samples are drawn from the client's own random streams when it first trains, and in a
timing-only run never. So the number of clients is bounded by nothing that the data take.

A sample of class y is, in each modality, the class's mean plus normal noise. Means have a random direction and unit
length, whatever the shape; `noise` is the deviation of every feature, so two classes can be told apart by this modality
alone with an error of about Q(1 / (sqrt(2) noise)) at best. Features are scaled to a variance of about 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, overload

import numpy as np
import torch
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from scipy.special import ndtri
from torch import Tensor

from interlude.models.drawn import BLOCK, MAX_BLOCKS, drawn_samples
from interlude.models.inputs import Samples
from interlude.simulator.arrays import Floats, Indices
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.own import MODALITY, TAKEN_NAMES
from interlude.simulator.data.partition import DirichletPartition, IidPartition, PartitionSpec
from interlude.simulator.data.source import Source
from interlude.simulator.data.spec import DrawnSpec, NumClasses
from interlude.simulator.errors import CannotRunError
from interlude.simulator.randomness import Stream

_MOST_VALUES = 1 << 20
"""Of one sample."""


class SyntheticModality(BaseModel):
    """One modality."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    shape: tuple[PositiveInt, ...] = Field(min_length=1, max_length=4, description="of one sample, channels first")
    noise: NonNegativeFloat = Field(0.5, le=1e3, description="deviation of each feature; class means have length 1")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if math.prod(self.shape) > _MOST_VALUES:
            raise ValueError(f"a sample has {math.prod(self.shape):,} values, but at most {_MOST_VALUES:,} are allowed")
        return self


class ConstantSizes(BaseModel):
    """The same number of samples everywhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    distribution: Literal["constant"]
    value: PositiveInt = Field(le=BLOCK)

    def ppf(self, probability: Floats) -> Floats:
        """Return the number at every probability."""
        return np.full_like(probability, self.value)


class LogNormalSizes(BaseModel):
    """Numbers of samples from a log-normal distribution, at least 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    distribution: Literal["lognormal"]
    median: PositiveFloat = Field(le=BLOCK)
    sigma: NonNegativeFloat = Field(le=10, description="deviation of the logarithm")

    def ppf(self, probability: Floats) -> Floats:
        """Return the quantile of each probability."""
        quantiles: Floats = self.median * np.exp(self.sigma * ndtri(probability))
        return quantiles


class UniformSizes(BaseModel):
    """Numbers of samples from ``low`` to ``high``, all equally likely."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    distribution: Literal["uniform"]
    low: PositiveInt
    high: PositiveInt = Field(le=BLOCK)

    @model_validator(mode="after")
    def _is_range(self) -> Self:
        if self.high < self.low:
            raise ValueError(f"high ({self.high}) is below low ({self.low})")
        return self

    def ppf(self, probability: Floats) -> Floats:
        """Return the quantile of each probability."""
        return np.floor(self.low + (self.high - self.low + 1) * probability)


def _constant(given: Any) -> Any:
    """Take a number for a constant distribution."""
    is_number = isinstance(given, int) and not isinstance(given, bool)
    return {"distribution": "constant", "value": given} if is_number else given


Sizes = Annotated[
    Annotated[ConstantSizes | LogNormalSizes | UniformSizes, Field(discriminator="distribution")],
    BeforeValidator(_constant),
]
"""Numbers of samples: a number, or a distribution."""


class SyntheticSpec(DrawnSpec):
    """Options of synthetic."""

    dataset: Literal["synthetic"] = "synthetic"
    modalities: dict[str, SyntheticModality] = Field(min_length=1, description="by name: the shape and the noise")
    classes: NumClasses = Field(10, description="classes, all equally likely but for the partition")
    samples_per_client: Sizes = Field(
        ConstantSizes(distribution="constant", value=64),
        description="a number, or a distribution (lognormal: median, sigma; uniform: low, high)",
    )
    test_samples: PositiveInt = Field(2_000, le=10_000_000, description="samples of the test set")

    def __hash__(self) -> int:
        """Return a hash of all fields; mappings have none of their own."""
        return hash(self.model_dump_json())

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        for name in self.modalities:
            if not MODALITY.fullmatch(name) or name in TAKEN_NAMES:
                raise ValueError(f"modalities: '{name}' is no name of a modality, or one that is taken")
        if not isinstance(self.partition, (IidPartition, DirichletPartition)):
            raise ValueError(
                f"partition: samples are drawn for each client, so 'kind' must be iid or dirichlet; given "
                f"'{self.partition.kind}'"
            )
        return self

    def content(self, seed: int) -> Self:
        """Return what decides the samples: all options, as classes follow the partition."""
        return self.model_copy(update={"seed": seed if self.seed is None else self.seed})


@dataclass(frozen=True, eq=False)
class DrawnShards(Sequence[Indices]):
    """The sample indices of clients, each computed when it is asked for."""

    sizes: Indices
    """[N] samples of each client."""

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, client: int) -> Indices: ...
    @overload
    def __getitem__(self, client: slice) -> Sequence[Indices]: ...
    def __getitem__(self, client: int | slice) -> Indices | Sequence[Indices]:
        """Return the shard of a client, or the shards of the first ones."""
        if isinstance(client, slice):
            if client.start or client.step not in (None, 1):
                return [self[one] for one in range(*client.indices(len(self)))]
            return DrawnShards(self.sizes[client])
        at = range(len(self))[client]
        return np.arange(at * BLOCK, at * BLOCK + int(self.sizes[at]))


@dataclass(frozen=True, eq=False)
class Drawing:
    """Draws the samples of clients and of the test, each from streams of its own."""

    spec: SyntheticSpec
    means: Mapping[str, Tensor]
    """[classes, *shape] of each modality."""

    def sizes(self, num_clients: int, first: int = 0) -> Indices:
        """Return the numbers of samples of so many clients from the first on; how many there are changes none."""
        before = first % 4  # streams are read from every fourth number on
        uniforms = self.spec.stream("sizes").uniforms(before + num_clients, start=first - before)
        drawn = self.spec.samples_per_client.ppf(uniforms)[before:]
        return np.clip(np.rint(drawn), _fewest(self.spec.partition), BLOCK).astype(np.int64)

    def shards(self, num_clients: int) -> DrawnShards:
        """Return the sample indices of clients.

        Raises:
            CannotRunError: if there are more than can be numbered.
        """
        if num_clients > MAX_BLOCKS:
            raise CannotRunError(
                f"clients.count: {num_clients:,} clients, but synthetic draws for {MAX_BLOCKS:,} at most"
            )
        return DrawnShards(self.sizes(num_clients))

    def labels(self, client: int) -> Indices:
        """Return the labels of a client's samples, without drawing these."""
        spec, generator = self.spec, self._stream("labels", client).generator()
        size = int(self.sizes(1, first=client)[0])
        shares = None
        if isinstance(spec.partition, DirichletPartition):
            shares = generator.dirichlet(np.full(spec.classes, spec.partition.alpha))
        return generator.choice(spec.classes, size, p=shares)

    def of_client(self, client: int) -> Samples:
        """Return a client's samples."""
        return self._samples(self.labels(client), self._stream("features", client).generator())

    def test(self) -> Samples:
        """Return the test set, of equally likely classes."""
        generator = self.spec.stream("test").generator()
        return self._samples(generator.integers(self.spec.classes, size=self.spec.test_samples), generator)

    def _samples(self, labels: Indices, generator: np.random.Generator) -> Samples:
        index, inputs = torch.from_numpy(labels), {}
        for name, modality in self.spec.modalities.items():
            normal = generator.standard_normal((len(labels), *modality.shape), dtype=np.float32)
            scale = 1.0 / math.sqrt(modality.noise**2 + 1.0 / math.prod(modality.shape))
            inputs[name] = (self.means[name][index] + modality.noise * torch.from_numpy(normal)) * scale
        return inputs, index

    def _stream(self, purpose: str, client: int) -> Stream:
        return Stream(self.spec.drawn_seed, self.spec.dataset, purpose, client)


def load(spec: SyntheticSpec) -> Dataset:
    """Return the data set: floats [N, *shape] of each modality; training samples are drawn when they are trained on."""
    means = {}
    for name, modality in spec.modalities.items():
        generator = Stream(spec.drawn_seed, spec.dataset, "means", name).generator()
        drawn = generator.standard_normal((spec.classes, math.prod(modality.shape)), dtype=np.float32)
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        means[name] = torch.from_numpy(drawn.reshape(spec.classes, *modality.shape))
    drawing = Drawing(spec, means)
    train = drawn_samples(drawing.of_client, {name: modality.shape for name, modality in spec.modalities.items()})
    return Dataset(train, drawing.test(), spec.classes, drawn=drawing)


def loaded_bytes(spec: SyntheticSpec) -> int:
    """Return about how much memory the test set and the class means take."""
    values = sum(math.prod(modality.shape) for modality in spec.modalities.values())
    return 4 * values * (2 * spec.test_samples + 2 * spec.classes)


def _fewest(partition: PartitionSpec) -> int:
    return partition.min_samples if isinstance(partition, DirichletPartition) else 1


SOURCE = Source(
    options=SyntheticSpec,
    load=load,
    loaded_bytes=loaded_bytes,
    origin="drawn when it is used",
    licence="none needed",
)
