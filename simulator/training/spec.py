"""The ``training`` and ``executor`` sections of a scenario. They load no PyTorch: a mistake is told at once."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt


class LinearDecay(BaseModel):
    """Linear from the learning rate to another one: at version v, lr + (to - lr) min(v / over_versions, 1).

    With `constant_versions` the learning rate stays constant before that version. In BMSFed's code it is constant
    through round 80, counted from 0, and then falls onto the line: ``constant_versions: 81``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["linear"]
    to: PositiveFloat = Field(description="learning rate at the end")
    over_versions: PositiveInt = Field(description="version at which it ends; rounds where there is a barrier")
    constant_versions: NonNegativeInt = Field(0, description="first versions, with a constant learning rate")

    def rate(self, first: float, version: int) -> float:
        """Return the learning rate of a task that starts from a version."""
        if version < self.constant_versions:
            return first
        return first + (self.to - first) * min(version / self.over_versions, 1.0)


class StepDecay(BaseModel):
    """Multiplied by a factor at each of the given versions."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["steps"]
    at_versions: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = Field(description="versions where it falls")
    factor: float = Field(0.1, gt=0, le=1, description="what it is multiplied by at each of them")

    def rate(self, first: float, version: int) -> float:
        """Return the learning rate of a task that starts from a version."""
        return float(first * self.factor ** sum(version >= at for at in self.at_versions))


class OptimizerSpec(BaseModel):
    """Stochastic gradient descent as in `torch.optim.SGD`; its momentum starts anew with every task."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Literal["sgd"] = "sgd"
    learning_rate: PositiveFloat = Field(description="step size, at first where there is a schedule")
    momentum: float = Field(0.0, ge=0, lt=1, description="share of the last step that the next one keeps")
    weight_decay: NonNegativeFloat = Field(0.0, description="factor of the L2 penalty's gradient")
    schedule: Annotated[LinearDecay | StepDecay, Field(discriminator="kind")] | None = Field(
        None, description="how the learning rate falls with the model version that a client received; unset: constant"
    )

    def rate_at(self, version: int) -> float:
        """Return the learning rate of a task that starts from a version of the global model."""
        return self.learning_rate if self.schedule is None else self.schedule.rate(self.learning_rate, version)


class TrainingSpec(BaseModel):
    """The ``training`` section of a scenario: local training, of every method whose entry says nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    local_epochs: PositiveInt = Field(1, description="passes over the window in joint training")
    batch_size: PositiveInt = Field(32, description="samples of a mini-batch")
    window_samples: PositiveInt | None = Field(
        None,
        description="samples of one local round, taken in turn from the client's shard; unset: the whole shard",
    )
    optimizer: OptimizerSpec
    on_divergence: Literal["stop", "reject"] = Field(
        "stop", description="an update with NaN or infinity ends the run, or is left out of the merge and counted"
    )

    def overlaid(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the section with a part of it laid over, as plain data that is yet to be validated."""
        return _overlaid(self.model_dump(), changes)


def _overlaid(section: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section with others' fields laid over, to any depth; a section of another kind has none in common."""
    merged = dict(section)
    for key, value in changes.items():
        old = section.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and value.get("kind") in (None, old.get("kind")):
            merged[key] = _overlaid(old, value)
        else:
            merged[key] = value
    return merged


class ExecutorSpec(BaseModel):
    """The ``executor`` section of a scenario: how training is executed. It changes no event of the clock."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["auto", "batched", "sequential"] = Field(
        "auto", description="auto: batched; sequential: one client after the other, the plain reference"
    )
    strategy: Literal["auto", "stacked", "looped"] = Field(
        "auto",
        description="stacked: clients' parameters in one bank; looped: one client after the other; auto: by rule",
    )
    group_size: PositiveInt | None = Field(None, description="most clients in a stack; unset: by rule")
    memory_gb: PositiveFloat | None = Field(
        None, description="most memory that training one group may take, by count; it makes groups smaller; unset: any"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16: forward and backward passes under autocast; parameters stay float32"
    )
    compile: bool = Field(
        False, description="stacked steps compiled by TorchInductor, on a CPU: seconds per shape, for runs of an hour"
    )
