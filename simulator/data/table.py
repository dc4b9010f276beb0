"""table: your own data; data.file names a CSV file with a row per sample: label, split, keys and the modalities.

A modality is some columns of numbers, a column of texts, or a column that names image files, relative to the CSV file.
It may lie in a CSV file of its own, whose rows are those of the list: in its order, or found by a column `id`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.directory import need_located
from interlude.simulator.data.images import read_pixels
from interlude.simulator.data.listed import ImageSize, Listed, ListedSpec, dataset_from
from interlude.simulator.data.source import Source
from interlude.simulator.data.table_rows import Rows, numbers_of, read_rows, unnamed_columns
from interlude.simulator.errors import BadFileError, BadInputError, shown

_SPLITS = {"train": False, "training": False, "test": True}


class ModalityColumns(BaseModel):
    """Where a modality is: ``columns`` of numbers, a column of ``texts``, or one of ``images``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path | None = Field(None, description="its own CSV file; unset: the list of the samples")
    columns: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None, description="columns of numbers; unset: all of the file that are named nowhere else"
    )
    shape: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None = Field(
        None, description="shape of a sample's numbers, channels first, e.g. [3, 128]; unset: as many as columns"
    )
    texts: str | None = Field(None, description="column of texts, which become words as numbers")
    images: str | None = Field(None, description="column that names image files, relative to the CSV file")
    size: ImageSize = 32
    gray: bool = Field(False, description="read images without their colours")

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        given = [name for name in ("columns", "texts", "images") if getattr(self, name) is not None]
        if len(given) > 1 or (self.shape is not None and given not in ([], ["columns"])):
            raise ValueError("is 'columns' of numbers with a 'shape', 'texts' or 'images', not several of them")
        return self

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that it names."""
        return (*(self.columns or ()), *(name for name in (self.texts, self.images) if name is not None))


class TableSpec(ListedSpec):
    """Options of a user's own CSV files."""

    dataset: Literal["table"] = "table"
    file: Path = Field(description="CSV file with a row per sample; relative to the scenario or the data directory")
    label: str = Field("label", description="column with the class, a name or a number")
    split: str | None = Field(None, description="column that says train or test; unset: the test is drawn")
    id: str | None = Field(None, description="column that names a sample, in every file; unset: rows are in one order")
    keys: tuple[str, ...] = Field((), description="columns that say what a sample belongs to, for natural partitions")
    modalities: Annotated[dict[str, ModalityColumns], Field(min_length=1)]
    on_missing: Literal["refuse", "drop", "keep"] = Field(
        "refuse",
        description="treatment of samples that a modality's file does not have: refused, left out, or kept without it",
    )

    def __hash__(self) -> int:
        """Return a hash of all fields; mappings have none of their own."""
        return hash(self.model_dump_json())

    @model_validator(mode="after")
    def _drops_by_id(self) -> Self:
        if self.on_missing != "refuse" and self.id is None:
            raise ValueError(
                f"on_missing: {self.on_missing} needs an 'id', the column by which rows of several files are matched"
            )
        return self

    @property
    def described(self) -> tuple[str, ...]:
        """The columns of the list that are no modality's."""
        return (self.label, *(name for name in (self.split, self.id) if name is not None), *self.keys)


def load(spec: TableSpec) -> Dataset:
    """Return the data set of a user's own CSV files.

    Raises:
        BadInputError: naming the file, the line, what was found and what is expected.
    """
    path = need_located(spec.file, "data.file")
    listed = read_rows(path, list(dict.fromkeys(spec.described)))
    own: dict[str, Rows] = {m: _rows_of(spec, m, path) for m in spec.modalities}
    places = {m: _matched(listed, rows, spec) for m, rows in own.items()}
    keeps = spec.on_missing == "keep"
    kept = [i for i in range(len(listed)) if keeps or all(places[m][i] is not None for m in own)]
    values = {m: _values(spec.modalities[m], rows, [places[m][i] for i in kept]) for m, rows in own.items()}
    described = {name: [listed.cells(name)[i] for i in kept] for name in spec.described}
    _need_all(described, listed, kept)
    samples = Listed(
        values=values,
        labels=described[spec.label],
        is_test=None if spec.split is None else [_is_test(listed, spec.split, i) for i in kept],
        keys={key: described[key] for key in spec.keys},
        names=None if spec.id is None else described[spec.id],
    )
    files = tuple(dict.fromkeys([path, *(rows.path for rows in own.values())]))
    dataset = dataset_from(samples, spec, str(path), files, len(listed) - len(kept))
    lacking = {m: replace(given, may_lack=True) for m, given in dataset.inputs.items() if keeps and None in places[m]}
    return replace(dataset, stored={**dataset.stored, **lacking})


