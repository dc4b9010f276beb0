"""crema-d: 7,442 clips of 91 actors who say one of 12 sentences in six emotions, audio + video; key: speaker.

Cao et al., "CREMA-D: Crowd-Sourced Emotional Multimodal Actors Dataset", IEEE Transactions on Affective Computing 2014.
Preprocessing as in the code of OGM-GE (CVPR 2022) and BMSFed (ECCV 2024): the sound repeated to 3 s at 16 kHz, one
frame for each second. Differences from it, each on purpose:

- frames are evenly spread over the clip and in time order; that code draws random ones, then takes the first
  ones of an unsorted listing (``frames: first`` takes the first ones, sorted);
- no random crops and flips: a clip is prepared once and is the same in every epoch;
- a frame after the end of a short video is its last one; that code picks an earlier one in the last second;
- ``Audio-299/<clip>.pkl`` are pickles, which could run any code: never opened, WAV files are.

The split files are BMSFed's and OGM-GE's. RECONSTRUCTION: without them clips are split at random within each
class, into as many for the test as theirs (744 of 7,442).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, NonNegativeInt

from interlude.simulator.data.clips import ClipPreparation, ClipSpec, images_of
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.directory import cache_directory, need_data_directory
from interlude.simulator.data.prepare import Item, Split, open_prepared
from interlude.simulator.data.source import Expected, Source, need_file
from interlude.simulator.errors import BadInputError, nearest, shown
from interlude.simulator.formats.csv_files import csv_rows, csv_table
from interlude.simulator.randomness import Stream

NAME = "crema-d"
FOLDER = NAME
EMOTIONS = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
"""By class."""

_NUM_CLIPS = 7_442
_NUM_TEST = {"NEU": 114, "HAP": 123, "SAD": 140, "FEA": 133, "DIS": 129, "ANG": 105}
_NUM_ALL = {"NEU": 1087, "HAP": 1271, "SAD": 1271, "FEA": 1271, "DIS": 1271, "ANG": 1271}
_IMAGES, _VIDEOS, _SOUNDS = "Image-01-FPS", "VideoFlash", "AudioWAV"
_SUMMARY = "processedResults/summaryTable.csv"

_LISTS = (
    Expected(f"{FOLDER}/train.csv", optional=True),
    Expected(f"{FOLDER}/test.csv", optional=True),
    Expected(f"{FOLDER}/{_SUMMARY}", optional=True),
)
LAYOUTS = (
    (
        Expected(f"{FOLDER}/{_SOUNDS}/*.wav", count=_NUM_CLIPS),
        Expected(f"{FOLDER}/{_VIDEOS}/*.flv", count=_NUM_CLIPS),
        *_LISTS,
    ),
    (
        Expected(f"{FOLDER}/{_SOUNDS}/*.wav", count=_NUM_CLIPS),
        Expected(f"{FOLDER}/{_IMAGES}/*/*.jpg", count=3 * _NUM_CLIPS),
        *_LISTS,
    ),
)


class CremaDSpec(ClipSpec):
    """Options of crema-d."""

    dataset: Literal["crema-d"] = "crema-d"
    seed: NonNegativeInt = Field(
        0,
        description="seed of the split, where there are no split files; not the run's, as clips are prepared in splits",
    )


class CremaDPreparation(ClipPreparation):
    """How the clips of CREMA-D are read."""

    spec: CremaDSpec
    clip_s: ClassVar[int] = 3
    fewest_frames: ClassVar[int] = 3

    @property
    def num_classes(self) -> int:
        """Six emotions."""
        return len(EMOTIONS)

    def items(self) -> list[Item]:
        """Return every clip, in the order of the split files."""
        has_images = _IMAGES in self.folders()
        items = []
        for name, emotion, split in self._listed():
            images = images_of(self.root / _IMAGES / name)
            files = {
                "audio": (str(self.root / _SOUNDS / f"{name}.wav"),),
                "video": images if has_images else (str(self.root / _VIDEOS / f"{name}.flv"),),
            }
            items.append(Item(name, split, EMOTIONS.index(emotion), files, {"speaker": _speaker(name)}))
        return items

    def index_files(self) -> list[Path]:
        """Return the split files or, without them, the publishers' table of clips."""
        splits = [self.root / f"{split}.csv" for split in ("train", "test")]
        return splits if any(path.is_file() for path in splits) else [self.root / _SUMMARY]

    def folders(self) -> tuple[str, ...]:
        """Return where sound and pictures are read from: images where they have been extracted, else the videos."""
        return _SOUNDS, _IMAGES if (self.root / _IMAGES).is_dir() else _VIDEOS

    def _listed(self) -> Iterator[tuple[str, str, Split]]:
        """Yield each clip with its emotion and its part of the split."""
        train = self.root / "train.csv"
        if train not in self.index_files():
            yield from self._split_at_random()
            return
        seen: dict[str, str] = {}
        splits: tuple[Split, ...] = ("train", "test")
        for split in splits:
            path = self.root / f"{split}.csv"
            for number, row in csv_rows(need_file(path)):
                where = f"{path}, line {number}"
                if len(row) != 2:
                    raise BadInputError(f"{where}: must be a clip's name and its label, given {shown(','.join(row))}")
                name, emotion = row
                if name in seen:
                    raise BadInputError(f"{where}: {shown(name)} is listed twice; it stands at {seen[name]}, too")
                seen[name] = where
                yield name, _checked(emotion, where), split

    def _split_at_random(self) -> Iterator[tuple[str, str, Split]]:
        """Yield clips split within each class in the proportions of the published split files."""
        summary = self.root / _SUMMARY
        names = _clips_in(summary) if summary.is_file() else [p.stem for p in (self.root / _SOUNDS).glob("*.wav")]
        if not names:
            raise BadInputError(f"{self.root}: lists no clips; expected train.csv, {_SUMMARY} or {_SOUNDS}")
        by_emotion: dict[str, list[str]] = {emotion: [] for emotion in EMOTIONS}
        for name in sorted(set(names)):
            by_emotion[_emotion_in(name, self.root)].append(name)
        test: set[str] = set()
        for emotion, members in by_emotion.items():
            order = Stream(self.spec.seed, NAME, "split", emotion).generator().permutation(len(members))
            num_test = max(round(len(members) * _NUM_TEST[emotion] / _NUM_ALL[emotion]), len(members) > 1)
            test.update(members[i] for i in order[:num_test])
        for name in sorted(set(names)):
            yield name, _emotion_in(name, self.root), "test" if name in test else "train"


