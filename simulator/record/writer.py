"""The run directory: written during a run, read by analysis, readable by pandas without us.

    run.json        resolved scenario, package versions, status, how it was trained, totals
    metrics.csv     tidy: time_s, version, metric, modality, value
    partition.csv   who holds what: client, modalities (joined by +), label, count of samples; labels held only
    timeline/       part-*.parquet, the columns of `interlude.simulator.federation.timeline`
    model.safetensors   the last version of the global model, of a complete run that trained
    checkpoint/     what an unfinished run needs to go on (`interlude.simulator.record.checkpoint`)

`status` in run.json is ``running``, ``complete``, ``failed`` (with the error's sentence) or ``interrupted``. Files are
written to a temporary name and renamed; metrics.csv grows by whole lines.
"""

import hashlib
import importlib.metadata
import inspect
import json
import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import save
from torch import Tensor

from interlude.simulator.arrays import Indices
from interlude.simulator.errors import BadInputError, RecordError, one_line
from interlude.simulator.federation.timeline import what as what  # noqa: PLC0414 (analysis asks for it here)
from interlude.simulator.files import digest

CHECKPOINTS = "checkpoint"
"""The folder of checkpoints in a run directory."""

PARTITION_COLUMNS = ("client", "modalities", "label", "count")
METRIC_COLUMNS = ("time_s", "version", "metric", "modality", "value")

_IDENTITY = ("status", "label", "seed", "scenario")  # what every run.json says from the run's first moment
_PACKAGES = ("interlude", "numpy", "pandas", "pyarrow", "safetensors", "scikit-learn", "scipy", "simpy", "torch")
_HARMLESS = {"code": "the simulator's code has changed"}
"""What may differ between the two parts of a run that somebody insists on."""
_MOST_NAMED = 3


def package_versions() -> dict[str, str]:
    """Return the versions of what computes a run."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def code_digest(method: type) -> str:
    """Return the SHA-256 of the code that computes a run: the simulator, the networks and the method's own module."""
    root = Path(__file__).parents[2]
    files = {*(root / "simulator").rglob("*.py"), *(root / "models").rglob("*.py"), Path(inspect.getfile(method))}
    return hashlib.sha256("".join(digest(file) for file in sorted(files)).encode()).hexdigest()


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
        goes_on: keep what is there of the run, to go on from a checkpoint.

    Raises:
        BadInputError: if the directory holds files that are not a run's, or cannot be written.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], goes_on: bool = False) -> None:
        self.path = path
        self._info: dict[str, Any] = {"status": "running", **identity, "packages": package_versions()}
        self._num_parts = 0
        try:
            if not goes_on:
                make_room(path)
            (path / "timeline").mkdir(parents=True, exist_ok=True)
            self._write_info()
            if not goes_on:
                self._metrics.write_text(",".join(METRIC_COLUMNS) + "\n", encoding="utf-8")
        except OSError as error:
            raise BadInputError(f"{path}: cannot be written: {error.strerror or error}") from error
        except RecordError as error:
            raise BadInputError(str(error)) from error

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
        path = self.path / "partition.csv"
        with writing(path):
            pd.DataFrame(rows, columns=list(PARTITION_COLUMNS)).to_csv(path, index=False)

    def add_metrics(self, time_s: float, version: int, rows: Iterable[tuple[str, str, float]]) -> None:
        """Append (metric, modality, value) rows of one moment to metrics.csv, all of them or none."""
        lines = "".join(f"{time_s!r},{version},{metric},{modality},{value!r}\n" for metric, modality, value in rows)
        left = lines.encode()
        with writing(self._metrics), self._metrics.open("ab", buffering=0) as handle:
            size = handle.tell()
            try:
                while left:
                    left = left[handle.write(left) or 0 :]
            except OSError:
                handle.truncate(size)
                raise

    def sync_metrics(self) -> int:
        """See to it that metrics.csv is on the disk; returns its bytes."""
        with writing(self._metrics), self._metrics.open("rb") as handle:
            os.fsync(handle.fileno())
            return handle.seek(0, os.SEEK_END)

    def cut_metrics(self, num_bytes: int) -> None:
        """Forget what metrics.csv says beyond so many bytes."""
        with writing(self._metrics):
            os.truncate(self._metrics, num_bytes)

    def add_timeline(self, table: pa.Table) -> None:
        """Write a part of the timeline."""
        name = f"part-{self._num_parts:05d}.parquet"
        temporary, path = self.path / "timeline" / f".{name}", self.path / "timeline" / name
        with writing(path), _aside(temporary, path):
            pq.write_table(table, temporary, use_dictionary=["kind", "modality"])
        self._num_parts += 1

    def add_model(self, model: Mapping[str, Tensor]) -> None:
        """Write the global model."""
        temporary, path = self.path / ".model", self.path / "model.safetensors"
        with writing(path), _aside(temporary, path):
            temporary.write_bytes(save({name: value.cpu().contiguous().clone() for name, value in model.items()}))

    def close(self, status: str, totals: Mapping[str, Any], error: str | None = None) -> RunRecord:
        """Write how the run ended and what it came to; returns the record.

        Parts of the timeline that an earlier attempt wrote and this one did not come to are removed.
        """
        for part in (self.path / "timeline").glob("part-*.parquet"):
            if int(part.stem.removeprefix("part-")) >= self._num_parts:
                part.unlink()
        self._info |= {"status": status, "totals": dict(totals)}
        if error is not None:
            self._info["error"] = error
        self._write_info()
        return RunRecord(self.path)

    @property
    def _metrics(self) -> Path:
        return self.path / "metrics.csv"

    def _write_info(self) -> None:
        _write_json(self.path / "run.json", self._info)


