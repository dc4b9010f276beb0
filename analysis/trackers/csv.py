"""Plain tables, for whatever reads CSV: metrics.csv, configuration.csv, results.csv, and figures as PNG."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from interlude.analysis.files import write_files
from interlude.analysis.trackers.interface import Entry
from interlude.analysis.trackers.points import Point

_RUN = ("scenario", "run", "method", "seed")
_COLUMNS = {
    "metrics.csv": ("time_s", "version", "metric", "value"),
    "configuration.csv": ("field", "value"),
    "results.csv": ("result", "value"),
}


class CSV:
    """Tables of all runs in one folder.

    Args:
        directory: the folder.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.how_to_open = f"pandas.read_csv('{directory}/metrics.csv')"

    def open(self, entry: Entry) -> "Rows":
        """Return the writer of an entry."""
        return Rows(self.directory, entry)


class Rows:
    """Appends rows of one run.

    Args:
        directory: the folder.
        entry: the run.
    """

    def __init__(self, directory: Path, entry: Entry) -> None:
        self._directory = directory
        self._entry = entry

    def add(self, points: Sequence[Point]) -> None:
        """Append the metrics; those of the first evaluation bring the configuration along."""
        if points[0].index == 0:
            self._append("configuration.csv", self._entry.config.items())
        rows = ((p.time_s, p.version, name, value) for p in points for name, value in p.values.items())
        self._append("metrics.csv", rows)

    def conclude(self, results: Mapping[str, float], status: str) -> None:
        """Append the results."""
        self._append("results.csv", [("status", status), *results.items()])

    def add_figure(self, name: str, png: bytes) -> None:
        """Write a figure."""
        write_files({self._directory / "figures" / self._entry.group / f"{name}.png": png})

    def close(self) -> None:
        """Do nothing: all is written."""

    def _append(self, file: str, rows: Iterable[tuple[object, ...]]) -> None:
        path, entry = self._directory / file, self._entry
        path.parent.mkdir(parents=True, exist_ok=True)
        key = (entry.group, entry.name, entry.tags["method"], entry.tags["seed"])
        with path.open("a", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            if handle.tell() == 0:
                writer.writerow((*_RUN, *_COLUMNS[file]))
            writer.writerows((*key, *row) for row in rows)
