"""What a run is: a scenario with one method and one seed, where its record goes, and what tells it from others."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from interlude.simulator.data import load_dataset
from interlude.simulator.data.partition import partition_files
from interlude.simulator.files import digest
from interlude.simulator.methods.base import MethodOptions
from interlude.simulator.record.writer import code_digest
from interlude.simulator.scenario.loading import Scenario, method_class


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
    def path(self) -> Path:
        """The run directory."""
        return self.runs / self.scenario.name / f"{self.options.run_label}-s{self.scenario.seed}"

    @property
    def identity(self) -> dict[str, Any]:
        """What makes two runs the same run."""
        return {
            "label": self.options.run_label,
            "seed": self.scenario.seed,
            "device": str(self.device),
            "timing_only": self.timing_only,
            "digest": self.scenario.digest(),
            "code": code_digest(method_class(self.options.name)),
            "files": {given: digest(path) for given, path in self._files().items()},
            "scenario": self.scenario.resolved(),
        }

    def _files(self) -> dict[str, Path]:
        """Return every file that decides what the run comes to: as it is named, and where it lies."""
        scenario = self.scenario
        read = (*load_dataset(scenario.data).files, *partition_files(scenario.data.partition, scenario.clients.count))
        return {str(given): path for given, path in (*scenario.files().items(), *((file, file) for file in read))}
