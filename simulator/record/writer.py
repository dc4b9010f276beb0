"""The run directory: written during a run, read by analysis, readable by pandas without Interlude.

    run.json        schema of the record, resolved scenario, package versions, status, how it was trained, totals; of
                    a closed run, the contents: bytes, SHA-256 and rows of every file
    metrics.csv     tidy: time_s, version, metric, modality, value
    partition.csv   the clients' data: client, modalities (joined by +), label, count of samples; labels held only
    timeline/       part-*.parquet, the columns of `interlude.simulator.federation.timeline`
    model.safetensors   the last version of the global model, of a complete run that trained
    checkpoint/     checkpoints of an unfinished run (`interlude.simulator.record.checkpoint`)
    .lock           names the process that writes (`interlude.simulator.record.lock`)

`status` in run.json is ``running``, ``complete``, ``failed`` (with the error's sentence) or ``interrupted``. Files are
written to a temporary name and renamed; metrics.csv grows by whole lines.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import save
from torch import Tensor

from interlude.simulator.arrays import Indices
from interlude.simulator.errors import BadInputError, RecordError
from interlude.simulator.record.atomic import aside, write_json, writing
from interlude.simulator.record.claim import make_room, own_files
from interlude.simulator.record.contents import CONTENTS, content_of, sealed
from interlude.simulator.record.prefix import Prefix, prefix_of
from interlude.simulator.record.provenance import package_versions
from interlude.simulator.record.reader import METRIC_COLUMNS, PARTITION_COLUMNS, SCHEMA_VERSION, RunRecord


class RunWriter:
    """The sink of a run: writes its directory, replacing an earlier run; its process owns the directory.

    Args:
        path: the directory.
        identity: identifies the run: scenario, digest, label, seed, device, whether it is timing-only.
        resumes: keep the files of the run, to resume it from a checkpoint.

    Raises:
        BadInputError: if the directory holds files that are not a run's, or cannot be written.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], resumes: bool = False) -> None:
        self.path = path
        self._info: dict[str, Any] = {
            "schema": SCHEMA_VERSION,
            "status": "running",
            **identity,
            "packages": package_versions(),
        }
        self._num_parts = 0
        self._contents: dict[str, dict[str, Any]] = {}
        try:
            if not resumes:
                make_room(path)
            (path / "timeline").mkdir(parents=True, exist_ok=True)
            self._write_info()
            if not resumes:
                self._metrics.write_text(",".join(METRIC_COLUMNS) + "\n", encoding="utf-8")
        except OSError as error:
            raise BadInputError(f"{path}: cannot be written: {error.strerror or error}") from error
        except RecordError as error:
            raise BadInputError(str(error)) from error

    def add_facts(self, facts: Mapping[str, Any]) -> None:
        """Add facts to run.json that do not belong to the run's identity."""
        self._info |= facts
        self._write_info()

    def add_partition(self, modalities: Sequence[Sequence[str]], labels: Sequence[Indices]) -> None:
        """Write each client's modalities, and the labels of its samples."""
        rows = [
            (client, "+".join(modalities[client]), label, count)
            for client, held in enumerate(labels)
            for label, count in zip(*np.unique(held, return_counts=True), strict=True)
        ]
        path = self.path / "partition.csv"
        with writing(path):
            pd.DataFrame(rows, columns=list(PARTITION_COLUMNS)).to_csv(path, index=False)
            self._contents[path.name] = content_of(path, len(rows))

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

    def sync_metrics(self) -> Prefix:
        """Flush metrics.csv to the disk; returns its length and digest."""
        with writing(self._metrics), self._metrics.open("rb") as handle:
            os.fsync(handle.fileno())
            return prefix_of(handle, os.fstat(handle.fileno()).st_size)

    def cut_metrics(self, num_bytes: int) -> None:
        """Truncate metrics.csv to a size in bytes."""
        with writing(self._metrics):
            os.truncate(self._metrics, num_bytes)

    def begin_timeline(self) -> None:
        """Write the timeline from its first part on; those of an earlier attempt are removed."""
        with writing(self.path / "timeline"):
            for file in own_files(self.path):
                if file.parent.name == "timeline":
                    file.unlink()
        self._num_parts = 0

    def add_timeline(self, table: pa.Table) -> None:
        """Write a part of the timeline."""
        name = f"part-{self._num_parts:05d}.parquet"
        temporary, path = self.path / "timeline" / f".{name}", self.path / "timeline" / name
        with writing(path), aside(temporary, path):
            pq.write_table(table, temporary, use_dictionary=["activity", "outcome", "modality"])
            self._contents[f"timeline/{name}"] = content_of(temporary, table.num_rows)
        self._num_parts += 1

    def add_model(self, model: Mapping[str, Tensor]) -> None:
        """Write the global model."""
        temporary, path = self.path / ".model", self.path / "model.safetensors"
        with writing(path), aside(temporary, path):
            temporary.write_bytes(save({name: value.cpu().contiguous().clone() for name, value in model.items()}))
            self._contents[path.name] = content_of(temporary)

    def close(self, status: str, totals: Mapping[str, Any], error: str | None = None) -> RunRecord:
        """Write how the run ended, its totals and what the record holds; returns the record."""
        with writing(self._metrics):
            num_rows = self._metrics.read_bytes().count(b"\n") - 1
            self._contents[self._metrics.name] = content_of(self._metrics, num_rows)
        contents = {name: self._contents[name] for name in sorted(self._contents) if (self.path / name).exists()}
        self._info |= {"status": status, "totals": dict(totals), CONTENTS: contents}
        if error is not None:
            self._info["error"] = error
        self._write_info()
        return RunRecord(self.path)

    @property
    def _metrics(self) -> Path:
        return self.path / "metrics.csv"

    def _write_info(self) -> None:
        write_json(self.path / "run.json", sealed(self._info))
