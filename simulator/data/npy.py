"""NumPy's .npy files and .npz archives that others wrote: the headers first, then no more than they say.

NumPy's own reader allocates what a header says before it looks at the file, prints a warning for files of Python 2 and
raises errors of a dozen types. Here every header is compared with the size of its file or archive member.
"""

import math
import os
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch

from interlude.simulator.errors import BadFileError, shortened, shown
from interlude.simulator.files import need_regular, reading

Array = npt.NDArray[Any]

_NPZ, _NPY = "an .npz archive", "an .npy file"
_ENCRYPTED = 0x1  # bit of a member's flags
_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_CHUNK_BYTES = 1 << 24
_MOST_AXES = 32


@dataclass(frozen=True)
class Header:
    """What the beginning of an .npy file says."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool
    """Whether the first axis is the fastest."""
    offset: int
    """Position of the first value, in bytes."""

    @property
    def num_bytes(self) -> int:
        """Size of all values."""
        return math.prod(self.shape) * self.dtype.itemsize


def npy_header(path: Path) -> Header:
    """Return the header of an .npy file, which fits the file's size.

    Raises:
        BadFileError: if it is not one, holds Python objects, or has another size.
    """
    with reading(need_regular(path), _NPY), path.open("rb") as stream:
        return _header(stream, path.stat().st_size, str(path))


def read_npy(path: Path) -> Array:
    """Return the array of an .npy file.

    Raises:
        BadFileError: as `npy_header`.
    """
    header = npy_header(path)
    with reading(path, _NPY), path.open("rb") as stream:
        stream.seek(header.offset)
        return _values(stream, header)


def mapped(path: Path) -> torch.Tensor:
    """Return a tensor mapped from an .npy file.

    Where the file is writable its storage knows the file, so that worker processes map it, too.

    Raises:
        BadFileError: as `npy_header`, or if its values do not lie where a tensor's can.
    """
    header = npy_header(path)
    with reading(path, _NPY):
        is_shared = os.access(path, os.W_OK)
        content = torch.from_file(str(path), shared=is_shared, size=path.stat().st_size, dtype=torch.uint8)
        dtype = torch.from_numpy(np.empty(0, header.dtype)).dtype
        return content[header.offset :].view(dtype).view(header.shape)


def npz_headers(path: Path) -> Mapping[str, Header]:
    """Return the headers of the arrays in an .npz archive, by name; each fits the declared size of its member.

    Raises:
        BadFileError: if it is not one, a member is encrypted, given twice or no array, or holds Python objects.
    """
    with _members(path) as members:
        return {name: _member_header(path, name, *member) for name, member in members}


def read_npz(path: Path, names: Collection[str] | None = None) -> dict[str, Array]:
    """Return arrays in an .npz archive by name.

    Args:
        path: the archive.
        names: which are read; None: all.

    Raises:
        BadFileError: as `npz_headers`, or if a member is damaged.
    """
    arrays = {}
    with _members(path) as members:
        for name, (archive, info) in members:
            if names is not None and name not in names:
                continue
            header = _member_header(path, name, archive, info)
            with archive.open(info) as stream:
                stream.read(header.offset)
                arrays[name] = _values(stream, header)
    return arrays


Member = tuple[zipfile.ZipFile, zipfile.ZipInfo]


@contextmanager
def _members(path: Path) -> Iterator[list[tuple[str, Member]]]:
    """Open an archive; yields its members by the names of their arrays."""
    with reading(need_regular(path), _NPZ), zipfile.ZipFile(path) as archive:
        named: dict[str, Member] = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name == info.filename:
                raise BadFileError(f"{path}: member {shown(info.filename)} is no array, whose name ends in .npy")
            if name in named:
                raise BadFileError(f"{path}: holds {shown(name)} twice")
            if info.flag_bits & _ENCRYPTED:
                raise BadFileError(f"{path}: is encrypted; save it without a password")
            named[name] = (archive, info)
        yield list(named.items())


def _member_header(path: Path, name: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Header:
    with archive.open(info) as stream:
        return _header(stream, info.file_size, f"{path}: {shown(name)}")


def _header(stream: IO[bytes], num_bytes: int, what: str) -> Header:
    """Read a header and compare it with the size of its file."""
    version = np.lib.format.read_magic(stream)
    if version not in _READERS:
        raise BadFileError(f"{what}: is of the .npy format's version {version[0]}.{version[1]}; save plain arrays")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # files of Python 2 are read as well as others
        shape, is_fortran, dtype = _READERS[version](stream)
    if dtype.hasobject:
        raise BadFileError(f"{what}: holds Python objects, which are not read")
    if len(shape) > _MOST_AXES or any(type(length) is not int or length < 0 for length in shape):
        raise BadFileError(f"{what}: its header is damaged: it says the shape {shortened(shape, 60)}")
    header = Header(shape, dtype, is_fortran, stream.tell())
    held = num_bytes - header.offset
    if dtype.itemsize == 0 or held != header.num_bytes:
        raise BadFileError(
            f"{what}: its header says {shortened(dtype, 30)} of shape {shortened(shape, 60)}, "
            f"{shortened(header.num_bytes, 30)} bytes, but {held} follow"
        )
    return header


def _values(stream: IO[bytes], header: Header) -> Array:
    """Read an array, piece by piece: what is not there is never allocated twice."""
    values = np.empty(header.num_bytes, np.uint8)
    filled = 0
    while filled < len(values):
        piece = stream.read(min(_CHUNK_BYTES, len(values) - filled))
        if not piece:
            raise EOFError(f"ends after {filled} of {len(values)} bytes")
        values[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    typed = values.view(header.dtype)
    return typed.reshape(header.shape, order="F" if header.is_fortran else "C")
