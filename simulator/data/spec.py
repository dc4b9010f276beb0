"""The ``data`` section of a scenario: the options of every data set."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from interlude.simulator.data.partition import IidPartition, PartitionSpec


class DataSpec(BaseModel):
    """The options of every data set."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    dataset: str
    partition: PartitionSpec = Field(IidPartition(kind="iid"), description="how clients share the training set")

    def to_set(self) -> dict[str, Any]:
        """Return the options that are not at their defaults, as ``interlude data prepare --set`` takes them."""
        said = self.model_dump(mode="json", exclude={"dataset", "partition"}, exclude_defaults=True)
        return dict(sorted(said.items()))
