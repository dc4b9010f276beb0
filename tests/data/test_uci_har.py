"""uci-har: windows inside labelled segments and nowhere else, split by subject, from either release."""

import shutil
import zipfile

import numpy as np
import pytest
import torch

from interlude.simulator.data.dataset import standardised
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.data.uci_har import MODALITIES, UciHarSpec, load
from interlude.simulator.errors import BadInputError
from interlude.simulator.files import DATA_VARIABLE, data_directory

ROWS = 400


def signal(experiment, sensor):
    """Return [ROWS, 3] numbers that tell experiment, sensor, row and axis."""
    number = 10 * experiment + sensor
    return number + np.arange(ROWS)[:, None] / 1000 + np.array([0.0, 100.0, 200.0])


# experiment user activity first last: rows count from 1
LABELS = [
    (1, 1, 5, 1, 192),  # subject 1, standing: two windows fit exactly, from rows 0 and 64
    (1, 1, 7, 193, 400),  # a transition: no window
    (2, 1, 1, 100, 227),  # walking: one, from row 99
    (2, 1, 2, 228, 354),  # 127 rows: none
    (3, 2, 6, 11, 400),  # subject 2 is for the test; 390 rows: five, from rows 10, 74, 138, 202, 266
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    return tmp_path / "ucihar"


@pytest.fixture
def raw(folder):
    """Return the folder of HAPT's raw signals, three short experiments."""
    raw = folder / "HAPT Data Set" / "RawData"
    raw.mkdir(parents=True)
    for experiment, user in ((1, 1), (2, 1), (3, 2)):
        for number, sensor in enumerate(("acc", "gyro")):
            np.savetxt(raw / f"{sensor}_exp{experiment:02d}_user{user:02d}.txt", signal(experiment, number))
    np.savetxt(raw / "labels.txt", LABELS, fmt="%d")
    return raw


def hapt():
    return load(UciHarSpec(release="hapt"))


def expected(modality):
    """Return the training and the test windows of the three experiments, standardised."""
    train = [signal(1, modality)[:128], signal(1, modality)[64:192], signal(2, modality)[99:227]]
    test = [signal(3, modality)[start : start + 128] for start in (10, 74, 138, 202, 266)]
    return standardised(*(torch.from_numpy(np.stack(part)).float().transpose(1, 2) for part in (train, test)))


def check(data):
    for number, modality in enumerate(MODALITIES):
        train, test = expected(number)
        torch.testing.assert_close(data.train[0][modality], train)
        torch.testing.assert_close(data.test[0][modality], test)
    assert data.modalities == MODALITIES
    assert (data.train[1].tolist(), data.test[1].tolist()) == ([4, 4, 0], [5] * 5)
    assert data.keys["subject"].tolist() == [1, 1, 1]
    assert data.num_classes == 6


def test_windows_lie_inside_segments_of_activities(raw):
    check(hapt())


@pytest.mark.parametrize("archive", ["HAPT_Data_Set.zip", "HAPT Data Set.zip"])
@pytest.mark.parametrize("has_folder", [True, False])
def test_an_archive_is_read_as_it_is(folder, raw, archive, has_folder):
    with zipfile.ZipFile(folder / archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in raw.iterdir():
            file.write(path, f"{'HAPT Data Set/' if has_folder else ''}RawData/{path.name}")
    shutil.rmtree(raw.parent)
    data = hapt()
    check(data)
    assert data.files == (folder / archive,)


@pytest.fixture
def windows(folder):
    """Return the folder of UCI-HAR, two training windows and one for the test."""
    root = folder / "UCI HAR Dataset"
    given = {"train": ([3, 6], [1, 30]), "test": ([1], [2])}
    for split, (classes, subjects) in given.items():
        inertial = root / split / "Inertial Signals"
        inertial.mkdir(parents=True)
        (root / split / f"y_{split}.txt").write_text("".join(f"{c}\n" for c in classes))
        (root / split / f"subject_{split}.txt").write_text("".join(f"{s}\n" for s in subjects))
        for kind in ("body_acc", "body_gyro", "total_acc"):
            for axis in "xyz":
                rows = [window(kind, axis, subject) for subject in subjects]
                (inertial / f"{kind}_{axis}_{split}.txt").write_text(
                    "".join("  " + " ".join(f"{value: .7e}" for value in row) + "\n" for row in rows)
                )
    return root


def window(kind, axis, subject):
    return len(kind) * subject + np.arange(128) / (1 + "xyz".index(axis))


def test_the_windows_of_the_other_release_are_read_as_they_are(windows):
    data = load(UciHarSpec(release="uci-har"))
    for modality, kind in zip(MODALITIES, ("total_acc", "body_gyro"), strict=True):
        by_subject = {s: np.stack([window(kind, axis, s) for axis in "xyz"]) for s in (1, 30, 2)}
        train, test = standardised(
            torch.from_numpy(np.stack([by_subject[1], by_subject[30]])).float(),
            torch.from_numpy(by_subject[2][None]).float(),
        )
        torch.testing.assert_close(data.train[0][modality], train)
        torch.testing.assert_close(data.test[0][modality], test)
    assert (data.train[1].tolist(), data.test[1].tolist()) == ([2, 5], [0])
    assert data.keys["subject"].tolist() == [1, 30]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("acc_exp02_user01.txt", None, r"acc_exp02_user01\.txt: is missing"),
        ("gyro_exp01_user01.txt", "1 2 3\n" * 399, "gyro_exp01_user01.txt: has 399 rows, expected 400"),
        ("acc_exp01_user01.txt", "1 2\n" * 400, "holds 2 columns of numbers, expected 3"),
        ("acc_exp01_user01.txt", "1 2 3 4\n" * 400, "holds 4 columns of numbers, expected 3"),
        ("acc_exp01_user01.txt", "1 2 3\n" * 399 + "1 2\n", "missing or not finite"),
        ("acc_exp01_user01.txt", "1 2 3\n" * 399 + "1 2 inf\n", "missing or not finite"),
        ("acc_exp01_user01.txt", "1 2 3\n" * 399 + "1 2 x\n", "is damaged or not 3 columns"),
        ("acc_exp01_user01.txt", "", "is damaged or not 3 columns"),
        ("labels.txt", "1 1 5 1 401\n", "a segment of experiment 1 lies outside its 400 rows"),
        ("labels.txt", "1 1 5 0 300\n", "lies outside"),
        ("labels.txt", "1 1 5 1 300\n", "holds subjects 1; both training and test need some"),
        ("labels.txt", None, r"labels\.txt: is missing"),
    ],
)
def test_bad_raw_files_get_one_sentence(raw, name, text, said):
    (raw / name).unlink()
    if text is not None:
        (raw / name).write_text(text)
    with pytest.raises(BadInputError, match=said) as error:
        hapt()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("train/y_train.txt", "3\n7\n", "label outside 1 to 6"),
        ("train/y_train.txt", "3\n", "subject_train.txt: has 2 rows, expected 1"),
        ("train/subject_train.txt", "1\n2\n", "a subject of the other split"),
        ("train/Inertial Signals/body_gyro_y_train.txt", "0 " * 128 + "\n", "has 1 rows, expected 2"),
        ("test/Inertial Signals/total_acc_z_test.txt", None, "is missing"),
    ],
)
def test_bad_windows_get_one_sentence(windows, name, text, said):
    (windows / name).unlink()
    if text is not None:
        (windows / name).write_text(text)
    with pytest.raises(BadInputError, match=said):
        load(UciHarSpec(release="uci-har"))


