"""The run directory: written during a run, read by analysis, readable by pandas without us.

    run.json        resolved scenario, package versions, status, how it was trained, totals
    metrics.csv     tidy: time_s, version, metric, modality, value
    partition.csv   who holds what: client, modalities (joined by +), label, count of samples; labels held only
    timeline/       part-*.parquet, the columns of `simulator.federation.timeline`

`status` in run.json is ``running``, ``complete``, ``failed`` (with the error's sentence) or ``interrupted``. Files are
written to a temporary name and renamed; metrics.csv grows by whole lines.
"""

import hashlib
import importlib.metadata
import inspect
import json
import platform
import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.arrays import Indices
from simulator.errors import BadInputError, one_line

PARTITION_COLUMNS = ("client", "modalities", "label", "count")
METRIC_COLUMNS = ("time_s", "version", "metric", "modality", "value")

_IDENTITY = ("status", "label", "seed", "scenario")  # what every run.json says from the run's first moment
_PACKAGES = ("interlude", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "simpy", "torch")


def package_versions() -> dict[str, str]:
    """Return the versions of what computes a run."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def code_digest(method: type) -> str:
    """Return the SHA-256 of the code that computes a run: the simulator, the networks and the method's own module."""
    root = Path(__file__).parents[1]
    files = {*(root / "simulator").rglob("*.py"), *(root / "models").rglob("*.py"), Path(inspect.getfile(method))}
    return hashlib.sha256("".join(file_digest(file) for file in sorted(files)).encode()).hexdigest()


class RunRecord:
    """A run directory, for reading.

    Args:
        path: the directory.

    Raises:
        BadInputError: if it is not a run directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self.info: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInputError(f"{path}: is not a run directory (no readable run.json)") from error
        missing = [key for key in _IDENTITY if not isinstance(self.info, dict) or key not in self.info]
        if missing:
            raise BadInputError(f"{path}: is not a run directory (its run.json says no {missing[0]})")

    @property
    def label(self) -> str:
        """The method's label."""
        return str(self.info["label"])

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.info["seed"])

    @property
    def scenario(self) -> dict[str, Any]:
        """The resolved scenario."""
        return dict(self.info["scenario"])

    @property
    def is_complete(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.info["status"] == "complete")

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Columns time_s, version, metric, modality, value; raises BadInputError if they cannot be read."""
        try:
            return pd.read_csv(self.path / "metrics.csv")
        except (OSError, ValueError) as error:
            raise BadInputError(f"{self.path / 'metrics.csv'}: cannot be read: {one_line(error)}") from error

    @cached_property
    def partition(self) -> pd.DataFrame:
        """Columns client, modalities, label, count; raises BadInputError if they cannot be read."""
        try:
            return pd.read_csv(self.path / "partition.csv")
        except (OSError, ValueError) as error:
            raise BadInputError(f"{self.path / 'partition.csv'}: cannot be read: {one_line(error)}") from error

    @cached_property
    def timeline(self) -> pd.DataFrame:
        """One row per span or merge; raises BadInputError if they cannot be read."""
        folder = self.path / "timeline"
        try:
            parts = [pd.read_parquet(part) for part in sorted(folder.glob("part-*.parquet"))]
            return pd.concat(parts, ignore_index=True)
        except (OSError, ValueError) as error:
            raise BadInputError(f"{folder}: cannot be read: {one_line(error)}") from error


class RunWriter:
    """Writes a run directory, in place of a run that is there.

    Args:
        path: the directory.
        identity: what the run is: scenario, digest, label, seed, device, whether it is timing-only.

    Raises:
        BadInputError: if the directory holds files that are not a run's, or cannot be written.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self._info: dict[str, Any] = {"status": "running", **identity, "packages": package_versions()}
        self._num_parts = 0
        try:
            if path.exists() and any(path.iterdir()):
                if not (path / "run.json").exists():
                    raise BadInputError(f"{path}: holds files that are not a run's, so it is not overwritten")
                shutil.rmtree(path)
            (path / "timeline").mkdir(parents=True, exist_ok=True)
            self._write_info()
            (path / "metrics.csv").write_text(",".join(METRIC_COLUMNS) + "\n", encoding="utf-8")
        except OSError as error:
            raise BadInputError(f"{path}: cannot be written: {error.strerror or error}") from error

    def add_facts(self, facts: Mapping[str, Any]) -> None:
        """Add to run.json what is worth knowing of the run but does not make it another run."""
        self._info |= facts
        self._write_info()

    def add_partition(self, modalities: Sequence[Sequence[str]], labels: Sequence[Indices]) -> None:
        """Write what each client holds: its modalities, and the labels of its samples."""
        rows = [
            (client, "+".join(modalities[client]), label, count)
            for client, held in enumerate(labels)
            for label, count in zip(*np.unique(held, return_counts=True), strict=True)
        ]
        pd.DataFrame(rows, columns=list(PARTITION_COLUMNS)).to_csv(self.path / "partition.csv", index=False)

    def add_metrics(self, time_s: float, version: int, rows: Iterable[tuple[str, str, float]]) -> None:
        """Append (metric, modality, value) rows of one moment to metrics.csv."""
        lines = [f"{time_s!r},{version},{metric},{modality},{value!r}\n" for metric, modality, value in rows]
        with (self.path / "metrics.csv").open("a", encoding="utf-8") as handle:
            handle.write("".join(lines))

    def add_timeline(self, table: pa.Table) -> None:
        """Write a part of the timeline."""
        name = f"part-{self._num_parts:05d}.parquet"
        self._num_parts += 1
        temporary = self.path / "timeline" / f".{name}"
        pq.write_table(table, temporary, use_dictionary=["kind", "modality"])
        temporary.rename(self.path / "timeline" / name)

    def close(self, status: str, totals: Mapping[str, Any], error: str | None = None) -> RunRecord:
        """Write how the run ended and what it came to; returns the record."""
        self._info |= {"status": status, "totals": dict(totals)}
        if error is not None:
            self._info["error"] = error
        self._write_info()
        return RunRecord(self.path)

    def _write_info(self) -> None:
        temporary = self.path / ".run.json"
        temporary.write_text(json.dumps(self._info, indent=2) + "\n", encoding="utf-8")
        temporary.rename(self.path / "run.json")