def preparation(spec: CremaDSpec) -> CremaDPreparation:
    """Return how the clips below the data directory are read."""
    return CremaDPreparation(spec, need_data_directory(NAME) / FOLDER)


def load(spec: CremaDSpec) -> Dataset:
    """Return the prepared data set: ``audio`` [N, 1, 257, 299] and ``video`` [N, 3, T, S, S] bytes; key ``speaker``."""
    return open_prepared(preparation(spec), cache_directory(NAME), NAME, spec.to_set())


def _checked(emotion: str, where: str) -> str:
    if emotion not in EMOTIONS:
        known = ", ".join(EMOTIONS)
        raise BadInputError(f"{where}: unknown label {shown(emotion)}; labels are {known}{nearest(emotion, EMOTIONS)}")
    return emotion


def _clips_in(summary: Path) -> list[str]:
    """Return the clips in the publishers' table."""
    return [name for _, (name,) in csv_table(summary, ["FileName"])]


def _emotion_in(name: str, root: Path) -> str:
    """Return the third part of a clip's name, e.g. ANG of 1001_DFA_ANG_XX."""
    parts = name.split("_")
    return _checked(parts[2] if len(parts) > 2 else "", f"{root}: clip {shown(name)}")


def _speaker(name: str) -> int:
    speaker = name[:4]
    if not (len(speaker) == 4 and speaker.isascii() and speaker.isdecimal()):
        raise BadInputError(
            f"clip {shown(name)}: must begin with the four digits of its speaker, as in 1001_DFA_ANG_XX"
        )
    return int(speaker)


SOURCE = Source(
    options=CremaDSpec,
    load=load,
    origin="github.com/CheyneyComputerScience/CREMA-D, in crema-d/",
    licence="Open Database License (ODbL 1.0)",
    layouts=LAYOUTS,
    preparation=preparation,
)
