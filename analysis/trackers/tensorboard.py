"""TensorBoard: a folder of event files for each run; its step is simulated seconds, rounded.

The time of an event is its simulated second exactly, so that the axis "Relative" is simulated time, too.
"""

import io
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from interlude.analysis.trackers.interface import Entry
from interlude.analysis.trackers.points import Point


class TensorBoard:
    """Event files in folders ``<scenario>/<method>-s<seed>``.

    Args:
        directory: the folder of all runs.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.how_to_open = f"tensorboard --logdir {directory}"
        self._package: Any = import_module("torch.utils.tensorboard")

    def open(self, entry: Entry) -> "Events":
        """Return the writer of an entry: a further event file in its folder."""
        folder = self.directory / entry.group / entry.name
        return Events(self._package.SummaryWriter(str(folder)), entry)


class Events:
    """Writes the events of one run.

    Args:
        writer: PyTorch's.
        entry: the run.
    """

    def __init__(self, writer: Any, entry: Entry) -> None:
        self._writer = writer
        self._entry = entry

    def add(self, points: Sequence[Point]) -> None:
        """Write scalars; those of the first evaluation bring the configuration along, as a text."""
        if points[0].index == 0:
            lines = [f"    {name}: {value}" for name, value in self._entry.config.items()]
            self._writer.add_text("configuration", "\n".join(lines), 0, walltime=0.0)
        for point in points:
            for name, value in {**point.values, "version": point.version}.items():
                self._writer.add_scalar(name, value, point.step, walltime=point.time_s)
        self._writer.flush()

    def conclude(self, results: Mapping[str, float], status: str) -> None:
        """Write the results as a row of the tab HParams, beside method, seed and numbers of the configuration."""
        summaries = import_module("torch.utils.tensorboard.summary")
        config = {name: value for name, value in self._entry.config.items() if isinstance(value, str | int | float)}
        named = {f"result/{name}": value for name, value in results.items()}
        for summary in summaries.hparams({**self._entry.tags, "status": status, **config}, named):
            self._writer.file_writer.add_summary(summary, walltime=0.0)
        for name, value in named.items():
            self._writer.add_scalar(name, value, 0, walltime=0.0)
        self._writer.flush()

    def add_figure(self, name: str, png: bytes) -> None:
        """Write a figure as an image."""
        image = import_module("PIL.Image").open(io.BytesIO(png)).convert("RGB")
        pixels = import_module("numpy").asarray(image)
        self._writer.add_image(name, pixels, 0, walltime=0.0, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()
