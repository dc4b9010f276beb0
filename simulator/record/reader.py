"""Run directories, for reading: the whole interface between runs and analysis."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from interlude.simulator.errors import BadInputError, one_line

SCHEMA_VERSION = 2
"""The schema of run directories that this version writes and reads: the columns of the timeline, the keys of run.json.

1: timelines with a column ``kind``; its run.json gives no schema.
"""

_IDENTITY = ("status", "label", "seed", "scenario")  # present in every run.json from the start of the run


class OtherSchemaError(BadInputError):
    """A run directory whose schema this version does not read."""


class RunRecord:
    """A run directory, for reading.

    Args:
        path: the directory.

    Raises:
        BadInputError: if it is not a run directory.
        OtherSchemaError: if it is one of another schema.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self.info: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInputError(f"{path}: is not a run directory (no readable run.json)") from error
        missing = [key for key in _IDENTITY if not isinstance(self.info, dict) or key not in self.info]
        if missing:
            raise BadInputError(f"{path}: is not a run directory (its run.json has no '{missing[0]}')")
        schema = self.info.get("schema", 1)
        if schema != SCHEMA_VERSION:
            raise OtherSchemaError(
                f"{path}: is a record of schema {schema}, but this version reads schema {SCHEMA_VERSION}; run its "
                "scenario again with --overwrite, or read it with the version that wrote it"
            )

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
        """Whether the run finished."""
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
        for part in sorted((self.path / "timeline").glob("part-*.parquet")):
            try:
                yield pd.read_parquet(part)
            except (OSError, ValueError) as error:
                raise BadInputError(f"{part}: cannot be read: {one_line(error)}") from error


def find_runs(path: str | Path) -> list[RunRecord]:
    """Return the runs at or below a path, by directory, label and seed; numbers in names count as numbers.

    Raises:
        BadInputError: if there is no such directory, or no run in it, or a run.json cannot be read.
    """
    path = Path(path)
    if not path.is_dir():
        raise BadInputError(f"{path}: {'is not a directory' if path.exists() else 'does not exist'}")
    directories = [path] if (path / "run.json").exists() else [info.parent for info in path.rglob("run.json")]
    if not directories:
        raise BadInputError(f"{path}: holds no run directory (none with a run.json)")
    return sorted(map(RunRecord, directories), key=lambda r: (_natural(r.path.parent), r.label, r.seed))


def load_runs(path: str | Path) -> list[RunRecord]:
    """Return the complete runs at or below a path, by directory, label and seed; others are left out.

    Raises:
        BadInputError: if there is no such directory, or no run in it, or a run.json cannot be read.
    """
    return [record for record in find_runs(path) if record.is_complete]


def _natural(path: Path) -> list[tuple[str, int]]:
    """Return a key that sorts paths with their numbers as numbers, so that 16 comes before 100."""
    words = re.split(r"(\d+)", str(path))
    return [(word, int(number)) for word, number in zip_longest(words[::2], words[1::2], fillvalue="0")]


def with_other_seeds(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the records and, beside each, the complete runs of the same scenario and method with other seeds."""
    found: dict[Path, RunRecord] = {}
    for record in records:
        for info in sorted(record.path.parent.glob(f"{record.label}-s*/run.json")):
            with suppress(BadInputError):  # a damaged record, or one of another schema, does not match
                other = RunRecord(info.parent)
                if other.is_complete and _but_the_seed(other.info) == _but_the_seed(record.info):
                    found[other.path] = other
    return list(found.values())


def _but_the_seed(info: Mapping[str, Any]) -> dict[str, Any]:
    scenario = {key: value for key, value in info["scenario"].items() if key != "seed"}
    return {"scenario": scenario, **{key: info.get(key) for key in ("label", "timing_only", "device", "code", "files")}}
