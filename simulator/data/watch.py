"""watch: seven shoulder exercises of 10 people, accelerometer + gyroscope of a smartwatch, 50 Hz; key: subject.

Real data without a download: the recordings come inside the package seglearn, 140 series of 19 to 52 s, one of each
person's every exercise with each arm. Windows are cut within a series and never across two.

Burns et al., "Shoulder Physiotherapy Exercise Recognition: Machine Learning the Inertial Signals from a Smartwatch",
Physiological Measurement 2018.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator

from interlude.simulator.arrays import Indices
from interlude.simulator.data.dataset import Dataset, standardised
from interlude.simulator.data.packaged import PackagedFile
from interlude.simulator.data.pickled import PickledArray, read_pickled
from interlude.simulator.data.source import Expected, Source
from interlude.simulator.data.spec import DrawnSpec
from interlude.simulator.errors import BadInputError, shortened
from interlude.simulator.files import data_directory

MODALITIES = ("accelerometer", "gyroscope")
EXERCISES = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
"""By class: pendulum, abduction, forward elevation, internal and external rotation, trapezius extension, row."""
NUM_TEST_SUBJECTS = 3
"""How many are held out unless the scenario names them; the other seven are for training."""
RATE_HZ = 50.0

_AXES = ("ax", "ay", "az", "wx", "wy", "wz")
"""Columns of a series: acceleration in g and rotation in rad/s."""
_NAME = "watch_dataset.npy"
_IN_DIRECTORY = f"watch/{_NAME}"
_PACKAGED = PackagedFile("seglearn", f"data/{_NAME}", "watch")

Signal = npt.NDArray[np.float32]


class WatchSpec(DrawnSpec):
    """Options of watch."""

    dataset: Literal["watch"] = "watch"
    window_s: float = Field(
        2.0, ge=0.1, le=18, description="length of a window; what is left at the end of a series is not used"
    )
    overlap: float = Field(0.0, ge=0, le=0.9, description="share of a window that the next one of its series repeats")
    split: Literal["people", "series"] = Field(
        "people",
        description="what the test holds: people who are not in the training set, or of every person and exercise the "
        "last series in the file, which the person's other arm has done",
    )
    test_subjects: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, min_length=1, description="people held out by 'split: people'; unset: three, drawn"
    )

    @model_validator(mode="after")
    def _one_split(self) -> Self:
        if self.split == "series" and self.test_subjects is not None:
            raise ValueError("takes 'test_subjects' with 'split: people' only; with 'split: series' all people train")
        return self

    def content(self, seed: int) -> Self:
        """Return what decides the samples; only who is held out may be drawn."""
        return super().content(seed if self.split == "people" and self.test_subjects is None else 0)


class _Recordings(NamedTuple):
    """The series in a file."""

    series: list[npt.NDArray[np.floating]]
    """[rows, 6] each."""
    classes: Indices
    subjects: Indices


def load(spec: WatchSpec) -> Dataset:
    """Return the data set: ``accelerometer`` and ``gyroscope`` [N, 3, samples], standardised per channel; 7 classes.

    Raises:
        BadInputError: if the file is missing, damaged or not what it should be, or leaves nothing to train on or test.
    """
    path = _find()
    recordings = _read(path)
    is_test_series = _test_series(spec, recordings, path)
    window = round(spec.window_s * RATE_HZ)
    step = max(1, round(window * (1 - spec.overlap)))
    cut = [_windows(series, window, step) for series in recordings.series]
    numbers = np.repeat(np.arange(len(cut)), [len(windows) for windows in cut])
    signals, is_test = torch.from_numpy(np.concatenate(cut)), is_test_series[numbers]
    classes, subjects = torch.from_numpy(recordings.classes[numbers]), recordings.subjects[numbers]
    if is_test.all() or not is_test.any():
        held = f"{(~is_test).sum()} windows of {spec.window_s:g} s for training and {is_test.sum()} for the test"
        raise BadInputError(f"{path}: holds {held}; both need some")
    pairs = [standardised(part[~is_test], part[is_test]) for part in (signals[:, :3], signals[:, 3:])]
    return Dataset(
        train=({m: pair[0] for m, pair in zip(MODALITIES, pairs, strict=True)}, classes[~is_test]),
        test=({m: pair[1] for m, pair in zip(MODALITIES, pairs, strict=True)}, classes[is_test]),
        num_classes=len(EXERCISES),
        keys={"subject": subjects[~is_test]},
        files=(path,),
    )


def _windows(series: npt.NDArray[np.floating], window: int, step: int) -> Signal:
    """Return the windows [N, 6, window] of a series that lie wholly inside it."""
    rows = np.arange(0, len(series) - window + 1, step)[:, None] + np.arange(window)
    windows: Signal = series.astype(np.float32)[rows].transpose(0, 2, 1)
    return windows


def _test_series(spec: WatchSpec, recordings: _Recordings, path: Path) -> npt.NDArray[np.bool_]:
    """Return which series are for the test."""
    if spec.split == "people":
        people = np.unique(recordings.subjects).tolist()
        held_out = spec.test_subjects
        if held_out is None:
            held_out = spec.stream("test-subjects").generator().permutation(people)[:NUM_TEST_SUBJECTS].tolist()
        if unknown := [subject for subject in held_out if subject not in people]:
            raise BadInputError(
                f"data.test_subjects: {unknown[0]} is none of the people in {path.name}: {', '.join(map(str, people))}"
            )
        return np.isin(recordings.subjects, held_out)
    is_test = np.zeros(len(recordings.series), bool)
    of_whom = {pair: number for number, pair in enumerate(zip(*recordings[1:], strict=True))}  # the last one stays
    is_test[list(of_whom.values())] = True
    return is_test


def _find() -> Path:
    """Return the location of the file: in the data directory if it lies there, else in the package."""
    directory = data_directory()
    if directory is not None and (directory / _IN_DIRECTORY).is_file():
        return directory / _IN_DIRECTORY
    return _PACKAGED.need("watch", f", or put the file into the data directory as {_IN_DIRECTORY}")


def _read(path: Path) -> _Recordings:
    """Return the recordings in a file, once they are what they should be."""
    held = read_pickled(path)
    if not isinstance(held, dict):
        raise BadInputError(f"{path}: holds {type(held).__name__}, expected a dictionary of recordings")
    for key, wanted in (("X_labels", _AXES), ("y_labels", EXERCISES)):
        if held.get(key) != list(wanted):
            raise BadInputError(f"{path}: its '{key}' are {shortened(held.get(key), 60)}, expected {', '.join(wanted)}")
    stored = held.get("X")
    if not isinstance(stored, list) or not stored:
        raise BadInputError(f"{path}: holds no list 'X' of series")
    classes, subjects = (_numbers(held, key, len(stored), path) for key in ("y", "subject"))
    if classes.min() < 0 or classes.max() >= len(EXERCISES):
        raise BadInputError(f"{path}: 'y' holds a class outside 0 to {len(EXERCISES) - 1}")
    return _Recordings([_series(one, number, path) for number, one in enumerate(stored)], classes, subjects)


def _numbers(held: dict[Any, Any], key: str, count: int, path: Path) -> Indices:
    array = held.get(key)
    values = array.values if isinstance(array, PickledArray) else None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iu" or values.shape != (count,):
        raise BadInputError(f"{path}: '{key}' is not an array of {count} whole numbers, one a series")
    return values.astype(np.int64)


def _series(stored: object, number: int, path: Path) -> npt.NDArray[np.floating]:
    values = stored.values if isinstance(stored, PickledArray) else None
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f" or values.shape[1:] != (len(_AXES),):
        raise BadInputError(f"{path}: series {number} of 'X' is not an array of {len(_AXES)} columns of fractions")
    if not np.isfinite(values).all():
        raise BadInputError(f"{path}: series {number} of 'X' holds values that are not finite")
    return values


SOURCE = Source(
    options=WatchSpec,
    load=load,
    origin=f"{_PACKAGED.origin}; or its {_NAME} in watch/",
    licence="BSD-3-Clause",
    layouts=((Expected(_IN_DIRECTORY),),),
    packaged=_PACKAGED,
)