def _write_json(path: Path, info: Mapping[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}")
    with writing(path), _aside(temporary, path):
        temporary.write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say of an error of the system that a file cannot be written: raises RecordError."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else one_line(error)
        raise RecordError(f"{path}: cannot be written: {reason}; what is there of the run is whole") from error


@contextmanager
def _aside(temporary: Path, path: Path) -> Iterator[None]:
    """Give a file its name once it is written, or remove it."""
    try:
        yield
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_room(path: Path) -> None:
    """Remove a run that is there, its run.json last, so that no moment leaves behind what cannot be told.

    Raises:
        BadInputError: if something else is there.
    """
    if not path.exists() or not any(path.iterdir()):
        return
    info = path / "run.json"
    if info.exists():
        with suppress(BadInputError, RecordError):  # it is removed in any case
            end(path, "interrupted")  # what is there from now on is no complete run
    elif not is_only_begun(path):
        raise BadInputError(f"{path}: holds files that are not a run's, so it is not overwritten")
    # Without its checkpoints a run is begun again; with them, but without the rest, it could not go on.
    for entry in sorted(path.iterdir(), key=lambda entry: entry.name != CHECKPOINTS):
        if entry != info:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    info.unlink(missing_ok=True)


def end(path: Path, status: str, error: str | None = None) -> None:
    """Write down how a run ended that is no longer written.

    Raises:
        BadInputError: if it is not a run directory.
        RecordError: if that cannot be written.
    """
    info = {**RunRecord(path).info, "status": status, **({"error": error} if error else {})}
    _write_json(path / "run.json", info)


def is_only_begun(path: Path) -> bool:
    """Whether a directory holds no more than what a run writes before it can say what it is."""
    entries = {entry.name for entry in path.iterdir()} if path.is_dir() else {"a file"}
    return entries <= {"timeline", ".run.json"} and not any((path / "timeline").glob("*"))


def claim(path: Path, identity: Mapping[str, Any], resume: bool = False, force: bool = False) -> RunRecord | None:
    """Return the run at `path` if it is the very run that `identity` describes, or None if nothing is there.

    Args:
        path: the directory.
        identity: what the run is.
        resume: whether an unfinished run will do, too.
        force: whether that may have been begun by other code or with other packages.

    Raises:
        BadInputError: if something else is there.
    """
    if not path.exists() or not any(path.iterdir()) or is_only_begun(path):
        return None
    if not (path / "run.json").exists():
        raise BadInputError(f"{path}: already holds files that are not a run's; pass --runs DIR to write elsewhere")
    record = RunRecord(path)
    status, differences = record.info["status"], _differences(record.info, {**identity, "packages": package_versions()})
    if record.is_complete:
        if not differences:
            return record
        what = f"a run (complete) of another scenario, version or device: {_listed(differences)}"
        instead = "pass --overwrite to replace a run, or --runs DIR to write elsewhere"
    elif not resume:
        what, instead = f"an unfinished run ({status})", "pass --resume to go on with it, or --overwrite to replace it"
    elif not differences or (force and differences.keys() <= {"code", "packages"}):
        return record
    else:
        what = f"an unfinished run ({status}) that cannot be gone on with as it is: {_listed(differences)}"
        is_harmless = differences.keys() <= {"code", "packages"}
        also = "pass --force to go on all the same, or " if is_harmless else "pass "
        instead = f"{also}--overwrite to replace it, or --runs DIR to write elsewhere"
    raise BadInputError(f"{path}: already holds {what}; {instead}")


def _differences(info: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, str]:
    """Return what makes a run another than the one that is wanted: what differs, and a clause about it."""
    differences: dict[str, str] = {}
    for key, now in wanted.items():
        before = info.get(key)
        if before == now or (key == "digest" and info.get("scenario") != wanted["scenario"]):
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            differences[key] = _listed(_changes(before, now))
        else:
            differences[key] = _HARMLESS.get(key, f"{key} was {before}, and now is {now}")
    return differences


def _changes(before: Any, now: Any, where: str = "") -> dict[str, str]:
    """Return the fields that two nested mappings do not agree on, and a clause about each."""
    if isinstance(before, dict) and isinstance(now, dict):
        pairs = {key: (before.get(key), now.get(key)) for key in [*before, *(key for key in now if key not in before)]}
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = dict(enumerate(zip(before, now, strict=True)))
    else:
        return {} if before == now else {where: f"{where} was {before}, and now is {now}"}
    found: dict[str, str] = {}
    for key, (old, new) in pairs.items():
        found |= _changes(old, new, f"{where}.{key}" if where else str(key))
    return found


def _listed(clauses: Mapping[str, str]) -> str:
    named = list(clauses.values())
    more = f"; and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return "; ".join(named[:_MOST_NAMED]) + more


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
