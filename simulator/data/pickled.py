"""NumPy files of Python objects, which are pickles: read without running anything that they name.

A pickle may call any function that can be imported. Arrays of numbers need four names; stand-ins take their places
here, and build an array only once its shape, type and bytes agree. Every other name is refused.
"""

import math
import pickle
import pickletools
import re
from collections.abc import Callable, Sized
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from interlude.simulator.errors import BadFileError, shortened, shown
from interlude.simulator.files import need_regular, reading

_MOST_BYTES = 1 << 27
_MOST_MEMO = 1 << 16
"""Objects that a pickle may number; a larger number in one opcode would allocate a table of that length."""
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_TYPES = re.compile(r"[fiub][1248]|O8")
_RECONSTRUCT = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
"""As NumPy 1 and NumPy 2 name it."""
_NDARRAY = "numpy.ndarray"


class PickledArray:
    """An array in a pickle."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: npt.NDArray[Any] | list[Any] = []
        """Numbers, read-only; or the objects of an object array, as a flat list."""

    def __setstate__(self, state: Any) -> None:
        """Take shape, type and content."""
        _, shape, kind, is_fortran, content = state
        if not isinstance(shape, tuple) or any(type(length) is not int or length < 0 for length in shape):
            raise ValueError(f"an array has the shape {shortened(shape, 60)}")
        if isinstance(kind, _PickledType) and kind.is_object and isinstance(content, list):
            _check_length(content, shape, math.prod(shape), "objects")
            self.values = content
        elif isinstance(kind, _PickledType) and not kind.is_object and isinstance(content, bytes):
            dtype = np.dtype(kind.order + kind.code)
            _check_length(content, shape, math.prod(shape) * dtype.itemsize, "bytes")
            self.values = np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
        else:
            raise ValueError("an array's content is not of its type")


def _check_length(content: Sized, shape: tuple[int, ...], num_needed: int, unit: str) -> None:
    if len(content) != num_needed:
        needs = f"{shortened(num_needed, 30)} {unit}"
        raise ValueError(f"an array of shape {shortened(shape, 60)} needs {needs}, but holds {len(content)}")


class _PickledType:
    """A type of numbers, or of objects, in a pickle."""

    __slots__ = ("code", "order")

    def __init__(self, code: object, *_flags: object) -> None:
        if not isinstance(code, str) or not _TYPES.fullmatch(code):
            raise ValueError(f"{shown(code, 30)} is no type of numbers")
        self.code = code
        self.order = "="

    @property
    def is_object(self) -> bool:
        return self.code == "O8"

    def __setstate__(self, state: Any) -> None:
        """Take the order of bytes; records and arrays inside numbers are refused."""
        _, order, *parts = state
        if order not in ("<", ">", "|", "=") or any(part is not None for part in parts[:3]):
            raise ValueError("a type is not that of plain numbers")
        self.order = order


class _StandIn:
    """A function in a pickle. Unlike a bound method it has no attributes that a pickle could set for all others."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: object) -> Any:
        return self._function(*arguments)


class _Unpickler(pickle.Unpickler):
    """Reads a pickle of arrays, lists, dictionaries, texts and numbers."""

    def __init__(self, content: bytes, path: Path) -> None:
        super().__init__(BytesIO(content))
        self._path = path
        self._num_left = len(content)
        """Bytes that texts may still be turned into: a short pickle could ask for one long text again and again."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for one of the four names."""
        match f"{module}.{name}":
            case known if known in _RECONSTRUCT:
                return _StandIn(self._reconstruct)
            case "numpy.ndarray":
                return _NDARRAY
            case "numpy.dtype":
                return _StandIn(_PickledType)
            case "_codecs.encode":
                return _StandIn(self._encode)
            case other:
                raise BadFileError(
                    f"{self._path}: is a pickle that asks for {shown(other)}, which arrays of numbers do not need; "
                    "it is not opened"
                )

    def _reconstruct(self, kind: object, _shape: object, _code: object) -> PickledArray:
        if kind != _NDARRAY:
            raise ValueError(f"{shown(kind, 30)} is no kind of array")
        return PickledArray()

    def _encode(self, text: str, encoding: str) -> bytes:
        """Return the bytes that a pickle of protocol 2 writes as a text."""
        self._num_left -= len(text)
        if encoding != "latin1" or self._num_left < 0:
            raise ValueError("a text is not one of an array's bytes")
        return text.encode("latin1")


def read_pickled(path: Path) -> Any:
    """Return the object that `numpy.save` was given; its arrays as `PickledArray`.

    Args:
        path: an .npy file that holds a single object, such as a dictionary of arrays.

    Raises:
        BadFileError: if it is not one, is damaged, or asks for anything but arrays of numbers; nothing of it is run.
    """
    with reading(need_regular(path), "an .npy file of arrays in a dictionary"), path.open("rb") as stream:
        if path.stat().st_size > _MOST_BYTES:
            raise BadFileError(f"{path}: has more than {_MOST_BYTES} bytes")
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise BadFileError(
                f"{path}: is of the .npy format's version {version[0]}.{version[1]}, expected 1.0 or 2.0"
            )
        shape, _, dtype = _HEADERS[version](stream)
        if shape != () or dtype != np.dtype(object):
            raise BadFileError(
                f"{path}: holds {shortened(dtype, 30)} of shape {shortened(shape, 60)}, expected a single object"
            )
        content = stream.read()
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name.endswith("PUT") and int(argument or 0) > _MOST_MEMO:
                raise BadFileError(f"{path}: is a pickle of more than {_MOST_MEMO} objects")
        held = _Unpickler(content, path).load()
        if not isinstance(held, PickledArray) or len(held.values) != 1:
            raise BadFileError(f"{path}: is no pickle of an array, as its header says")
        return held.values[0]
