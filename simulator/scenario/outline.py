"""The sections of a scenario, those of data and methods unread: it loads no PyTorch, so a mistake is told at once."""

from typing import Any

from pydantic import Field, NonNegativeInt

from interlude.models.spec import ModelSpec
from interlude.simulator.scenario.sections import (
    ClientsSpec,
    EvaluateSpec,
    LimitsSpec,
    Name,
    PaperSpec,
    RecordSpec,
    Section,
    UntilSpec,
)
from interlude.simulator.training.spec import ExecutorSpec, TrainingSpec
from interlude.simulator.world.world import WorldSpec


class Outline(Section):
    """The fields of a scenario."""

    name: Name = Field(description="names the folder of its runs")
    seed: NonNegativeInt = Field(0, description="seed of everything that is drawn")
    data: Any
    model: ModelSpec
    clients: ClientsSpec
    world: WorldSpec
    training: TrainingSpec
    methods: Any
    until: UntilSpec
    evaluate: EvaluateSpec
    executor: ExecutorSpec = ExecutorSpec()
    limits: LimitsSpec = LimitsSpec()
    record: RecordSpec = RecordSpec()
    paper: PaperSpec | None = Field(None, description="published numbers to compare with; they change no run")
