"""modelnet40: 12,311 objects of 40 classes, the front and the back view of the same object.

The shaded renderings in 12 views of Su et al., "Multi-view Convolutional Neural Networks for 3D Shape Recognition"
(ICCV 2015), of which BMSFed takes the first and the seventh. Its random crops and flips are left out: a sample is
prepared once and is the same in every epoch.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from interlude.models.inputs import InputSpec
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.directory import cache_directory, need_data_directory
from interlude.simulator.data.images import channels_first, read_rgb, resized, square
from interlude.simulator.data.prepare import Arrays, Item, Preparation, Split, open_prepared
from interlude.simulator.data.source import Expected, Source
from interlude.simulator.data.spec import DataSpec
from interlude.simulator.errors import BadInputError, nearest, shown
from interlude.simulator.files import digest
from interlude.simulator.formats.csv_files import text_lines, whole_number

NAME = "modelnet40"
IMAGES = "modelnet40_images_new_12x"
VIEWS = {"front": 1, "back": 7}
SPLITS: tuple[Split, ...] = ("train", "test")

# The statistics of ImageNet, as is usual for ResNets; no paper states them for these views.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_VIEW = re.compile(r"(?P<object>.+\.obj\.shaded)_v(?P<view>\d{3})\.png")

LAYOUT = (
    *(
        Expected(f"{NAME}/{IMAGES}/*/{split}/*.obj.shaded_v{view:03}.png", count)
        for split, count in (("train", 9_843), ("test", 2_468))
        for view in VIEWS.values()
    ),
    Expected(f"{NAME}/train.txt", optional=True),
    Expected(f"{NAME}/test.txt", optional=True),
)


class ModelNet40Spec(DataSpec):
    """Options of modelnet40."""

    dataset: Literal["modelnet40"] = "modelnet40"
    image_size: int = Field(224, ge=8, description="pixels of the square image")
    on_missing: Literal["refuse", "drop"] = Field("refuse", description="what happens to objects that lack a view")


class ModelNet40Preparation:
    """Reads both views of an object as bytes [3, H, W].

    Where they exist, ``train.txt`` and ``test.txt`` give the samples and their labels; else the folders do, and labels
    are the classes in alphabetical order.

    Args:
        spec: the options.

    Raises:
        BadInputError: if the images are missing, or a split file is damaged.
    """

    def __init__(self, spec: ModelNet40Spec) -> None:
        self._spec = spec
        self._root = need_data_directory(NAME) / NAME
        self.num_classes = len(self._classes())
        self.on_missing = spec.on_missing
        view = InputSpec((3, spec.image_size, spec.image_size), mean=_MEAN, std=_STD)
        self.inputs: Mapping[str, InputSpec] = dict.fromkeys(VIEWS, view)

    def version(self) -> str:
        """Return the options and the hashes of the split files, or of the names in the folders."""
        said = [self._spec.model_dump_json(exclude={"partition", "on_missing"})]
        for split in SPLITS:
            listed = self._split_file(split)
            names = "\n".join(self._in_folders(split)).encode() if listed is None else b""
            said.append(hashlib.sha256(names).hexdigest() if listed is None else digest(listed))
        return " ".join(said)

    def items(self) -> list[Item]:
        """Return the objects of the training split, then those of the test split."""
        return [
            Item(
                name=name,
                split=split,
                label=label,
                files={modality: (str(self._root / _of_view(name, view)),) for modality, view in VIEWS.items()},
            )
            for split in SPLITS
            for name, label in self._objects(split).items()
        ]

    def read(self, item: Item) -> Arrays:
        """Return an object's ``front`` and ``back``, each [3, H, W] uint8.

        Raises:
            BadInputError: if an image is damaged.
        """
        return {
            modality: channels_first(resized(square(read_rgb(Path(path))), self._spec.image_size))
            for modality, (path,) in item.files.items()
        }

    def _classes(self) -> list[str]:
        """Return the classes in alphabetical order."""
        folder = self._root / IMAGES
        if not folder.is_dir():
            raise BadInputError(f"{folder}: is missing; 'interlude data' says what each data set needs")
        classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
        if not classes:
            raise BadInputError(f"{folder}: holds no folders; expected one for each class")
        return classes

    def _split_file(self, split: Split) -> Path | None:
        path = self._root / f"{split}.txt"
        return path if path.is_file() else None

    def _objects(self, split: Split) -> dict[str, int]:
        """Return the objects of a split, by the path of their front view, and their labels."""
        listed = self._split_file(split)
        if listed is not None:
            return _read_split(listed, self._classes())
        labels = {name: label for label, name in enumerate(self._classes())}
        found = {path: labels[path.split("/")[1]] for path in self._in_folders(split)}
        if not found:
            raise BadInputError(
                f"{self._root / IMAGES}: no folder <class>/{split} holds an object's views; "
                f"expected files as chair_0001.obj.shaded_v{VIEWS['front']:03}.png"
            )
        return found

    def _in_folders(self, split: Split) -> list[str]:
        """Return the objects that have either view, by the path of the front view, in alphabetical order."""
        wanted = {f"{view:03}" for view in VIEWS.values()}
        return sorted(
            {
                f"{IMAGES}/{name}/{split}/{match['object']}_v{VIEWS['front']:03}.png"
                for name in self._classes()
                if (folder := self._root / IMAGES / name / split).is_dir()
                for path in folder.iterdir()
                if (match := _VIEW.fullmatch(path.name)) and match["view"] in wanted
            }
        )


def prepare(spec: ModelNet40Spec) -> Preparation:
    """Return how the raw files become arrays."""
    return ModelNet40Preparation(spec)


def load(spec: ModelNet40Spec) -> Dataset:
    """Return the prepared data set: ``front`` and ``back`` [N, 3, H, W] bytes of the same object."""
    return open_prepared(prepare(spec), cache_directory(NAME), NAME, spec.to_set())


def _of_view(front: str, view: int) -> str:
    return front.removesuffix(f"_v{VIEWS['front']:03}.png") + f"_v{view:03}.png"


def _read_split(path: Path, classes: list[str]) -> dict[str, int]:
    """Return a split file's objects and labels, checked line by line."""
    found: dict[str, int] = {}
    label_of: dict[str, int] = {}
    for number, line in enumerate(text_lines(path), start=1):
        if not line.strip():
            continue
        name, label = _parse(line, f"{path}: line {number}", classes)
        class_name = name.split("/")[1]
        if label_of.setdefault(class_name, label) != label:
            raise BadInputError(
                f"{path}: line {number}: class '{class_name}' has label {label}, and {label_of[class_name]} further up"
            )
        if name in found:
            raise BadInputError(f"{path}: line {number}: lists {name} again")
        found[name] = label
    if not found:
        raise BadInputError(f"{path}: lists no objects")
    return found


