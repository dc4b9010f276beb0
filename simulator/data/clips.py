"""Shared by the data sets of clips with sound and pictures: crema-d and ave."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from interlude.models.inputs import InputSpec
from interlude.simulator.data.audio import NUM_BINS, RATE_HZ, log_spectrogram, num_columns, read_sound, repeated
from interlude.simulator.data.images import read_rgb
from interlude.simulator.data.prepare import Arrays, Item
from interlude.simulator.data.source import need_file
from interlude.simulator.data.spec import DataSpec
from interlude.simulator.data.video import Choice, chosen, frame_each_second, stacked
from interlude.simulator.errors import BadInputError
from interlude.simulator.files import digest
from interlude.simulator.formats.csv_files import text_lines

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ClipSpec(DataSpec):
    """Options of data sets of clips."""

    num_frames: int = Field(3, ge=1, le=10, description="frames of each clip")
    frames: Choice = Field(
        "spread", description="which of a clip's frames: evenly spread, or the first ones as in the papers' code"
    )
    image_size: int = Field(224, ge=8, le=1024, description="pixels; frames are resized to a square")
    on_missing: Literal["refuse", "drop"] = Field("refuse", description="treatment of clips that lack a file")


@dataclass(frozen=True)
class ClipPreparation(ABC):
    """How clips become ``audio`` [1, 257, T] floats and ``video`` [3, num_frames, image_size, image_size] bytes."""

    spec: ClipSpec
    root: Path
    """The folder of the data set."""

    clip_s: ClassVar[int]
    """Length of the sound; a shorter one is repeated."""
    fewest_frames: ClassVar[int]
    """Number of frames assumed for a video, one a second, even if it is shorter."""

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        """What one clip looks like."""
        size = self.spec.image_size
        return {
            "audio": InputSpec((1, NUM_BINS, num_columns(self.clip_s))),
            "video": InputSpec((3, self.spec.num_frames, size, size), IMAGENET_MEAN, IMAGENET_STD),
        }

    @property
    @abstractmethod
    def num_classes(self) -> int:
        """How many classes there are."""

    @property
    def on_missing(self) -> Literal["drop", "refuse"]:
        """Whether clips that lack a file are left out or refused."""
        return self.spec.on_missing

    @abstractmethod
    def items(self) -> list[Item]:
        """Return every clip, in the order of the split files."""

    @abstractmethod
    def index_files(self) -> list[Path]:
        """Return the files that list the clips."""

    @abstractmethod
    def folders(self) -> tuple[str, ...]:
        """Return the names of the folders that sound and pictures are read from."""

    def version(self) -> str:
        """Return the options, where clips are read from, and the hashes of the files that list them."""
        said: dict[str, Any] = self.spec.model_dump(mode="json", exclude={"partition", "on_missing"})
        index = {path.name: digest(path) for path in self.index_files() if path.is_file()}
        return json.dumps({**said, "folders": self.folders(), "index": index}, sort_keys=True)

    def read(self, item: Item) -> Arrays:
        """Return a clip's spectrogram and frames.

        Raises:
            BadInputError: naming the file, if one is damaged or has nothing at the clip's time.
        """
        (audio,) = item.files["audio"]
        sound = read_sound(Path(audio))
        if item.span_s is not None:
            sound = sound[item.span_s[0] * RATE_HZ : item.span_s[1] * RATE_HZ]
        if not len(sound):
            raise BadInputError(f"{audio}: ends before second {item.span_s[0] if item.span_s else 0}")
        frames = self._frames(item)
        taken = [frames[i] for i in chosen(len(frames), self.spec.num_frames, self.spec.frames)]
        return {
            "audio": log_spectrogram(repeated(sound, self.clip_s))[None],
            "video": stacked(taken, self.spec.image_size),
        }

    def _frames(self, item: Item) -> list[Any]:
        paths = [Path(path) for path in item.files["video"]]
        if paths[0].suffix == ".jpg":
            return [read_rgb(path) for path in paths]
        frames = frame_each_second(paths[0], self.fewest_frames)
        if item.span_s is None:
            return frames
        start_s, end_s = item.span_s
        return frames[start_s : end_s + 1]


def images_of(folder: Path) -> tuple[str, ...]:
    """Return the images of a clip in the order of their names; if none exist, the path of a missing one."""
    return tuple(sorted(str(path) for path in folder.glob("*.jpg"))) or (str(folder / "00001.jpg"),)


def lines_of(path: Path) -> list[str]:
    """Return the lines of a file that lists clips.

    Raises:
        BadInputError: if it is missing or not text.
    """
    return list(text_lines(need_file(path)))
