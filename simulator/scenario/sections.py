"""The sections of a scenario YAML, as models that pydantic validates."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    model_validator,
)

from interlude.models.network import ModelSpec
from interlude.simulator.data.spec import DataSpec
from interlude.simulator.files import located
from interlude.simulator.methods.base import MethodOptions
from interlude.simulator.training.executors.strategy import ExecutorSpec
from interlude.simulator.training.task import TrainingSpec
from interlude.simulator.world.world import WorldSpec

_LONGEST_NAME = 200  # file systems take 255 bytes, and a seed or the values of a sweep are appended to a name


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ClientsSpec(_Section):
    """The ``clients`` section."""

    count: PositiveInt = Field(description="clients in the federation")
    multimodal_fraction: float = Field(
        1.0, ge=0, le=1, description="share of clients that hold every modality; the rest hold one each, evenly"
    )
    modalities: dict[str, Annotated[float, Field(ge=0, le=1)]] | None = Field(
        None,
        description="share of clients that hold a modality, each drawn apart, in place of multimodal_fraction; "
        "1 where it is not named",
    )

    @model_validator(mode="after")
    def _one_way(self) -> "ClientsSpec":
        if self.modalities is not None and self.multimodal_fraction != 1.0:
            raise ValueError("takes 'multimodal_fraction' or 'modalities', not both")
        return self


class UntilSpec(_Section):
    """The ``until`` section: the end of a run, whichever limit is reached first."""

    simulated_s: PositiveFloat | None = Field(None, description="simulated seconds")
    versions: PositiveInt | None = Field(None, description="merges; rounds where there is a barrier")

    @model_validator(mode="after")
    def _ends(self) -> "UntilSpec":
        if self.simulated_s is None and self.versions is None:
            raise ValueError("needs 'simulated_s' or 'versions', or both")
        return self


class EvaluateSpec(_Section):
    """The ``evaluate`` section. Evaluating takes no simulated time and changes no event."""

    every_s: PositiveFloat = Field(description="simulated seconds between two evaluations")
    samples: PositiveInt | None = Field(
        None, description="test samples that are evaluated, a fixed random subset; unset: all"
    )
    target_accuracy: float | None = Field(
        None, gt=0, le=1, description="fused accuracy whose first time is reported as time to accuracy"
    )


class LimitsSpec(_Section):
    """The ``limits`` section of a scenario: the most that a run may need."""

    events: PositiveInt = Field(
        1_000_000_000, description="events of the clock and evaluations; the default takes hours without any training"
    )
    memory_gb: PositiveFloat = Field(
        64.0, description="memory for models and clients beside the data set, by count, before anything is allocated"
    )


class PaperSpec(_Section):
    """The ``paper`` section: published results of the same experiment, which the report shows beside the runs'."""

    source: str = Field(description="paper, table and column")
    accuracy: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        description="published fused accuracy by the label of a method"
    )


class Scenario(_Section):
    """A whole scenario."""

    name: str = Field(max_length=_LONGEST_NAME, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: NonNegativeInt = 0
    data: SerializeAsAny[DataSpec]
    model: ModelSpec
    clients: ClientsSpec
    world: WorldSpec
    training: TrainingSpec
    methods: Annotated[tuple[SerializeAsAny[MethodOptions], ...], Field(min_length=1)]
    until: UntilSpec
    evaluate: EvaluateSpec
    executor: ExecutorSpec = ExecutorSpec()
    limits: LimitsSpec = LimitsSpec()
    paper: PaperSpec | None = Field(None, description="published numbers to compare with; they change no run")

    def for_run(self, method: MethodOptions, seed: int) -> "Scenario":
        """Return the scenario of one run: one method, one seed."""
        return self.model_copy(update={"methods": (method,), "seed": seed})

    def resolved(self) -> dict[str, Any]:
        """Return all fields of the scenario, defaults included, as plain data."""
        return self.model_dump(mode="json")

    def files(self) -> dict[Path, Path]:
        """Return the files that the scenario's world reads: their given names, and their locations."""
        return {Path(path): located(Path(path)) for path in _files_in(self.resolved()["world"])}

    def digest(self) -> str:
        """Return a hash of all fields of the scenario."""
        return hashlib.sha256(json.dumps(self.resolved(), sort_keys=True).encode()).hexdigest()


def _files_in(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["file"]] if "file" in node else []
        return own + [path for child in node.values() for path in _files_in(child)]
    return [path for child in node for path in _files_in(child)] if isinstance(node, list) else []
