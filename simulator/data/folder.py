"""folder: your own data; data.path names a folder with train and test as .npz, .parquet or train_<name>.npy.

train.npz, test.npz              arrays by name, as `interlude.simulator.data.own` describes them
train.parquet, test.parquet      columns by name; a sample is a list of numbers, or lists of lists
train_<name>.npy, test_<name>.npy   one file per array, mapped instead of read: it need not fit in memory
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.directory import need_located
from interlude.simulator.data.npy import Header, mapped, npy_header, npz_headers, read_npy, read_npz
from interlude.simulator.data.own import LABEL, Split, dataset_of, need_length
from interlude.simulator.data.parquet import parquet_bytes, read_parquet
from interlude.simulator.data.source import Source
from interlude.simulator.data.spec import DataSpec, NumClasses
from interlude.simulator.errors import BadInputError, shown

_SPLITS = ("train", "test")
_MAPPED = (np.dtype(np.float32), np.dtype(np.uint8), np.dtype(np.int32))


class FolderSpec(DataSpec):
    """Options of a user's own folder."""

    dataset: Literal["folder"] = "folder"
    path: Path = Field(description="the folder; a relative one is below the data directory or where the command runs")
    num_classes: NumClasses | None = Field(None, description="classes; unset: as many as the largest label says")


def load(spec: FolderSpec) -> Dataset:
    """Return the data set that lies in a folder.

    Raises:
        BadInputError: naming the file, the array, what was found and what is expected.
    """
    folder, files = _found(spec)
    train, test = ({k: v for file in files[split] for k, v in _read(file, split).items()} for split in _SPLITS)
    first, second = (_called(folder, split, files[split]) for split in _SPLITS)
    every = tuple(file for split in _SPLITS for file in files[split])
    return dataset_of(train, test, (first, second), spec.num_classes, every)


def loaded_bytes(spec: FolderSpec) -> int:
    """Return about how much memory the data set takes while it is loaded, by the headers of its files.

    Raises:
        BadInputError: naming a file whose header is damaged, or arrays of other lengths than the labels.
    """
    folder, files = _found(spec)
    return sum(_split_bytes(split, files[split], _called(folder, split, files[split])) for split in _SPLITS)


def _found(spec: FolderSpec) -> tuple[Path, Mapping[str, list[Path]]]:
    """Return the folder, and the files of each split."""
    folder = need_located(spec.path, "data.path")
    if not folder.is_dir():
        raise BadInputError(f"{folder}: {'is not a folder' if folder.exists() else 'does not exist'} (data.path)")
    return folder, {split: _files(folder, split) for split in _SPLITS}


def _files(folder: Path, split: str) -> list[Path]:
    for whole in (folder / f"{split}.npz", folder / f"{split}.parquet"):
        if whole.exists():
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


def _split_bytes(split: str, files: list[Path], where: str) -> int:
    """Return the memory of a split's arrays as they are stored and as they are used."""
    if files[0].suffix == ".parquet":
        return parquet_bytes(files[0])
    single = files[0].suffix == ".npy"
    headers = {_name(file, split): npy_header(file) for file in files} if single else npz_headers(files[0])
    num_samples = next(iter(headers[LABEL].shape), 0) if LABEL in headers else None
    for name, header in headers.items():
        if num_samples is not None and header.shape:
            need_length(header.shape[0], f"{where}: {shown(name)}", num_samples)
    read = [header for header in headers.values() if not (single and _is_mapped(header))]
    return sum(h.num_bytes + math.prod(h.shape) * (1 if h.dtype == np.uint8 else 4) for h in read)


def _read(file: Path, split: str) -> Split:
    match file.suffix:
        case ".npz":
            return read_npz(file)
        case ".npy":
            return {_name(file, split): mapped(file) if _is_mapped(npy_header(file)) else read_npy(file)}
        case _:
            return read_parquet(file)


def _name(file: Path, split: str) -> str:
    return file.stem.removeprefix(f"{split}_")


def _is_mapped(header: Header) -> bool:
    """Return whether an array is used in the type, order and place in which it is stored."""
    is_in_place = header.offset % header.dtype.itemsize == 0 and not header.is_fortran
    return is_in_place and header.num_bytes > 0 and header.dtype in _MAPPED and len(header.shape) > 1


SOURCE = Source(
    options=FolderSpec,
    load=load,
    loaded_bytes=loaded_bytes,
    origin="yours",
    licence="yours",
)
