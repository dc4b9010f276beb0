"""images: your own data; data.path names a folder with a folder per modality, and in it one per class.

``<path>/<modality>/<class>/<name>.png``, or ``<path>/<modality>/train/<class>/...`` and ``.../test/<class>/...``. A
sample's images have the same class and name in every modality.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.directory import need_located
from interlude.simulator.data.images import read_pixels
from interlude.simulator.data.listed import ImageSize, Listed, ListedSpec, dataset_from
from interlude.simulator.data.source import Source
from interlude.simulator.errors import BadInputError, shown

_SPLITS = ("train", "test")


class ImagesSpec(ListedSpec):
    """Options of folders of images."""

    dataset: Literal["images"] = "images"
    path: Path = Field(description="the folder; relative to the scenario or the data directory")
    size: ImageSize = 32
    gray: tuple[str, ...] = Field((), description="modalities whose images are read without their colours")
    on_missing: Literal["refuse", "drop"] = Field(
        "refuse", description="treatment of samples of which a modality has no image"
    )
    version: int = Field(1, description="to be raised when images change: they are not part of a run's identity")


class _Sample(NamedTuple):
    split: str
    """Empty where the test is drawn."""
    label: str
    name: str


def load(spec: ImagesSpec) -> Dataset:
    """Return the data set of folders of images.

    Raises:
        BadInputError: naming the folder or file, what was found and what is expected.
    """
    root = need_located(spec.path, "data.path")
    found = {modality: dict(_images(folder)) for modality, folder in _modalities(root).items()}
    for modality in spec.gray:
        if modality not in found:
            raise BadInputError(f"data.gray: {root} has no modality {shown(modality)}; it has {', '.join(found)}")
    every = sorted({sample for files in found.values() for sample in files})
    samples = [sample for sample in every if _is_whole(sample, found, spec)]
    _need_splits(samples, root)
    values = {
        modality: np.stack([read_pixels(files[sample], spec.size, modality in spec.gray) for sample in samples])
        for modality, files in found.items()
    }
    listed = Listed(
        values=values,
        labels=[sample.label for sample in samples],
        is_test=[sample.split == "test" for sample in samples] if samples[0].split else None,
        names=[f"{sample.label}/{sample.name}" for sample in samples],
    )
    return dataset_from(listed, spec, str(root), (), len(every) - len(samples))


def loaded_bytes(spec: ImagesSpec) -> int:
    """Return about how much memory the data set takes while it is loaded, by the number of its files."""
    root = need_located(spec.path, "data.path")
    return sum(2 * 3 * spec.size**2 for folder in _modalities(root).values() for _ in _images(folder))


def _modalities(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        raise BadInputError(f"{root}: {'is not a folder' if root.exists() else 'does not exist'} (data.path)")
    folders = {folder.name: folder for folder in _inside(root) if folder.is_dir()}
    if not folders:
        raise BadInputError(f"{root}: has no folder; it needs one per modality, with one per class in each")
    if set(folders) & set(_SPLITS):
        raise BadInputError(f"{root}: has the folder 'train' or 'test', but it needs one per modality, with both in it")
    return folders


def _images(folder: Path) -> Iterator[tuple[_Sample, Path]]:
    """Yield the images of a modality, in the order of their names."""
    splits = [split for split in _SPLITS if (folder / split).is_dir()]
    if len(splits) == 1:
        raise BadInputError(
            f"{folder}: has the folder '{splits[0]}' alone; it needs train and test, or neither of them"
        )
    seen: dict[_Sample, Path] = {}
    for split in splits or [""]:
        for label in _inside(folder / split):
            if not label.is_dir():
                raise BadInputError(f"{label}: is not a folder; images lie in one folder per class")
            for path in _inside(label):
                sample = _Sample(split, label.name, path.stem)
                if sample in seen:
                    raise BadInputError(f"{path}: is the same sample as {seen[sample].name}; names must differ")
                seen[sample] = path
    yield from seen.items()


def _inside(folder: Path) -> list[Path]:
    """Return what lies in a folder, without hidden files."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _is_whole(sample: _Sample, found: dict[str, dict[_Sample, Path]], spec: ImagesSpec) -> bool:
    for modality, files in found.items():
        if sample not in files:
            if spec.on_missing == "drop":
                return False
            other = next(files[sample] for files in found.values() if sample in files)
            raise BadInputError(
                f"{other}: has no image of that class and name in {shown(modality)}; data.on_missing: drop leaves such "
                "samples out"
            )
    return True


def _need_splits(samples: list[_Sample], root: Path) -> None:
    if not samples:
        raise BadInputError(f"{root}: has no sample with an image in every modality")
    if len({bool(sample.split) for sample in samples}) > 1:
        raise BadInputError(f"{root}: some modalities have the folders train and test, others do not")


SOURCE = Source(
    options=ImagesSpec,
    load=load,
    loaded_bytes=loaded_bytes,
    origin="yours",
    licence="yours",
)
