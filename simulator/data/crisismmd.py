"""crisismmd: 12,708 tweets of seven disasters, text + image; informative or not (CrisisMMD v2.0, task 1).

The split files of Ofli et al., "Analysis of Social Media Data using Multimodal Deep Learning for Disaster Response"
(ISCRAM 2020), and the preprocessing of BMSFed's code but for its random crops and flips: a sample is prepared once and
is the same in every epoch. Words are numbered by a vocabulary of the training tweets in place of a pre-trained BERT's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt

from interlude.models.inputs import InputSpec
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.directory import cache_directory, need_data_directory
from interlude.simulator.data.images import centre, channels_first, read_rgb, resized, square
from interlude.simulator.data.prepare import Arrays, Item, Preparation, Split, open_prepared
from interlude.simulator.data.source import Expected, Source, need_file
from interlude.simulator.data.spec import DataSpec
from interlude.simulator.data.text import Vocabulary
from interlude.simulator.errors import BadInputError
from interlude.simulator.files import digest

NAME = "crisismmd"
COLUMNS = (
    *("event_name", "tweet_id", "image_id", "tweet_text", "image"),
    *("label", "label_text", "label_image", "label_text_image"),
)
LABELS = {"not_informative": 0, "informative": 1}
_MARGIN = 228 / 224
"""Ratio of the resized image's side to that of the centre crop."""

LAYOUT = (
    Expected(f"{NAME}/crisismmd_datasplit_all/task_informative_text_img_train.tsv"),
    Expected(f"{NAME}/crisismmd_datasplit_all/task_informative_text_img_test.tsv"),
    Expected(f"{NAME}/crisismmd_datasplit_all/task_informative_text_img_dev.tsv", optional=True),
    Expected(f"{NAME}/data_image/*/*/*"),
)


class CrisisMmdSpec(DataSpec):
    """Options of crisismmd."""

    dataset: Literal["crisismmd"] = "crisismmd"
    vocabulary: PositiveInt = Field(10_000, description="most frequent words of the training tweets that get a number")
    max_tokens: PositiveInt = Field(40, description="words of a tweet that are read; shorter ones are padded")
    image_size: int = Field(224, ge=8, description="pixels of the square image")
    test_split: Literal["test", "dev"] = Field("test", description="the split file that is tested on")
    on_missing: Literal["refuse", "drop"] = Field(
        "refuse", description="what happens to samples whose image is missing"
    )


@dataclass(frozen=True)
class Tweet:
    """One line of a split file."""

    name: str
    """Its image's number; where a file lists an image again, followed by the number of the occurrence."""
    event: str
    text: str
    image: str
    """Path below the data set's directory."""
    label: int


