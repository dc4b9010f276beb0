"""ave: 4,143 audio-visual events of 28 classes in 4,097 videos of ten seconds, audio + video.

Tian et al., "Audio-Visual Event Localization in Unconstrained Videos", ECCV 2018. Preprocessing as in the code of
OGM-GE (CVPR 2022) and BMSFed (ECCV 2024): the sound of the event, repeated to 10 s at 16 kHz, and frames of the event,
one for each second. Classes are numbered in the order in which testSet.txt first names them. The validation set is not
used: that code evaluates on the test set.

Differences from that code, each on purpose: frames are evenly spread over the event (``frames: first`` takes the
first ones, in the order of their names); no random crops and flips; ``Audio-1004-SE/<id>.pkl`` are pickles, which could
run any code: never opened.

A video may hold several events: trainSet.txt has 3,338 lines and 3,311 distinct videos. By default the first line of a
video counts, as where that code trains without clients; ``repeated: keep`` keeps every line, named ``<id>/<category>``,
as the files do in which that code shares samples among clients.

RECONSTRUCTION: seconds of raw videos are counted from 0 and a frame shows the middle of its second, so an event
[start, end) shows in frames start to end, the last of which lies behind it; an event that ends where it starts (there
is one that says 0 to 0) lasts the whole clip.
"""

from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from interlude.simulator.data.clips import ClipPreparation, ClipSpec, images_of, lines_of
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.directory import cache_directory, need_data_directory
from interlude.simulator.data.prepare import Item, Split, open_prepared
from interlude.simulator.data.source import Expected, Source
from interlude.simulator.errors import BadInputError, nearest, shown
from interlude.simulator.formats.csv_files import whole_number

NAME = "ave"
FOLDER = NAME

_CLIP_S = 10
_NUM_VIDEOS = 4_097
_IMAGES, _VIDEOS, _SOUNDS = "Image-01-FPS-SE", "AVE", "Audios"
_FILES: dict[Split, str] = {"train": "trainSet.txt", "test": "testSet.txt"}

_LISTS = (
    *(Expected(f"{FOLDER}/{name}") for name in _FILES.values()),
    Expected(f"{FOLDER}/valSet.txt", optional=True),
    Expected(f"{FOLDER}/Annotations.txt", optional=True),
)
LAYOUTS = (
    (*_LISTS, Expected(f"{FOLDER}/{_VIDEOS}/*.mp4", count=_NUM_VIDEOS)),
    (
        *_LISTS,
        Expected(f"{FOLDER}/{_SOUNDS}/*.wav", count=_NUM_VIDEOS),
        Expected(f"{FOLDER}/{_IMAGES}/*/*.jpg", count=_NUM_VIDEOS),
    ),
)


class AveSpec(ClipSpec):
    """Options of ave."""

    dataset: Literal["ave"] = "ave"
    num_frames: int = Field(4, ge=1, le=10, description="frames of each clip")
    repeated: Literal["first", "keep"] = Field(
        "first", description="further events of a video: left out, or samples of their own"
    )


class _Event(NamedTuple):
    """A line of a split file."""

    category: str
    video: str
    span_s: tuple[int, int]
    """The seconds [start, end) of the event."""


class AvePreparation(ClipPreparation):
    """How the clips of AVE are read."""

    spec: AveSpec
    clip_s: ClassVar[int] = _CLIP_S
    fewest_frames: ClassVar[int] = _CLIP_S

    @property
    def num_classes(self) -> int:
        """The categories of the test set, 28."""
        return len(self._categories())

    def items(self) -> list[Item]:
        """Return every event that counts, in the order of the split files."""
        categories = self._categories()
        sounds, images = (folder in self.folders() for folder in (_SOUNDS, _IMAGES))
        items = []
        for split in _FILES:
            seen: set[str] = set()
            for category, video, span_s in self._events(split, categories):
                if video in seen and self.spec.repeated == "first":
                    continue
                seen.add(video)
                raw = (str(self.root / _VIDEOS / f"{video}.mp4"),)
                files = {
                    "audio": (str(self.root / _SOUNDS / f"{video}.wav"),) if sounds else raw,
                    "video": images_of(self.root / _IMAGES / video) if images else raw,
                }
                name = video if self.spec.repeated == "first" else f"{video}/{category}"
                items.append(Item(name, split, categories.index(category), files, span_s=span_s))
        return items

    def index_files(self) -> list[Path]:
        """Return the split files."""
        return [self.root / name for name in _FILES.values()]

    def folders(self) -> tuple[str, ...]:
        """Return where sound and pictures are read from: extracted files where they exist, else the videos."""
        return tuple(name if (self.root / name).is_dir() else _VIDEOS for name in (_SOUNDS, _IMAGES))

    def _categories(self) -> list[str]:
        """Return the classes in the order in which the test set first names them."""
        return list(dict.fromkeys(event.category for event in self._events("test")))

    def _events(self, split: Split, categories: list[str] | None = None) -> list[_Event]:
        path = self.root / _FILES[split]
        events = []
        for number, line in enumerate(lines_of(path), start=1):
            if not line.strip() or line.startswith("Category&"):
                continue
            event = _parsed(line, f"{path}, line {number}")
            if categories is not None and event.category not in categories:
                raise BadInputError(
                    f"{path}, line {number}: unknown category {shown(event.category)}; categories are those of "
                    f"{_FILES['test']}{nearest(event.category, categories)}"
                )
            events.append(event)
        return events


def preparation(spec: AveSpec) -> AvePreparation:
    """Return how the clips below the data directory are read."""
    return AvePreparation(spec, need_data_directory(NAME) / FOLDER)


def load(spec: AveSpec) -> Dataset:
    """Return the prepared data set: ``audio`` [N, 1, 257, 1004] and ``video`` [N, 3, T, S, S] bytes."""
    return open_prepared(preparation(spec), cache_directory(NAME), NAME, spec.to_set())


def _parsed(line: str, where: str) -> _Event:
    """Return what ``Category&VideoID&Quality&Start&End`` says."""
    fields = [field.strip() for field in line.split("&")]
    start_s, end_s = map(whole_number, fields[3:5]) if len(fields) == 5 else (None, None)
    if start_s is None or end_s is None:
        raise BadInputError(f"{where}: must be Category&VideoID&Quality&Start&End, given {shown(line)}")
    category, video = fields[:2]
    if not (start_s <= end_s <= _CLIP_S) or start_s == _CLIP_S:
        raise BadInputError(f"{where}: an event lies within 0 to {_CLIP_S} s, given {start_s} to {end_s}")
    return _Event(category, video, (start_s, end_s) if start_s < end_s else (0, _CLIP_S))


SOURCE = Source(
    options=AveSpec,
    load=load,
    origin="github.com/YapengTian/AVE-ECCV18, AVE_Dataset.zip, its content in ave/",
    licence="see origin (videos of YouTube users, by way of AudioSet)",
    layouts=LAYOUTS,
    preparation=preparation,
)
