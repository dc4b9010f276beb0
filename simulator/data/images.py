"""Image files as bytes, read with Pillow."""

import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from interlude.simulator.errors import BadFileError, BadInputError
from interlude.simulator.files import need_regular, reading

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "PPM")
"""Not those that Pillow reads with the help of another program."""
_LONGEST_SIDE, _MOST_PIXELS = 16_384, 100_000_000
"""By its header a larger image is refused, before it is decoded or padded to a square."""


def read_rgb(path: Path) -> "Image.Image":
    """Return an image in red, green and blue, whatever colours its file uses.

    Raises:
        BadInputError: if the file is truncated, too large or not an image, or Pillow is not installed.
    """
    return _rgb(need_regular(path), path)


def _rgb(content: Path | BytesIO, path: Path) -> "Image.Image":
    try:
        from PIL import Image
    except ImportError as error:
        raise BadInputError("images are read with Pillow; install it with: pip install 'interlude[media]'") from error
    with reading(path, "an image"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow: the sizes it warns of are refused below
        with Image.open(content, formats=_FORMATS) as image:
            if max(image.size) > _LONGEST_SIDE or image.width * image.height > _MOST_PIXELS:
                raise BadFileError(
                    f"{path}: has {image.width} x {image.height} pixels; at most {_LONGEST_SIDE} a side and "
                    f"{_MOST_PIXELS} in all are read"
                )
            return image.convert("RGB")


def square(image: "Image.Image") -> "Image.Image":
    """Return an image in the middle of the smallest square that holds it, on black."""
    from PIL import Image

    side = max(image.size)
    padded = Image.new("RGB", (side, side))
    padded.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return padded


def resized(image: "Image.Image", size: int) -> "Image.Image":
    """Return a square image [size, size], bilinear and, where it gets smaller, anti-aliased."""
    from PIL import Image

    return image.resize((size, size), Image.Resampling.BILINEAR)


def centre(image: "Image.Image", size: int) -> "Image.Image":
    """Return the [size, size] pixels in the middle of an image."""
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def channels_first(image: "Image.Image") -> npt.NDArray[Any]:
    """Return an image as bytes [3, H, W]."""
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8).transpose(2, 0, 1))


def read_pixels(path: Path, size: int, gray: bool) -> npt.NDArray[np.uint8]:
    """Return an image file as bytes [3, size, size], or [1, size, size] in gray; on black where it is no square.

    Raises:
        BadInputError: if the file is not an image that can be read.
    """
    return _pixels(read_rgb(path), size, gray)


def pixels_in(content: bytes, where: str, size: int, gray: bool) -> npt.NDArray[np.uint8]:
    """Return the image that the bytes of a file stand for, as `read_pixels` does.

    Raises:
        BadInputError: beginning with `where`, if they are not an image that can be read.
    """
    return _pixels(_rgb(BytesIO(content), Path(where)), size, gray)


def _pixels(image: "Image.Image", size: int, gray: bool) -> npt.NDArray[np.uint8]:
    pixels = resized(square(image), size)
    return np.asarray(pixels.convert("L"), dtype=np.uint8)[None] if gray else channels_first(pixels)
