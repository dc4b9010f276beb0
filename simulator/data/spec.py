"""The ``data`` section of a scenario: the options of every data set."""

from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from interlude.simulator.data.partition import IidPartition, PartitionSpec
from interlude.simulator.randomness import Stream

MAX_CLASSES = 1_000_000
"""The most classes that a network's head and a client's counts are made for."""

NumClasses = Annotated[int, Field(ge=1, le=MAX_CLASSES)]
"""A number of classes that a user gives."""

_EVEN = IidPartition(kind="iid")


class DataSpec(BaseModel):
    """The options of every data set."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    dataset: str
    partition: PartitionSpec = Field(_EVEN, description="how clients share the training set")
    missing: dict[str, Annotated[float, Field(ge=0, lt=1)]] | None = Field(
        None, description="share of training samples that lack a modality, by its name; unset: none do"
    )

    @model_serializer(mode="wrap")
    def _without_unset_rates(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave rates out that are unset: a scenario without them stays the scenario that it was."""
        fields: dict[str, Any] = handler(self)
        return fields if self.missing is not None else {k: v for k, v in fields.items() if k != "missing"}

    def to_set(self) -> dict[str, Any]:
        """Return the options that are not at their defaults, as ``interlude data prepare --set`` takes them."""
        said = self.model_dump(mode="json", exclude={"dataset", "partition", "missing"}, exclude_defaults=True)
        return dict(sorted(said.items()))

    def seed_of(self, seed: int) -> int:
        """Return the seed of what is drawn about the data, given the run's."""
        return seed

    def content(self, seed: int) -> Self:
        """Return what decides the samples themselves, before any lacks a modality, and a seed where one is used.

        Runs whose specs are equal here share one copy of the data.

        Args:
            seed: the run's seed, which a data set that draws nothing ignores.
        """
        return self.model_copy(update={"partition": _EVEN, "missing": None})


class DrawnSpec(DataSpec):
    """The options of data sets with something drawn: it follows the run's seed unless the scenario pins it."""

    seed: NonNegativeInt | None = Field(
        None, description="seed of everything that is drawn about the data; unset: the run's seed"
    )

    def seed_of(self, seed: int) -> int:
        """Return the seed of what is drawn."""
        return seed if self.seed is None else self.seed

    def content(self, seed: int) -> Self:
        """Return what decides the samples: as for every data set, with the run's seed where none is pinned."""
        return super().content(seed).model_copy(update={"seed": self.seed_of(seed)})

    @property
    def drawn_seed(self) -> int:
        """The seed of what is drawn.

        Raises:
            ValueError: if it follows the run's, which is not known here; `content` says it.
        """
        if self.seed is None:
            raise ValueError("these options follow a run's seed; load them with `load_dataset(spec, seed)`")
        return self.seed

    def stream(self, purpose: str) -> Stream:
        """Return the random numbers of one purpose."""
        return Stream(self.drawn_seed, self.dataset, purpose)
