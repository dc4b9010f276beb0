"""The ``data`` section of a scenario: the options of every data set."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from interlude.simulator.data.partition import IidPartition, PartitionSpec

MAX_CLASSES = 1_000_000
"""The most classes that a network's head and a client's counts are made for."""

NumClasses = Annotated[int, Field(ge=1, le=MAX_CLASSES)]
"""A number of classes that a user gives."""


class DataSpec(BaseModel):
    """The options of every data set."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    dataset: str
    partition: PartitionSpec = Field(IidPartition(kind="iid"), description="how clients share the training set")

    def to_set(self) -> dict[str, Any]:
        """Return the options that are not at their defaults, as ``interlude data prepare --set`` takes them."""
        said = self.model_dump(mode="json", exclude={"dataset", "partition"}, exclude_defaults=True)
        return dict(sorted(said.items()))
