"""folder: your own data; data.path names a folder with train and test as .npz, .parquet or train_<name>.npy.

train.npz, test.npz              arrays by name, as `interlude.simulator.data.own` describes them
train.parquet, test.parquet      columns by name; a sample is a list of numbers, or lists of lists
train_<name>.npy, test_<name>.npy   one file per array, mapped instead of read: it need not fit in memory
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, PositiveInt

from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.directory import need_located
from interlude.simulator.data.own import Split, dataset_of
from interlude.simulator.data.prepare import mapped
from interlude.simulator.data.source import Source
from interlude.simulator.data.spec import DataSpec
from interlude.simulator.errors import BadInputError, one_line

_SPLITS = ("train", "test")
_MAPPED = (np.dtype(np.float32), np.dtype(np.uint8), np.dtype(np.int32))
_DAMAGED = (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error)


class FolderSpec(DataSpec):
    """Options of a user's own folder."""

    dataset: Literal["folder"] = "folder"
    path: Path = Field(description="the folder; a relative one is below the data directory or where the command runs")
    num_classes: PositiveInt | None = Field(None, description="classes; unset: as many as the largest label says")


def load(spec: FolderSpec) -> Dataset:
    """Return the data set that lies in a folder.

    Raises:
        BadInputError: naming the file, the array, what was found and what is expected.
    """
    folder = need_located(spec.path, "data.path")
    if not folder.is_dir():
        raise BadInputError(f"{folder}: {'is not a folder' if folder.exists() else 'does not exist'} (data.path)")
    files = {split: _files(folder, split) for split in _SPLITS}
    train, test = ({k: v for file in files[split] for k, v in _read(file, split).items()} for split in _SPLITS)
    first, second = (_called(folder, split, files[split]) for split in _SPLITS)
    every = tuple(file for split in _SPLITS for file in files[split])
    return dataset_of(train, test, (first, second), spec.num_classes, every)


def _files(folder: Path, split: str) -> list[Path]:
    for whole in (folder / f"{split}.npz", folder / f"{split}.parquet"):
        if whole.is_file():
            return [whole]
    single = sorted(folder.glob(f"{split}_*.npy"))
    if not single:
        raise BadInputError(
            f"{folder}: has neither {split}.npz nor {split}.parquet nor {split}_<name>.npy; it needs one of them for "
            "each of train and test"
        )
    return single


def _called(folder: Path, split: str, files: list[Path]) -> str:
    """Return the name of a split in messages."""
    return str(files[0]) if files[0].suffix != ".npy" else f"{folder / split}_*.npy"


def _read(file: Path, split: str) -> Split:
    try:
        match file.suffix:
            case ".npz":
                with file.open("rb") as content, np.load(content, allow_pickle=False) as archive:
                    return {name: archive[name] for name in archive.files}
            case ".npy":
                return {file.stem.removeprefix(f"{split}_"): _opened(file)}
            case _:
                table = pq.read_table(file)
                return {name: _column(table[name], f"{file}: '{name}'") for name in table.column_names}
    except _DAMAGED as error:
        said = (
            "holds Python objects, which are not read" if "pickle" in str(error) else f"is damaged: {one_line(error)}"
        )
        raise BadInputError(f"{file}: {said}") from error


def _opened(file: Path) -> Any:
    """Return an array, mapped from its file where its stored type is the one that is used."""
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    if array.size and array.dtype in _MAPPED and array.ndim > 1 and array.flags.c_contiguous:
        return mapped(file)
    return np.array(array)


def _column(column: pa.ChunkedArray, what: str) -> npt.NDArray[Any]:
    """Return a column of numbers [N], texts [N], or (lists of) lists of numbers of equal length [N, ...]."""
    values = column.combine_chunks()
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    shape = [len(values)]
    while _is_list(values.type):
        _need_all(values, what)
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        if len(lengths) > 1:
            raise BadInputError(f"{what} has lists of {min(lengths)} and of {max(lengths)}; all must be of one length")
        shape.append(lengths[0] if lengths else 0)
        values = values.flatten()
    _need_all(values, what)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return np.array(values.to_pylist(), dtype=np.str_)
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise BadInputError(f"{what} must be numbers, texts or lists of numbers; it is {column.type}")
    array: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False).reshape(shape)
    return array


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _need_all(values: pa.Array, what: str) -> None:
    if values.null_count:
        raise BadInputError(f"{what} has {values.null_count} empty cells")


SOURCE = Source(
    options=FolderSpec,
    load=load,
    origin="yours",
    licence="yours",
)