def _parse(line: str, where: str, classes: list[str]) -> tuple[str, int]:
    """Return the path of a line's front view below the data set's directory, and its label."""
    given, tab, label = line.partition("\t")
    parts = given.strip().replace("\\", "/").split("/")[-3:]
    match = _VIEW.fullmatch(parts[-1])
    if not tab or len(parts) < 3 or match is None or int(match["view"]) != VIEWS["front"]:
        raise BadInputError(
            f"{where}: is {shown(line)}; expected <class>/<split>/<object>.obj.shaded_v{VIEWS['front']:03}.png, "
            "a tab and the label"
        )
    if parts[0] not in classes:
        raise BadInputError(f"{where}: there is no folder of class {shown(parts[0])}{nearest(parts[0], classes)}")
    number = whole_number(label.strip())
    if number is None or number >= len(classes):
        raise BadInputError(f"{where}: label is {shown(label.strip())}; allowed are 0 to {len(classes) - 1}")
    return "/".join([IMAGES, *parts]), number


SOURCE = Source(
    options=ModelNet40Spec,
    load=load,
    origin="MVCNN: supermoe.cs.umass.edu/shape_recog/shaded_images.tar.gz",
    licence="models for academic use only (Princeton ModelNet)",
    layouts=(LAYOUT,),
    preparation=prepare,
)
