"""Run directories, for reading: the whole interface between runs and analysis."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from html import escape
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from interlude.simulator.errors import BadInputError, one_line
from interlude.simulator.files import need_regular, without_folders
from interlude.simulator.record.contents import CONTENTS, damages_of, is_as_sealed

SCHEMA_VERSION = 2
"""The schema of run directories that this version writes and reads: the columns of the timeline, the keys of run.json.

1: timelines with a column ``kind``; its run.json gives no schema.
"""

TUNING = "_tuning"
"""The folder of a sweep that holds the runs its settings were chosen by; no scenario can have this name.

They are no results: what looks for runs below a path passes them by, unless the path itself leads into the folder.
"""

METRIC_COLUMNS = {"time_s": "float64", "version": "int64", "metric": "str", "modality": "str", "value": "float64"}
"""The columns of metrics.csv, and their types."""
PARTITION_COLUMNS = {"client": "int64", "modalities": "str", "label": "int64", "count": "int64"}
"""The columns of partition.csv, and their types."""

_IDENTITY = ("status", "label", "seed", "scenario")  # present in every run.json from the start of the run


class OtherSchemaError(BadInputError):
    """A run directory whose schema this version does not read."""


class DamagedRecordError(BadInputError):
    """A run directory with a file that is not what was written."""


class _Totals(BaseModel):
    model_config = ConfigDict(strict=True)

    simulated_s: float = 0.0
    versions: int = 0
    diverged_at_s: float | None = None


class _Info(BaseModel):
    """The types of what is read from run.json."""

    model_config = ConfigDict(strict=True)

    status: str
    label: str
    seed: int
    scenario: dict[str, Any]
    totals: _Totals = _Totals()
    packages: dict[str, str] = {}
    files: dict[str, str] = {}
    contents: dict[str, dict[str, int | str]] = {}


class RunRecord:
    """A run directory, for reading.

    Args:
        path: the directory.

    Raises:
        BadInputError: if it is not a run directory.
        DamagedRecordError: if its run.json is not what was written.
        OtherSchemaError: if it is one of another schema.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            need_regular(self.path / "run.json")
            self.info: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise BadInputError(f"{path}: is not a run directory (no readable run.json)") from error
        missing = [key for key in _IDENTITY if not isinstance(self.info, dict) or key not in self.info]
        if missing:
            raise BadInputError(f"{path}: is not a run directory (its run.json has no '{missing[0]}')")
        if not is_as_sealed(self.info):
            raise DamagedRecordError(f"{self.path / 'run.json'}: is not what was written: its SHA-256 differs")
        schema = self.info.get("schema", 1)
        if schema != SCHEMA_VERSION:
            raise OtherSchemaError(
                f"{path}: is a record of schema {schema}, but this version reads schema {SCHEMA_VERSION}; run its "
                "scenario again with --overwrite, or read it with the version that wrote it"
            )
        try:
            _Info.model_validate(self.info)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise DamagedRecordError(
                f"{self.path / 'run.json'}: {field}: {one_line(first['msg'])}; given {one_line(first['input'])[:80]}"
            ) from error

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        rows = {"scenario": self.scenario.get("name", ""), "method": self.label, "seed": self.seed}
        rows |= {"status": self.info["status"], **self.info.get("totals", {}), "path": self.path}
        lines = (f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
        return f"<table>{''.join(lines)}</table>"

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
    def origin(self) -> dict[str, Any]:
        """Where its scenario comes from: the fields of `interlude.simulator.scenario.origin.Origin`."""
        own = {"scenario": self.scenario["name"], "methods": [self.label], "place": 0, "swept": {}}
        return {**own, **self.info.get("origin", {})}

    @property
    def is_complete(self) -> bool:
        """Whether the run finished."""
        return bool(self.info["status"] == "complete")

    @property
    def diverged_at_s(self) -> float | None:
        """The simulated second at which its training diverged; None if it did not."""
        at_s = self.info.get("totals", {}).get("diverged_at_s")
        return None if at_s is None else float(at_s)

    @property
    def has_result(self) -> bool:
        """Whether the run finished, or was stopped because its training diverged, which is a result as well."""
        return self.is_complete or (bool(self.info["status"] == "failed") and self.diverged_at_s is not None)

    @property
    def contents(self) -> dict[str, Any] | None:
        """Bytes, SHA-256 and rows of every file by its path; None if they were not written down."""
        return self.info.get(CONTENTS)

    def damages(self, within: str = "") -> dict[str, str]:
        """Return how files differ from what was written, by their paths in the run directory.

        Args:
            within: only files whose paths begin so.
        """
        return {} if self.contents is None else damages_of(self.path, self.contents, within)

    def check(self, within: str = "") -> None:
        """Check that the files are what was written; a record that does not say what that was passes.

        Args:
            within: only files whose paths begin so.

        Raises:
            DamagedRecordError: naming the first that is not.
        """
        for name, damage in self.damages(within).items():
            raise DamagedRecordError(f"{self.path / name}: {damage}")

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Columns time_s, version, metric, modality, value; raises BadInputError if they cannot be read."""
        return self._table("metrics.csv", METRIC_COLUMNS)

    @cached_property
    def partition(self) -> pd.DataFrame:
        """Columns client, modalities, label, count; raises BadInputError if they cannot be read."""
        return self._table("partition.csv", PARTITION_COLUMNS)

    @cached_property
    def timeline(self) -> pd.DataFrame:
        """One row per span or merge, all of them; raises BadInputError if they cannot be read."""
        try:
            return pd.concat(self.timeline_parts(), ignore_index=True)
        except ValueError as error:
            raise BadInputError(f"{self.path / 'timeline'}: cannot be read: {one_line(error)}") from error

    def timeline_parts(self) -> Iterator[pd.DataFrame]:
        """Yield the rows of the timeline part by part, at most 100,000 rows each.

        Raises:
            BadInputError: if a part cannot be read.
        """
        self.check("timeline/")
        for part in sorted((self.path / "timeline").glob("part-*.parquet")):
            try:
                yield pd.read_parquet(part)
            except (OSError, ValueError, pa.ArrowException) as error:
                raise BadInputError(f"{part}: cannot be read: {one_line(error)}") from error

    def _table(self, name: str, columns: Mapping[str, str]) -> pd.DataFrame:
        """Return a table of this directory; what is a text stays one, also ``NA`` and ``null``."""
        self.check(name)
        path = self.path / name
        try:
            table = pd.read_csv(
                path,
                dtype=dict(columns),
                keep_default_na=False,
                na_values={column: ["nan"] for column, kind in columns.items() if kind == "float64"},
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise BadInputError(f"{path}: cannot be read: {one_line(reason)}") from error
        if list(table) != list(columns):
            raise BadInputError(f"{path}: must have the columns {', '.join(columns)}; has {', '.join(map(str, table))}")
        return table


def run_directories(path: str | Path) -> list[Path]:
    """Return the run directories at or below a path, sorted; numbers in names count as numbers.

    One that has lost its run.json is among them; those in a folder `TUNING` below the path are not.

    Raises:
        BadInputError: if there is no such directory, or no run in it.
    """
    path = Path(path)
    try:
        if not path.is_dir():
            raise BadInputError(f"{path}: {'is not a directory' if path.exists() else 'does not exist'}")
        found = {path} if (path / "run.json").exists() else {info.parent for info in path.rglob("run.json")}
        found |= {metrics.parent for metrics in path.rglob("metrics.csv") if (metrics.parent / "timeline").is_dir()}
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror or error}") from error
    found = {directory for directory in found if TUNING not in directory.relative_to(path).parts}
    if not found:
        raise BadInputError(f"{path}: holds no run directory (none with a run.json)")
    return sorted(found, key=_natural)


def find_runs(path: str | Path, leave_out: Callable[[str], object] | None = None) -> list[RunRecord]:
    """Return the runs at or below a path, by directory and seed; in the order of the points and methods of a scenario.

    Numbers in names count as numbers.

    Args:
        path: a run directory, or a directory above some.
        leave_out: receives a sentence about each run below the path that cannot be read; None: that is an error.

    Raises:
        BadInputError: if there is no such directory, or no run in it, or a run cannot be read.
    """
    records = []
    for directory in run_directories(path):
        try:
            records.append(RunRecord(directory))
        except BadInputError as error:
            if leave_out is None or directory == Path(path):
                raise
            leave_out(str(error))
    return in_order(records)


def in_order(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return records by scenario, point, method and seed: points and methods in the scenario's order."""
    places = {label: place for place, label in enumerate(methods_in_order(records))}
    return sorted(
        records,
        key=lambda r: (
            *(_natural(r.path.parent.parent), _natural(r.origin["scenario"]), r.origin["place"]),
            *(_natural(r.path.parent), places.get(r.label, len(places)), r.seed),
        ),
    )


def methods_in_order(records: Iterable[RunRecord]) -> list[str]:
    """Return the labels of all methods of the records' scenarios, in their order; of several the longest list's."""
    lists = sorted({tuple(r.origin["methods"]) for r in records}, key=lambda labels: (-len(labels), labels))
    return list(dict.fromkeys(label for labels in lists for label in labels))


def load_records(path: str | Path) -> list[RunRecord]:
    """Return the complete runs at or below a path, in the order of `find_runs`; others are left out.

    Raises:
        BadInputError: if there is no such directory, or no run in it, or a run.json cannot be read.
    """
    return [record for record in find_runs(path) if record.is_complete]


def _natural(path: Path | str) -> list[tuple[str, int]]:
    """Return a key that sorts paths with their numbers as numbers, so that 16 comes before 100."""
    words = re.split(r"(\d+)", str(path))
    return [(word, int(number)) for word, number in zip_longest(words[::2], words[1::2], fillvalue="0")]


def with_other_seeds(
    records: Sequence[RunRecord], leave_out: Callable[[str], object] = lambda _: None
) -> list[RunRecord]:
    """Return the records and, beside each, the runs with other seeds of its scenario and method that have a result.

    Args:
        records: complete runs.
        leave_out: receives a sentence about each run beside them that is damaged; none of another schema matches.
    """
    found: dict[Path, RunRecord] = {}
    for record in records:
        for directory in sorted(record.path.parent.glob(f"{record.label}-s*")):
            if directory == record.path:
                found[directory] = record
            elif _is_seed(directory.name.removeprefix(f"{record.label}-s")) and (directory / "timeline").is_dir():
                try:
                    other = RunRecord(directory)
                    if other.has_result and _but_the_seed(other.info) == _but_the_seed(record.info):
                        other.check()
                        found[directory] = other
                except OtherSchemaError:
                    pass
                except BadInputError as error:
                    leave_out(str(error))
    return list(found.values())


def _is_seed(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _but_the_seed(info: Mapping[str, Any]) -> dict[str, Any]:
    scenario = {key: value for key, value in without_folders(info["scenario"]).items() if key != "seed"}
    return {"scenario": scenario, **{key: info.get(key) for key in ("label", "timing_only", "device", "code", "files")}}
