"""uci-har: six activities of 30 people, accelerometer + gyroscope of a phone at the waist, 50 Hz; key: subject.

Windows of 128 samples (2.56 s) that overlap by half. Two releases of the same recordings: HAPT holds the raw signals,
out of which windows are cut inside labelled segments of the six activities (10,411 of them); UCI-HAR holds windows that
its authors cut out of filtered signals (10,299). Acceleration includes gravity in both. Both are split by subject, and
the subjects are natural clients.

Anguita et al., "A Public Domain Dataset for Human Activity Recognition Using Smartphones", ESANN 2013; Reyes-Ortiz et
al., "Transition-Aware Human Activity Recognition Using Smartphones", Neurocomputing 2016.
"""

import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from pydantic import Field

from interlude.simulator.arrays import Indices
from interlude.simulator.data.dataset import Dataset, standardised
from interlude.simulator.data.directory import need_data_directory
from interlude.simulator.data.source import Expected, Source
from interlude.simulator.data.spec import DataSpec
from interlude.simulator.errors import BadFileError, BadInputError
from interlude.simulator.files import reading

MODALITIES = ("accelerometer", "gyroscope")
ACTIVITIES = ("walking", "walking upstairs", "walking downstairs", "sitting", "standing", "laying")
"""By class; the files count from 1."""
TEST_SUBJECTS = frozenset({2, 4, 9, 10, 12, 13, 18, 20, 24})
"""As UCI-HAR splits them; the other 21 are for training."""
WINDOW, STEP = 128, 64

_FOLDER = "ucihar"
_MOST_BYTES = 1 << 27
"""The largest file that is read; the largest published one has 15 MB."""
_NUM_EXPERIMENTS = 61
_AXES = "xyz"


class _Release(NamedTuple):
    name: str
    """Of the folder, and of the archive."""
    inner: str
    """Folder in it that is read."""
    files: tuple[str, ...]
    """Patterns of the files in it."""


_RELEASES = {
    "hapt": _Release("HAPT Data Set", "RawData", ("*.txt",)),
    "uci-har": _Release("UCI HAR Dataset", ".", ("*/y_*.txt", "*/subject_*.txt", "*/Inertial Signals/*.txt")),
}

LAYOUTS = (
    (Expected(f"{_FOLDER}/HAPT_Data_Set.zip"),),
    (Expected(f"{_FOLDER}/HAPT Data Set.zip"),),
    (Expected(f"{_FOLDER}/HAPT Data Set/RawData/*.txt", count=2 * _NUM_EXPERIMENTS + 1),),
    (Expected(f"{_FOLDER}/UCI_HAR_Dataset.zip"),),
    (Expected(f"{_FOLDER}/UCI HAR Dataset.zip"),),
    (
        Expected(f"{_FOLDER}/UCI HAR Dataset/*/Inertial Signals/*.txt", count=18),
        Expected(f"{_FOLDER}/UCI HAR Dataset/*/subject_*.txt", count=2),
        Expected(f"{_FOLDER}/UCI HAR Dataset/*/y_*.txt", count=2),
    ),
)

Signal = npt.NDArray[np.float32]
AnyPath = Path | zipfile.Path


class UciHarSpec(DataSpec):
    """Options of uci-har."""

    dataset: Literal["uci-har"] = "uci-har"
    release: Literal["hapt", "uci-har"] = Field(
        "hapt", description="windows cut out of HAPT's raw signals, or the windows that UCI-HAR comes with"
    )


class _Windows(NamedTuple):
    """Windows of one subject or of many."""

    signals: tuple[Signal, Signal]
    """[N, 3, 128] of each modality."""
    classes: Indices
    subjects: Indices


def load(spec: UciHarSpec) -> Dataset:
    """Return the data set: ``accelerometer`` and ``gyroscope`` [N, 3, 128], standardised per channel; six classes.

    Raises:
        BadInputError: if a file is missing, damaged or not what it should be.
    """
    root, files = _find(spec.release)
    parts = list(_cut_out(root) if spec.release == "hapt" else _read_windows(root))
    signals = [np.concatenate([part.signals[m] for part in parts]) for m in range(len(MODALITIES))]
    classes = torch.from_numpy(np.concatenate([part.classes for part in parts]))
    subjects = np.concatenate([part.subjects for part in parts])
    is_test = np.isin(subjects, list(TEST_SUBJECTS))
    if is_test.all() or not is_test.any():
        held = ", ".join(map(str, np.unique(subjects)))
        raise BadInputError(f"{files[0]}: holds subjects {held or 'none'}; both training and test need some")
    pairs = [standardised(torch.from_numpy(x[~is_test]), torch.from_numpy(x[is_test])) for x in signals]
    return Dataset(
        train=({m: pair[0] for m, pair in zip(MODALITIES, pairs, strict=True)}, classes[~is_test]),
        test=({m: pair[1] for m, pair in zip(MODALITIES, pairs, strict=True)}, classes[is_test]),
        num_classes=len(ACTIVITIES),
        keys={"subject": subjects[~is_test]},
        files=files,
    )


