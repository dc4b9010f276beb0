"""IDX files, the format of MNIST and its relatives: a header of big-endian sizes, then bytes."""

import gzip
import hashlib
import math
from io import BufferedReader
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interlude.simulator.errors import BadFileError, BadInputError
from interlude.simulator.files import need_regular, reading

Bytes = npt.NDArray[np.uint8]

_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08
_SIZE_BYTES = 4
_MOST_BYTES = 1 << 30
"""The largest array that is read; the largest relatives of MNIST have 0.64 GB."""


def read_idx(path: Path, num_axes: int, sha256: str | None = None) -> Bytes:
    """Return the array of an IDX file of unsigned bytes, compressed by gzip or not.

    Args:
        path: the file.
        num_axes: expected axes of the array: 3 for images, 1 for labels.
        sha256: expected hash of the content, uncompressed; None: any.

    Raises:
        BadInputError: naming the file, what was expected and what was found.
    """
    with reading(need_regular(path), "an IDX file, compressed by gzip or not"), path.open("rb") as raw:
        is_gzip = raw.read(len(_GZIP)) == _GZIP
        raw.seek(0)
        with gzip.open(raw) if is_gzip else raw as content:
            return _read(content, path, num_axes, sha256)


def _read(content: gzip.GzipFile | BufferedReader, path: Path, num_axes: int, sha256: str | None) -> Bytes:
    """Read the header, then as many bytes as it says and no more."""
    magic = (_UNSIGNED_BYTE << 8) + num_axes
    header = content.read(_SIZE_BYTES * (1 + num_axes))
    if len(header) < _SIZE_BYTES * (1 + num_axes):
        raise BadFileError(f"{path}: is too short for an IDX header; an IDX file of bytes begins with {magic}")
    first, *shape = np.frombuffer(header, dtype=">u4").tolist()
    if first != magic:
        raise BadFileError(
            f"{path}: begins with the number {first}; an IDX file of bytes with {num_axes} axes begins with {magic}"
        )
    num_bytes = math.prod(shape)
    said = f"its header says {' x '.join(map(str, shape))} = {num_bytes} bytes"
    if num_bytes > _MOST_BYTES:
        raise BadFileError(f"{path}: {said}; at most {_MOST_BYTES} are read")
    values = content.read(num_bytes + 1)
    if len(values) != num_bytes:
        follow = f"{len(values)} follow" if len(values) < num_bytes else "more follow"
        raise BadFileError(f"{path}: {said}, but {follow}")
    if sha256 is not None and (hashed := hashlib.sha256(header + values).hexdigest()) != sha256:
        raise BadInputError(
            f"{path}: is not the published file: the sha256 of its content is {hashed}, not {sha256}; "
            "set data.verify to false to read other data of this layout"
        )
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)
