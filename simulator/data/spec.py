"""The ``data`` section of a scenario: what every data set's options share."""

from pydantic import BaseModel, ConfigDict, Field

from simulator.data.partition import IidPartition, PartitionSpec


class DataSpec(BaseModel):
    """What every data set's options share."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    dataset: str
    partition: PartitionSpec = Field(IidPartition(kind="iid"), description="how clients share the training set")
