"""Weights & Biases: a run for each run, its axis ``simulated_s``.

Offline unless the variable WANDB_MODE says ``online``: nothing leaves the machine until ``wandb sync``.
"""

import io
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from interlude.analysis.trackers.interface import Entry
from interlude.analysis.trackers.points import Point

_LONGEST_TAG = 64
_AXIS = "simulated_s"


class WandB:
    """Offline run directories, or runs of a server.

    Args:
        directory: the parent of the folder ``wandb``.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.how_to_open = f"wandb sync --append {directory}/wandb/offline-run-*"
        directory.mkdir(parents=True, exist_ok=True)
        self._wandb: Any = import_module("wandb")

    def open(self, entry: Entry) -> "LoggedRun":
        """Return the writer of an entry: a run whose id is the entry's key, continued if there is one."""
        settings = self._wandb.Settings(
            silent=True, console="off", x_disable_stats=True, x_disable_meta=True, git_root=None, disable_git=True
        )
        run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "interlude"),
            id=entry.key,
            name=entry.name,
            group=entry.group,
            tags=[f"{name} {value}"[:_LONGEST_TAG] for name, value in entry.tags.items()],
            config=dict(entry.config),
            mode=os.environ.get("WANDB_MODE", "offline"),
            resume="allow",
            reinit="create_new",
            dir=str(self.directory),
            settings=settings,
        )
        run.define_metric(_AXIS)
        run.define_metric("*", step_metric=_AXIS)
        return LoggedRun(run, self._wandb)


class LoggedRun:
    """Writes one run.

    Args:
        run: of wandb.
        wandb: the package.
    """

    def __init__(self, run: Any, wandb: Any) -> None:
        self._run = run
        self._wandb = wandb

    def add(self, points: Sequence[Point]) -> None:
        """Write metrics; wandb's own step counts evaluations, so that a continued run goes on counting."""
        for point in points:
            row = {**point.values, "version": point.version, _AXIS: point.time_s}
            self._run.log(row, step=point.index, commit=True)

    def conclude(self, results: Mapping[str, float], status: str) -> None:
        """Write the results as the run's summary."""
        self._run.summary.update({**{f"result/{name}": value for name, value in results.items()}, "status": status})

    def add_figure(self, name: str, png: bytes) -> None:
        """Write a figure as an image."""
        image = import_module("PIL.Image").open(io.BytesIO(png))
        self._run.log({name: self._wandb.Image(image)})

    def close(self) -> None:
        """End the run."""
        self._run.finish()
