"""Trackio: a local database, which ``trackio show`` draws; its step is simulated seconds, rounded."""

import io
import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from interlude.analysis.trackers.interface import Entry
from interlude.analysis.trackers.points import Point

PROJECT = "interlude"


class Trackio:
    """A project of runs.

    Args:
        directory: of the database, unless the variable TRACKIO_DIR names another or trackio is in use already.
    """

    def __init__(self, directory: Path) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(directory.resolve()))  # read when trackio is imported
        self._trackio: Any = import_module("trackio")
        self.directory = Path(import_module("trackio.utils").TRACKIO_DIR)
        self.how_to_open = f"TRACKIO_DIR={self.directory} trackio show --project {PROJECT}"

    def open(self, entry: Entry) -> "StoredRun":
        """Return the writer of an entry."""
        return StoredRun(self._trackio, entry)


class StoredRun:
    """Writes one run; what it is told is in the database when a method returns.

    Args:
        trackio: the package.
        entry: the run.
    """

    def __init__(self, trackio: Any, entry: Entry) -> None:
        self._trackio = trackio
        self._entry = entry

    def add(self, points: Sequence[Point]) -> None:
        """Write metrics."""
        self._log([({**p.values, "version": p.version, "simulated_s": p.time_s}, p.step) for p in points])

    def conclude(self, results: Mapping[str, float], status: str) -> None:
        """Write the results as metrics of step 0."""
        self._log([({**{f"result/{name}": value for name, value in results.items()}, "status": status}, 0)])

    def add_figure(self, name: str, png: bytes) -> None:
        """Write a figure as an image."""
        image = import_module("PIL.Image").open(io.BytesIO(png))
        self._log([({name: self._trackio.Image(image)}, 0)])

    def close(self) -> None:
        """Do nothing: all is written."""

    def _log(self, rows: Sequence[tuple[Mapping[str, Any], int]]) -> None:
        """Continue the run of the entry's name, or begin it, and end it: only its end waits for the database."""
        entry = self._entry
        with redirect_stdout(io.StringIO()):  # it prints
            run = self._trackio.init(
                project=PROJECT,
                name=f"{entry.group}-{entry.name}",
                group=entry.group,
                config={**entry.config, **{f"tag.{name}": value for name, value in entry.tags.items()}},
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
            for row, step in rows:
                run.log(row, step=step)
            self._trackio.finish()
