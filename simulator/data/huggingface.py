"""huggingface: a data set of the Hugging Face Hub, from a local folder; data.path names it. Nothing is downloaded.

A folder that ``save_to_disk`` wrote, one of the cache (``datasets/<name>/<config>/<version>/<hash>`` below
``~/.cache/huggingface``) or a clone of the Hub's repository with ``.parquet`` files. The files are Arrow's and
Parquet's, so the library `datasets` is not needed to read them, and no code of a data set runs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from interlude.simulator.data.arrow_files import read_table, splits_of, table_rows
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.directory import need_located
from interlude.simulator.data.images import pixels_in
from interlude.simulator.data.listed import ImageSize, Listed, ListedSpec, dataset_from
from interlude.simulator.data.parquet import array_of
from interlude.simulator.data.source import Source
from interlude.simulator.errors import BadFileError, BadInputError, nearest, shortened, shown

_Columns = str | Annotated[tuple[str, ...], Field(min_length=1)]
_TIMES_IN_MEMORY = 3


class HuggingFaceSpec(ListedSpec):
    """Options of a data set of the Hugging Face Hub."""

    dataset: Literal["huggingface"] = "huggingface"
    path: Path = Field(description="the folder; relative to the scenario or the data directory")
    modalities: Annotated[dict[str, _Columns], Field(min_length=1)] = Field(
        description="by its name the column of each: images, texts, numbers, lists of numbers; or several of numbers"
    )
    label: str = Field("label", description="column with the class, a number or a name")
    keys: tuple[str, ...] = Field((), description="columns that say what a sample belongs to, for natural partitions")
    train: str = Field("train", description="split that is learned from")
    test: str | None = Field("test", description="split that is the test; null: drawn from the other")
    size: ImageSize = 32
    gray: tuple[str, ...] = Field((), description="modalities whose images are read without their colours")

    def __hash__(self) -> int:
        """Return a hash of all fields; mappings have none of their own."""
        return hash(self.model_dump_json())


def load(spec: HuggingFaceSpec) -> Dataset:
    """Return the data set that lies in a folder.

    Raises:
        BadInputError: naming the file, the column, what was found and what is expected.
    """
    for modality in spec.gray:
        if modality not in spec.modalities:
            raise BadInputError(f"data.gray: unknown modality {shown(modality)}{nearest(modality, spec.modalities)}")
    root, chosen = _found(spec)
    tables = [read_table(files, list(dict.fromkeys(_columns(spec)))) for files in chosen.values()]
    places = [f"{root}, {split}" for split in chosen]
    values = {
        modality: _joined([_values(spec, modality, table, where) for table, where in zip(tables, places, strict=True)])
        for modality in spec.modalities
    }
    labels = [label for table, where in zip(tables, places, strict=True) for label in _labels(table, spec.label, where)]
    listed = Listed(
        values=values,
        labels=labels,
        is_test=None if spec.test is None else [i >= tables[0].num_rows for i in range(len(labels))],
        keys={
            key: [one for pair in zip(tables, places, strict=True) for one in _keys(key, *pair)] for key in spec.keys
        },
    )
    return dataset_from(listed, spec, str(root), tuple(file for files in chosen.values() for file in files), 0)


def loaded_bytes(spec: HuggingFaceSpec) -> int:
    """Return about how much memory the data set takes while it is loaded, by the sizes of its files."""
    _, chosen = _found(spec)
    files = [file for split in chosen.values() for file in split]
    text = sum(file.stat().st_size for file in files)
    pixels = sum(map(table_rows, files)) * 3 * spec.size**2 * len(spec.modalities)
    return _TIMES_IN_MEMORY * text + pixels


def _found(spec: HuggingFaceSpec) -> tuple[Path, dict[str, list[Path]]]:
    """Return the folder, and the files of the splits that are read."""
    root = need_located(spec.path, "data.path")
    splits = splits_of(root)
    wanted = {"train": spec.train, "test": spec.test}
    if spec.train == spec.test:
        raise BadInputError("data.test: is the split that is learned from; null draws a test from it")
    for field, name in wanted.items():
        if name is not None and name not in splits:
            raise BadInputError(
                f"data.{field}: {root} has no split {shown(name)}; it has {', '.join(sorted(splits))}"
                f"{nearest(name, splits)}"
            )
    return root, {name: splits[name] for name in wanted.values() if name is not None}


def _columns(spec: HuggingFaceSpec) -> Sequence[str]:
    named = [(given,) if isinstance(given, str) else given for given in spec.modalities.values()]
    return [*(column for columns in named for column in columns), spec.label, *spec.keys]


def _values(spec: HuggingFaceSpec, modality: str, table: pa.Table, where: str) -> npt.NDArray[Any] | list[str]:
    """Return a modality of one split: bytes of images, floats, tokens, or texts."""
    given = spec.modalities[modality]
    if not isinstance(given, str):
        return np.stack([_numbers(table[name], f"{where}: {shown(name)}") for name in given], axis=1)
    column, what = table[given], f"{where}: {shown(given)}"
    if pa.types.is_struct(column.type) and "bytes" in {field.name for field in column.type}:
        images = [
            _image(cell, f"{what}, row {row}", spec.size, modality in spec.gray)
            for row, cell in enumerate(column.to_pylist())
        ]
        return np.stack(images) if images else np.empty((0, 1, spec.size, spec.size), np.uint8)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        texts: list[str | None] = column.to_pylist()
        if None in texts:
            raise BadFileError(f"{what}, row {texts.index(None)}: is empty")
        return [str(text) for text in texts]
    array = array_of(column, what)
    return _numbers(column, what)[:, None] if array.ndim == 1 else array


def _numbers(column: pa.ChunkedArray, what: str) -> npt.NDArray[np.float32]:
    array = array_of(column, what)
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise BadFileError(f"{what} must be one number per row; it is {shortened(column.type, 60)}")
    return array.astype(np.float32)


def _image(cell: Mapping[str, Any] | None, where: str, size: int, gray: bool) -> npt.NDArray[np.uint8]:
    content = (cell or {}).get("bytes")
    if content is None:
        raise BadFileError(f"{where}: has no image in it; embed the files, as save_to_disk and to_parquet do")
    return pixels_in(content, where, size, gray)


def _labels(table: pa.Table, column: str, where: str) -> list[str | int]:
    found: list[Any] = table[column].to_pylist()
    for row, label in enumerate(found):
        if not isinstance(label, str | int) or (isinstance(label, int) and label < 0):
            raise BadFileError(
                f"{where}: {shown(column)}, row {row}: must be a class from 0 on or a name; it is {shown(label)}"
                f"{', which means unlabelled' if label == -1 else ''}"
            )
    return found


def _keys(column: str, table: pa.Table, where: str) -> list[str]:
    found = table[column].to_pylist()
    if None in found:
        raise BadFileError(f"{where}: {shown(column)}, row {found.index(None)}: is empty")
    return list(map(str, found))


def _joined(parts: Sequence[Any]) -> Any:
    """Return the values of several splits, one after the other."""
    if isinstance(parts[0], list):
        return [text for part in parts for text in part]
    if len({part.shape[1:] for part in parts}) > 1:
        raise BadInputError(f"data.modalities: samples differ in shape between splits: {parts[0].shape[1:]} and others")
    return np.concatenate(parts)


SOURCE = Source(
    options=HuggingFaceSpec,
    load=load,
    loaded_bytes=loaded_bytes,
    origin="the Hugging Face Hub, by its own tools",
    licence="see its card",
)