def _cut_out(root: AnyPath) -> Iterator[_Windows]:
    """Yield the windows of each experiment: those that lie wholly inside a labelled segment of an activity."""
    path = root / "labels.txt"
    labels = _table(path, 5).astype(np.int64)
    for experiment in np.unique(labels[:, 0]):
        segments = labels[labels[:, 0] == experiment]
        subject = int(segments[0, 1])
        name = f"exp{experiment:02d}_user{subject:02d}.txt"
        acceleration = _table(root / f"acc_{name}", len(_AXES))
        num_rows = len(acceleration)
        rotation = _table(root / f"gyro_{name}", len(_AXES), num_rows)
        if segments[:, 3].min() < 1 or segments[:, 4].max() > num_rows:
            raise BadInputError(f"{path}: a segment of experiment {experiment} lies outside its {num_rows} rows")
        segments = segments[(segments[:, 2] >= 1) & (segments[:, 2] <= len(ACTIVITIES))]
        # segments count rows from 1 and include their last
        starts = [np.arange(first - 1, last - WINDOW + 1, STEP) for _, _, _, first, last in segments]
        classes = np.repeat(segments[:, 2] - 1, [len(some) for some in starts])
        rows = np.concatenate(starts or [np.empty(0, np.int64)])[:, None] + np.arange(WINDOW)
        signals = (acceleration[rows].transpose(0, 2, 1), rotation[rows].transpose(0, 2, 1))
        yield _Windows(signals, classes, np.full(len(classes), subject))


def _read_windows(root: AnyPath) -> Iterator[_Windows]:
    """Yield the windows of each split as UCI-HAR comes with them."""
    for split in ("train", "test"):
        folder = root / split
        path = folder / f"y_{split}.txt"
        classes = _table(path, 1)[:, 0].astype(np.int64)
        subjects = _table(folder / f"subject_{split}.txt", 1, len(classes))[:, 0].astype(np.int64)
        if classes.min(initial=1) < 1 or classes.max(initial=1) > len(ACTIVITIES):
            raise BadInputError(f"{path}: holds a label outside 1 to {len(ACTIVITIES)}")
        if (np.isin(subjects, list(TEST_SUBJECTS)) != (split == "test")).any():
            raise BadInputError(f"{folder / f'subject_{split}.txt'}: holds a subject of the other split")
        signals = []
        for kind in ("total_acc", "body_gyro"):
            paths = [folder / "Inertial Signals" / f"{kind}_{axis}_{split}.txt" for axis in _AXES]
            signals.append(np.stack([_table(path, WINDOW, len(classes)) for path in paths], axis=1))
        yield _Windows((signals[0], signals[1]), classes - 1, subjects)


def _table(path: AnyPath, num_columns: int, num_rows: int | None = None) -> Signal:
    """Return the numbers [num_rows, num_columns] of a text file; any number of rows where it is not known."""
    if not path.is_file():
        raise BadInputError(f"{path}: is missing; 'interlude data' says what each data set needs")
    with reading(Path(str(path)), f"{num_columns} columns of numbers"), path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)  # of an archive's member, too: it may say and be anything
        if len(content) > _MOST_BYTES:
            raise BadFileError(f"{path}: has more than {_MOST_BYTES} bytes")
        values: Signal = pd.read_csv(BytesIO(content), sep=r"\s+", header=None, dtype=np.float32).to_numpy()
    if values.shape[1] != num_columns:
        raise BadInputError(f"{path}: holds {values.shape[1]} columns of numbers, expected {num_columns}")
    if num_rows is not None and len(values) != num_rows:
        raise BadInputError(f"{path}: has {len(values)} rows, expected {num_rows} as in the files beside it")
    if not np.isfinite(values).all():
        raise BadInputError(f"{path}: holds values that are missing or not finite")
    return values


def _find(wanted: str) -> tuple[AnyPath, tuple[Path, ...]]:
    """Return the location of a release's files, in a folder or an archive, and the files that identify its version."""
    release, above = _RELEASES[wanted], need_data_directory("uci-har") / _FOLDER
    folder = above / release.name / release.inner
    if folder.is_dir():
        return folder, tuple(sorted(path for pattern in release.files for path in folder.glob(pattern)))
    archives = [above / f"{name}.zip" for name in (release.name.replace(" ", "_"), release.name)]
    for archive in filter(Path.is_file, archives):
        with reading(archive, "a zip archive"):
            opened = zipfile.Path(archive)
        root = opened / release.name if (opened / release.name).is_dir() else opened
        return root if release.inner == "." else root / release.inner, (archive,)
    other = next(name for name in _RELEASES if name != wanted)
    has_other = any(above.glob(f"{_RELEASES[other].name.replace(' ', '?')}*"))
    advice = f"set data.release to '{other}' for" if has_other else "'interlude data' says"
    said = "what lies beside it" if has_other else "what is needed"
    raise BadInputError(f"{folder}: is missing, and so is {archives[0]}; {advice} {said}")


SOURCE = Source(
    options=UciHarSpec,
    load=load,
    origin="UCI repository, data sets 341 (HAPT, raw signals) or 240 (UCI-HAR, windows), in ucihar/",
    licence="free with citation, not for commercial use",
    layouts=LAYOUTS,
)
