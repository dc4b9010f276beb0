"""The specification of a run: a scenario with one method and one seed, its record's path, and its identity."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from interlude.simulator.files import digest
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.record.provenance import code_digest
from interlude.simulator.scenario.registry import method_class
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.training.spec import TrainingSpec


@dataclass(frozen=True)
class RunSpec:
    """One run of a scenario: one method, one seed."""

    scenario: Scenario
    """A scenario of exactly one method."""
    runs: Path
    device: torch.device
    timing_only: bool

    @property
    def options(self) -> MethodOptions:
        """The method's options."""
        return self.scenario.methods[0]

    @property
    def training(self) -> TrainingSpec:
        """The method's local training."""
        return self.scenario.training_of(self.options)

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.runs / self.scenario.name / f"{self.options.run_label}-s{self.scenario.seed}"

    @property
    def facts(self) -> dict[str, Any]:
        """What the record says besides the identity: where the scenario comes from."""
        return {"origin": self.scenario.origin.facts()}

    def identity(self, files: Mapping[str, Path]) -> dict[str, Any]:
        """Return the run's identity: equal for equal runs.

        Args:
            files: the location of every input file of the run, by its name.
        """
        return {
            "label": self.options.run_label,
            "seed": self.scenario.seed,
            "device": self.device.type,  # which of several equal ones changes nothing
            "timing_only": self.timing_only,
            "digest": self.scenario.digest(),
            "code": code_digest(method_class(self.options.name)),
            "files": {name: digest(path) for name, path in files.items()},
            "scenario": self.scenario.resolved(),
        }


def run_specs(scenario: Scenario, runs: Path, device: torch.device, timing_only: bool) -> list[RunSpec]:
    """Return the runs of a scenario, one for each of its methods."""
    return [RunSpec(scenario.for_run(method, scenario.seed), runs, device, timing_only) for method in scenario.methods]