class CrisisMmdPreparation:
    """Reads tweets as token numbers [T] and their images as bytes [3, H, W].

    Args:
        spec: the options.

    Raises:
        BadInputError: if a split file is missing or not in its publishers' format.
    """

    def __init__(self, spec: CrisisMmdSpec) -> None:
        self._spec = spec
        self._root = need_data_directory(NAME) / NAME
        self.num_classes = len(LABELS)
        self.on_missing = spec.on_missing
        image = InputSpec((3, spec.image_size, spec.image_size), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        text = InputSpec((spec.max_tokens,), num_tokens=self._vocabulary().num_tokens)
        self.inputs: Mapping[str, InputSpec] = {"text": text, "image": image}

    def version(self) -> str:
        """Return the options and the hashes of the split files."""
        options = self._spec.model_dump_json(exclude={"partition", "on_missing"})
        return " ".join([options, *(digest(self._file(split)) for split in ("train", "test"))])

    def items(self) -> list[Item]:
        """Return the tweets of the training file, then those of the test file, in the files' order."""
        tweets: dict[Split, dict[str, Tweet]] = {"train": self._tweets("train"), "test": self._tweets("test")}
        events = sorted({tweet.event for split in tweets.values() for tweet in split.values()})
        return [
            Item(
                name=tweet.name,
                split=split,
                label=tweet.label,
                files={"text": (str(self._file(split)),), "image": (str(self._root / tweet.image),)},
                key={"event": events.index(tweet.event)},
            )
            for split, listed in tweets.items()
            for tweet in listed.values()
        ]

    def read(self, item: Item) -> Arrays:
        """Return a tweet's ``text`` [T] int32 and ``image`` [3, H, W] uint8.

        Raises:
            BadInputError: if the image is damaged.
        """
        size = self._spec.image_size
        image = resized(square(read_rgb(Path(item.files["image"][0]))), round(size * _MARGIN))
        text = self._tweets(item.split)[item.name].text
        return {
            "text": self._vocabulary().encode(text, self._spec.max_tokens),
            "image": channels_first(centre(image, size)),
        }

    def _file(self, split: Split) -> Path:
        name = "train" if split == "train" else self._spec.test_split
        return need_file(self._root / "crisismmd_datasplit_all" / f"task_informative_text_img_{name}.tsv")

    def _tweets(self, split: Split) -> dict[str, Tweet]:
        path = self._file(split)
        return _read_tweets(path, digest(path))

    def _vocabulary(self) -> Vocabulary:
        path = self._file("train")
        return _learn(path, digest(path), self._spec.vocabulary)


def prepare(spec: CrisisMmdSpec) -> Preparation:
    """Return how the raw files become arrays."""
    return CrisisMmdPreparation(spec)


def load(spec: CrisisMmdSpec) -> Dataset:
    """Return the prepared data set: ``text`` [N, T] token numbers and ``image`` [N, 3, H, W] bytes; key ``event``."""
    return open_prepared(prepare(spec), cache_directory(NAME), NAME, spec.to_set())


@lru_cache(maxsize=4)
def _learn(path: Path, digest_of_file: str, num_words: int) -> Vocabulary:
    tweets = _read_tweets(path, digest_of_file)
    return Vocabulary.learn((tweet.text for tweet in tweets.values()), num_words)


@lru_cache(maxsize=4)
def _read_tweets(path: Path, _digest: str) -> dict[str, Tweet]:
    """Return the tweets of a split file by their names; in worker processes, too, a file is read once.

    Fields are separated by tabs and nothing else: quotation marks belong to the tweets.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")  # and only there: a tweet may hold any character
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: is not UTF-8 (byte {error.start})") from error
    header = tuple(lines[0].rstrip("\r").split("\t"))
    if header != COLUMNS:
        raise BadInputError(
            f"{path}: line 1: its columns are {_shown(', '.join(header))}; expected {', '.join(COLUMNS)}"
        )
    tweets: dict[str, Tweet] = {}
    for number, line in enumerate(lines[1:], start=2):
        if line.strip():
            tweet = _parse(line.rstrip("\r"), f"{path}: line {number}", tweets)
            tweets[tweet.name] = tweet
    if not tweets:
        raise BadInputError(f"{path}: lists no tweets")
    return tweets


def _parse(line: str, where: str, known: Mapping[str, Tweet]) -> Tweet:
    fields = line.split("\t")
    if len(fields) != len(COLUMNS):
        raise BadInputError(f"{where}: has {len(fields)} fields, expected {len(COLUMNS)} separated by tabs")
    row = dict(zip(COLUMNS, fields, strict=True))
    if row["label"] not in LABELS:
        raise BadInputError(f"{where}: label is {_shown(row['label'])}; allowed are {', '.join(LABELS)}")
    image = row["image"]
    if not image or Path(image).is_absolute() or ".." in Path(image).parts:
        raise BadInputError(f"{where}: image is {_shown(image)}; expected a path below the data set's directory")
    name, times = row["image_id"], 1
    while name in known:
        times += 1
        name = f"{row['image_id']}#{times}"
    return Tweet(name, row["event_name"], row["tweet_text"], image, LABELS[row["label"]])


def _shown(text: str) -> str:
    return f"'{text if len(text) <= 200 else text[:200] + '...'}'"


SOURCE = Source(
    options=CrisisMmdSpec,
    load=load,
    origin="https://crisisnlp.qcri.org/crisismmd",
    licence="CC BY-NC-SA 4.0; tweets under Twitter's terms",
    layouts=(LAYOUT,),
    preparation=prepare,
)