def test_a_broken_archive_and_an_empty_folder_get_one_sentence(folder):
    folder.mkdir()
    with pytest.raises(BadInputError, match=r"RawData: is missing, and so is .*HAPT_Data_Set\.zip"):
        hapt()
    (folder / "UCI_HAR_Dataset.zip").write_bytes(b"")
    with pytest.raises(BadInputError, match=r"set data\.release to 'uci-har' for what lies beside it"):
        hapt()
    (folder / "HAPT_Data_Set.zip").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(BadInputError, match="is damaged or not a zip archive"):
        hapt()


def test_the_published_recordings_have_their_known_windows():
    directory = data_directory()
    if directory is None or not (directory / "ucihar/HAPT_Data_Set.zip").is_file():
        pytest.skip(f"{DATA_VARIABLE} names no directory with ucihar/HAPT_Data_Set.zip in it")
    data = load_dataset(UciHarSpec(), seed=0)
    assert (len(data.train[1]), len(data.test[1])) == (7415, 10411 - 7415)
    assert data.train[1].bincount().tolist() == [1226, 1073, 987, 1293, 1423, 1413]
    assert len(np.unique(data.keys["subject"])) == 21
    for x in data.train[0].values():
        assert x.shape[1:] == (3, 128)
        assert x.mean(dim=(0, 2)).abs().max() < 1e-4
        assert x.std(dim=(0, 2)).numpy() == pytest.approx(1.0, abs=1e-4)
