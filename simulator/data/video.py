"""The pictures of a clip: one for each second of a video, decoded with PyAV, or image files, read with Pillow."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from interlude.simulator.data.extras import media
from interlude.simulator.data.images import channels_first, resized
from interlude.simulator.errors import BadFileError
from interlude.simulator.files import need_regular, reading

if TYPE_CHECKING:
    from PIL import Image

Choice = Literal["spread", "first"]

_LONGEST_S = 60
"""The longest clip: a damaged time of a frame would stand for as many frames as seconds before it."""


def frame_each_second(path: Path, fewest: int) -> "list[Image.Image]":
    """Return the frames nearest to 0.5 s, 1.5 s, 2.5 s ... of a video, the way the papers' code makes its images.

    Args:
        path: the video.
        fewest: the last frame is repeated up to this number.

    Raises:
        BadInputError: if the file is damaged, shows no picture or is not a video, or PyAV is not installed.
    """
    av = media("av")
    kept: list[Image.Image] = []
    before: Any = None
    before_s = start_s = 0.0
    with reading(need_regular(path), "a video"), av.open(str(path)) as container:
        if not container.streams.video:
            raise BadFileError(f"{path}: is damaged or has no pictures")
        for frame in container.decode(video=0):
            if frame.time is None:
                continue
            start_s = frame.time if before is None else start_s
            now_s = frame.time - start_s
            if now_s > _LONGEST_S:
                raise BadFileError(f"{path}: is a clip, but has a frame at {now_s:.6g} s, after {_LONGEST_S} s")
            while now_s >= (due_s := len(kept) + 0.5):
                is_before = before is not None and due_s - before_s < now_s - due_s
                kept.append((before if is_before else frame).to_image())
            before, before_s = frame, now_s
        if before is None:
            raise BadFileError(f"{path}: holds no frame")
        rate_hz = container.streams.video[0].average_rate
        end_s = before_s + (float(1 / rate_hz) if rate_hz else 0.0)
        num_frames = max(fewest, len(kept) + (end_s > len(kept) + 0.5))
        last = before.to_image()
    return kept + [last] * (num_frames - len(kept))


def chosen(num_there: int, num_wanted: int, choice: Choice) -> list[int]:
    """Return which frames of a clip are taken: the first ones, or from the middles of equal parts of the clip.

    A clip with too few frames repeats some of them.
    """
    if choice == "first":
        return [min(k, num_there - 1) for k in range(num_wanted)]
    return [(2 * k + 1) * num_there // (2 * num_wanted) for k in range(num_wanted)]


def stacked(frames: "Sequence[Image.Image]", image_size: int) -> npt.NDArray[Any]:
    """Return T frames as bytes [3, T, image_size, image_size]."""
    return np.stack([channels_first(resized(frame, image_size)) for frame in frames], axis=1)