def loaded_bytes(spec: TableSpec) -> int:
    """Return about how much memory the data set takes while it is loaded, by the sizes of its files."""
    path = need_located(spec.file, "data.file")
    files = {path, *(need_located(m.file, "data.modalities") for m in spec.modalities.values() if m.file is not None)}
    text = sum(file.stat().st_size for file in files if file.is_file())
    images = [m.size**2 * (1 if m.gray else 3) for m in spec.modalities.values() if m.images is not None]
    num_rows = 0
    if images and path.is_file():
        with path.open("rb") as handle:
            num_rows = sum(1 for _ in handle)
    return 10 * text + num_rows * sum(images)  # a cell of a few letters is an object of Python for a while


def _rows_of(spec: TableSpec, modality: str, listed: Path) -> Rows:
    """Return the rows that hold a modality."""
    wanted = spec.modalities[modality]
    path = listed if wanted.file is None else need_located(wanted.file, f"data.modalities.{modality}.file")
    columns = wanted.named
    if not columns:
        others = [m.named for m in spec.modalities.values()]
        columns = unnamed_columns(path, {*spec.described, *(name for names in others for name in names)})
    ids = [spec.id] if spec.id is not None else []
    return read_rows(path, list(dict.fromkeys([*columns, *ids])), columns)


def _matched(listed: Rows, rows: Rows, spec: TableSpec) -> list[int | None]:
    """Return for each sample of the list its row of a modality; None for one that is left out."""
    if rows.path == listed.path:
        return list(range(len(listed)))
    if spec.id is None:
        if len(rows) != len(listed):
            raise BadInputError(
                f"{rows.path}: has {len(rows)} rows, but {listed.path} has {len(listed)}; give both a column that "
                "names the sample, and name it as data.id"
            )
        return list(range(len(listed)))
    known = rows.by_name(spec.id)
    listed.by_name(spec.id)  # refuses a name that stands twice
    found = [known.get(name) for name in listed.cells(spec.id)]
    if None in found and spec.on_missing == "refuse":
        first = found.index(None)
        raise BadInputError(
            f"{listed.where(first)}: sample {shown(listed.cells(spec.id)[first])} is not in {rows.path}; "
            "data.on_missing: drop leaves such samples out, keep has them without it"
        )
    return found


def _values(wanted: ModalityColumns, rows: Rows, places: Sequence[int | None]) -> npt.NDArray[np.generic] | list[str]:
    """Return what samples have of a modality by their rows; None: an empty text, or numbers that are NaN."""
    there = [place for place in places if place is not None]
    if wanted.texts is not None:
        cells = rows.cells(wanted.texts)
        return ["" if place is None else cells[place] for place in places]
    if wanted.images is not None:
        found = np.stack([_image(wanted, rows, place) for place in there]) if there else np.empty((0, 1), np.uint8)
        if len(there) == len(places):
            return found
        found = (found / 255.0).astype(np.float32)
    else:
        found = numbers_of(rows, there, wanted.shape)
    whole = np.full((len(places), *found.shape[1:]), np.nan, dtype=found.dtype)
    whole[[place is not None for place in places]] = found
    return whole


def _image(wanted: ModalityColumns, rows: Rows, place: int) -> npt.NDArray[np.generic]:
    name = rows.cells(str(wanted.images))[place]
    if not name:
        raise BadFileError(f"{rows.where(place)}, column {shown(wanted.images)}: is empty; it names an image file")
    try:
        return read_pixels(rows.path.parent / name, wanted.size, wanted.gray)
    except BadFileError as error:
        raise BadFileError(f"{rows.where(place)}: {error}") from error


def _need_all(described: Mapping[str, list[str]], listed: Rows, kept: list[int]) -> None:
    for name, cells in described.items():
        if "" in cells:
            raise BadFileError(f"{listed.where(kept[cells.index('')])}, column {shown(name)}: is empty")


def _is_test(listed: Rows, column: str, place: int) -> bool:
    said = listed.cells(column)[place]
    if said.lower() not in _SPLITS:
        raise BadFileError(f"{listed.where(place)}, column {shown(column)}: must be train or test; given {shown(said)}")
    return _SPLITS[said.lower()]


SOURCE = Source(
    options=TableSpec,
    load=load,
    loaded_bytes=loaded_bytes,
    origin="yours",
    licence="yours",
)
