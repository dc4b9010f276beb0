"""Columns of a Parquet file as arrays: numbers, texts, and (lists of) lists of numbers of equal length."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from interlude.simulator.data.own import KEY, LABEL, NAME
from interlude.simulator.errors import BadFileError, shortened, shown
from interlude.simulator.files import need_regular, reading

_PARQUET = "a Parquet file"
_WIDEST_BYTES = 8
"""Size of the widest number."""


def parquet_bytes(path: Path) -> int:
    """Return about how much memory the arrays of a Parquet file take, by its footer alone.

    Raises:
        BadFileError: if it is not one.
    """
    with reading(need_regular(path), _PARQUET), pq.ParquetFile(path) as file:
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        chunks = [group.column(j) for group in groups for j in range(group.num_columns)]
        return sum(chunk.num_values * 2 * _WIDEST_BYTES + chunk.total_uncompressed_size for chunk in chunks)


def read_parquet(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    """Return the columns of a Parquet file by name; an index that pandas wrote into it is left out.

    Raises:
        BadFileError: if it is not one, or a column cannot become an array.
    """
    with reading(need_regular(path), _PARQUET), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        if twice := next((name for name, count in Counter(schema.names).items() if count > 1), None):
            raise BadFileError(f"{path}: two columns are called {shown(twice)}")
        index = _index_of_pandas(schema)
        wanted = [field.name for field in schema if field.name not in index]
        for name in wanted:
            _need_readable(schema.field(name).type, f"{path}: {shown(name)}")
        # texts stay in their dictionary: a long one that many rows repeat is held once
        texts = [name for name in wanted if _is_text(schema.field(name).type)]
    with reading(path, _PARQUET), pq.ParquetFile(path, read_dictionary=texts) as file:
        table = file.read(wanted)
        return {name: array_of(table[name], f"{path}: {shown(name)}") for name in wanted}


def _index_of_pandas(schema: pa.Schema) -> set[str]:
    """Return the columns that hold the index of a data frame, but for those that mean something here."""
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    return {i for i in index if isinstance(i, str) and i not in (LABEL, NAME) and not i.startswith(KEY)}


def _need_readable(kind: pa.DataType, what: str) -> None:
    leaf = kind
    while _is_list(leaf):
        leaf = leaf.value_type
    leaf = leaf.value_type if pa.types.is_dictionary(leaf) else leaf
    if not (pa.types.is_integer(leaf) or pa.types.is_floating(leaf) or _is_text(kind)):
        raise BadFileError(f"{what} must be numbers, texts or lists of numbers; it is {shortened(kind, 60)}")


def _is_text(kind: pa.DataType) -> bool:
    leaf = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(leaf) or pa.types.is_large_string(leaf) or pa.types.is_string_view(leaf))


def array_of(column: pa.ChunkedArray, what: str) -> npt.NDArray[Any]:
    """Return a column of numbers [N], texts [N], or (lists of) lists of numbers of equal length [N, ...].

    Raises:
        BadFileError: if it holds anything else, empty cells, or lists of different lengths.
    """
    _need_readable(column.type, what)
    if not column.num_chunks:
        return _chunk(pa.array([], column.type), what)
    parts = [_chunk(chunk, what) for chunk in column.chunks]
    for part in parts:
        _need_one_length([part.shape[1:], parts[0].shape[1:]], what)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _chunk(values: pa.Array, what: str) -> npt.NDArray[Any]:
    shape = [len(values)]
    while _is_list(values.type):
        _need_all(values, what)
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        _need_one_length(lengths, what)
        shape.append(lengths[0] if lengths else 0)
        values = values.flatten()
    _need_all(values, what)
    if pa.types.is_dictionary(values.type):
        _need_all(values.dictionary, what)
        different = np.array(values.dictionary.to_pylist(), dtype=object if _is_text(values.type) else None)
        flat = different[values.indices.to_numpy(zero_copy_only=False)]
    else:
        flat = values.to_numpy(zero_copy_only=False)
    array: npt.NDArray[Any] = flat.reshape(shape)
    return array


def _need_one_length(lengths: Sequence[Any], what: str) -> None:
    if len(set(lengths)) > 1:
        raise BadFileError(f"{what} has lists of {min(lengths)} and of {max(lengths)}; all must be of one length")


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _need_all(values: pa.Array, what: str) -> None:
    if values.null_count:
        raise BadFileError(f"{what} has {values.null_count} empty cells")
