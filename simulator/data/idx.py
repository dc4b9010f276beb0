"""IDX files, the format of MNIST and its relatives: a header of big-endian sizes, then bytes."""

import gzip
import hashlib
import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interlude.simulator.errors import BadInputError

Bytes = npt.NDArray[np.uint8]

_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08
_SIZE_BYTES = 4


def read_idx(path: Path, num_axes: int, sha256: str | None = None) -> Bytes:
    """Return the array of an IDX file of unsigned bytes, compressed by gzip or not.

    Args:
        path: the file.
        num_axes: expected axes of the array: 3 for images, 1 for labels.
        sha256: expected hash of the content, uncompressed; None: any.

    Raises:
        BadInputError: naming the file, what was expected and what was found.
    """
    content = _content(path)
    magic = (_UNSIGNED_BYTE << 8) + num_axes
    header_bytes = _SIZE_BYTES * (1 + num_axes)
    if len(content) < header_bytes or (found := int.from_bytes(content[:_SIZE_BYTES], "big")) != magic:
        said = "is too short for an IDX header" if len(content) < header_bytes else f"begins with the number {found}"
        raise BadInputError(f"{path}: {said}; an IDX file of bytes with {num_axes} axes begins with {magic}")
    shape = tuple(np.frombuffer(content, dtype=">u4", count=num_axes, offset=_SIZE_BYTES).tolist())
    held, said_bytes = len(content) - header_bytes, math.prod(shape)
    if held != said_bytes:
        sizes = " x ".join(map(str, shape))
        raise BadInputError(f"{path}: its header says {sizes} = {said_bytes} bytes, but {held} follow")
    if sha256 is not None and (hashed := hashlib.sha256(content).hexdigest()) != sha256:
        raise BadInputError(
            f"{path}: is not the published file: the sha256 of its content is {hashed}, not {sha256}; "
            "set data.verify to false to read other data of this layout"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header_bytes).reshape(shape)


def _content(path: Path) -> bytes:
    """Return what a file holds, uncompressed."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP) else content
    except EOFError as error:
        raise BadInputError(
            f"{path}: the gzip file ends before its end; it was not copied or downloaded whole"
        ) from error
    except (OSError, zlib.error) as error:
        raise BadInputError(f"{path}: cannot be read: {error}") from error