def claim(path: Path, identity: Mapping[str, Any]) -> RunRecord | None:
    """Return the complete run at `path` if it is the very run that `identity` describes, or None if nothing is there.

    Raises:
        BadInputError: if something else is there.
    """
    if not path.exists() or not any(path.iterdir()):
        return None
    if (path / "run.json").exists():
        record = RunRecord(path)
        wanted = {**identity, "packages": package_versions()}
        if record.is_complete and all(record.info.get(key) == value for key, value in wanted.items()):
            return record
    raise BadInputError(
        f"{path}: already holds {_describe(path)}; pass --overwrite to replace a run, or --runs DIR to write elsewhere"
    )


def with_other_seeds(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the records and, beside each, the complete runs of the same thing with other seeds."""
    found: dict[Path, RunRecord] = {}
    for record in records:
        for info in sorted(record.path.parent.glob(f"{record.label}-s*/run.json")):
            other = RunRecord(info.parent)
            if other.is_complete and _but_the_seed(other.info) == _but_the_seed(record.info):
                found[other.path] = other
    return list(found.values())


def _but_the_seed(info: Mapping[str, Any]) -> dict[str, Any]:
    scenario = {key: value for key, value in info["scenario"].items() if key != "seed"}
    return {"scenario": scenario, **{key: info.get(key) for key in ("label", "timing_only", "device", "code", "files")}}


def _describe(path: Path) -> str:
    try:
        info = RunRecord(path).info
    except BadInputError:
        return "files that are not a run's"
    return (
        f"a run ({info['status']}) of another scenario, version or device"
        if info["status"] == "complete"
        else (f"an unfinished run ({info['status']})")
    )
