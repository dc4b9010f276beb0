"""Arrow and Parquet files in the layouts of the Hugging Face library: which belong to a split, and their columns."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from interlude.simulator.errors import BadFileError, BadInputError, nearest, shortened, shown
from interlude.simulator.files import need_regular, reading

_ARROW, _PARQUET = "an Arrow file", "a Parquet file"
_STATE = "state.json"
_PART = re.compile(r"-\d{5}-of-\d{5}(-[0-9a-f]{16})?$")
_OF_A_MAP = "cache-"  # a cached result of the library's map, no split


def splits_of(root: Path) -> dict[str, list[Path]]:
    """Return the files of every split in a folder.

    Raises:
        BadInputError: if it is no folder, or of no layout that is known.
    """
    if not root.is_dir():
        raise BadInputError(f"{root}: {'is not a folder' if root.exists() else 'does not exist'} (data.path)")
    if (root / _STATE).is_file():
        return {"train": _saved(root)}
    if saved := {folder.name: _saved(folder) for folder in sorted(root.iterdir()) if (folder / _STATE).is_file()}:
        return saved
    for pattern in ("*.arrow", "*.parquet", "*/*.parquet"):
        found: dict[str, list[Path]] = {}
        for file in sorted(root.glob(pattern)):
            if not file.name.startswith(_OF_A_MAP):
                name = _PART.sub("", file.stem)
                found.setdefault(name.rpartition("-")[2] if file.suffix == ".arrow" else name, []).append(file)
        if found:
            return found
    raise BadInputError(
        f"{root}: holds no data set: it needs what save_to_disk writes, the .arrow files of the cache, or the Hub's "
        ".parquet files, e.g. data/train-00000-of-00001.parquet"
    )


def read_table(files: Sequence[Path], columns: Sequence[str]) -> pa.Table:
    """Return some columns of the files of a split.

    Raises:
        BadFileError: if one is damaged, or lacks a column.
    """
    tables = [_read(file, columns) for file in files]
    with reading(files[0], _ARROW):
        return pa.concat_tables([table.replace_schema_metadata() for table in tables])


def table_rows(file: Path) -> int:
    """Return how many rows a file has, without reading its columns."""
    if file.suffix == ".parquet":
        with reading(need_regular(file), _PARQUET), pq.ParquetFile(file) as parquet:
            return int(parquet.metadata.num_rows)
    with reading(need_regular(file), _ARROW), pa.memory_map(str(file)) as mapped:
        return sum(batch.num_rows for batch in pa.ipc.open_stream(mapped))


def _read(file: Path, columns: Sequence[str]) -> pa.Table:
    if file.suffix == ".parquet":
        with reading(need_regular(file), _PARQUET), pq.ParquetFile(file) as parquet:
            _need_columns(parquet.schema_arrow, columns, file)
            return parquet.read(list(columns))
    with reading(need_regular(file), _ARROW), pa.memory_map(str(file)) as mapped:
        stream = pa.ipc.open_stream(mapped)
        _need_columns(stream.schema, columns, file)
        return stream.read_all().select(list(columns))


def _need_columns(schema: pa.Schema, columns: Sequence[str], file: Path) -> None:
    for column in columns:
        if column not in schema.names:
            raise BadFileError(
                f"{file}: has no column {shown(column)}; it has {shortened(', '.join(schema.names), 120)}"
                f"{nearest(column, schema.names)}"
            )


def _saved(folder: Path) -> list[Path]:
    """Return the files of a split that ``save_to_disk`` wrote."""
    path = folder / _STATE
    with reading(need_regular(path), "the state of a saved data set"):
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        names = [str(entry["filename"]) for entry in state["_data_files"]]
        is_selected = bool(state.get("_indices_data_files") or state.get("_indices_files"))
    if is_selected:
        raise BadFileError(f"{path}: says that rows are selected by indices; call flatten_indices() before it is saved")
    if not names or any("/" in name or "\\" in name for name in names):
        raise BadFileError(f"{path}: names no files of this folder")
    return [folder / name for name in names]
