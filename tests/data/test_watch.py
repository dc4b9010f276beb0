"""watch: windows within a series and never across, split by people or by series, out of a package or a file."""

import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from interlude.simulator.data import DATASETS
from interlude.simulator.data.dataset import standardised
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.data.partition import NaturalPartition, partition
from interlude.simulator.data.watch import EXERCISES, MODALITIES, WatchSpec, load
from interlude.simulator.errors import BadInputError
from interlude.simulator.files import DATA_VARIABLE

SERIES = [  # rows, exercise, person: the last one of a person and exercise is the test of a split by series
    (250, 3, 1),  # two windows of 2 s, from rows 0 and 100; 50 rows are left over
    (100, 3, 1),  # one
    (99, 0, 8),  # none
    (200, 6, 8),  # two
]


def signal(number):
    """Return [rows, 6] numbers that tell series, row and column."""
    return 10.0 * number + np.sqrt(np.arange(SERIES[number][0]))[:, None] + 3.0 * np.arange(6)


def content(**changes):
    held = {
        "X": [signal(number) for number in range(len(SERIES))],
        "y": np.array([exercise for _, exercise, _ in SERIES]),
        "subject": np.array([person for *_, person in SERIES]),
        "X_labels": ["ax", "ay", "az", "wx", "wy", "wz"],
        "y_labels": list(EXERCISES),
    }
    return {key: value for key, value in (held | changes).items() if value is not None}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a file into the data directory."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))

    def write(held):
        path = tmp_path / "watch" / "watch_dataset.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, np.array(held, dtype=object), allow_pickle=True)
        return path

    return write


def expected(train, test, length=100):
    """Return both modalities of windows given as (series, first row), standardised on the training set."""
    cut = [np.stack([signal(n)[start : start + length].T for n, start in part]) for part in (train, test)]
    for first in (0, 3):
        yield standardised(*(torch.from_numpy(part[:, first : first + 3]).float() for part in cut))


def check(data, train, test, length=100):
    for modality, (x, test_x) in zip(MODALITIES, expected(train, test, length), strict=True):
        torch.testing.assert_close(data.train[0][modality], x)
        torch.testing.assert_close(data.test[0][modality], test_x)
    assert data.train[1].tolist() == [SERIES[n][1] for n, _ in train]
    assert data.test[1].tolist() == [SERIES[n][1] for n, _ in test]
    assert data.keys["subject"].tolist() == [SERIES[n][2] for n, _ in train]


def test_windows_lie_within_a_series_and_people_are_held_out(write):
    path = write(content())
    data = load(WatchSpec(test_subjects=(8,)))
    check(data, [(0, 0), (0, 100), (1, 0)], [(3, 0), (3, 100)])
    assert (data.modalities, data.num_classes, data.files) == (MODALITIES, 7, (path,))


def test_windows_may_overlap_and_have_another_length(write):
    write(content())
    data = load(WatchSpec(test_subjects=(8,), overlap=0.5))
    check(data, [(0, 0), (0, 50), (0, 100), (0, 150), (1, 0)], [(3, 0), (3, 50), (3, 100)])
    data = load(WatchSpec(test_subjects=(1,), window_s=1.98))  # 99 rows
    check(data, [(2, 0), (3, 0), (3, 99)], [(0, 0), (0, 99), (1, 0)], length=99)


def test_of_every_person_and_exercise_the_last_series_is_the_test(write):
    write(content(y=np.array([3, 3, 6, 6])))
    data = load(WatchSpec(split="series", window_s=1.98))
    assert data.keys["subject"].tolist() == [1, 1, 8]
    assert (data.train[1].tolist(), data.test[1].tolist()) == ([3, 3, 6], [3, 6, 6])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"X": None}, "holds no list 'X'"),
        ({"X": []}, "holds no list 'X'"),
        ({"X": [np.zeros((100, 5))] * 4}, "series 0 of 'X' is not an array of 6 columns"),
        ({"X": [np.zeros((100, 6), int)] * 4}, "series 0 of 'X' is not an array of 6 columns"),
        ({"X": [signal(0), np.full((100, 6), np.nan)] * 2}, "series 1 of 'X' holds values that are not finite"),
        ({"y": np.array([0, 1, 2])}, "'y' is not an array of 4 whole numbers"),
        ({"y": [0, 1, 2, 3]}, "'y' is not an array of 4 whole numbers"),
        ({"y": np.array([0, 1, 2, 7])}, "'y' holds a class outside 0 to 6"),
        ({"subject": np.zeros(4)}, "'subject' is not an array of 4 whole numbers"),
        ({"subject": np.array([8, 8, 8, 8])}, "0 windows of 2 s for training and 5 for the test; both need some"),
        ({"X_labels": ["wx", "ax"]}, "'X_labels' are .'wx', 'ax'., expected ax, ay"),
        ({"y_labels": None}, "'y_labels' are None, expected PEN"),
    ],
)
def test_contents_of_another_kind_are_one_sentence(write, changes, said):
    path = write(content(**changes))
    with pytest.raises(BadInputError, match=said) as error:
        load(WatchSpec(test_subjects=(8,)))
    assert str(error.value).startswith(f"{path}: ")


def test_another_object_than_a_dictionary_is_one_sentence(write):
    write("text")
    with pytest.raises(BadInputError, match="holds str, expected a dictionary of recordings"):
        load_dataset(WatchSpec(), 0)


def test_the_people_held_out_must_be_there(write):
    write(content())
    with pytest.raises(BadInputError, match=r"data\.test_subjects: 9 is none of the people in .*: 1, 8"):
        load(WatchSpec(test_subjects=(9,)))
    with pytest.raises(ValidationError, match="'split: people' only"):
        WatchSpec(split="series", test_subjects=(8,))


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("interlude.simulator.data.packaged.find_spec", lambda _: None)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    with pytest.raises(BadInputError, match=r"seglearn, which is not installed; .* pip install 'interlude\[watch\]'"):
        load_dataset(WatchSpec(), 0)
    found = DATASETS["watch"].find(None)
    assert (found.state, found.lacks) == ("missing", "the package seglearn: pip install 'interlude[watch]'")
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch/watch_dataset.npy").write_bytes(b"1234")
    found = DATASETS["watch"].find(tmp_path)
    assert (found.state, found.num_bytes, found.where) == ("complete", 4, tmp_path)


@pytest.fixture(scope="module")
def published():
    if (found := DATASETS["watch"].find(None)).state != "complete":
        pytest.skip(f"needs {found.lacks}")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(DATA_VARIABLE, raising=False)
        specs = {"people": WatchSpec(test_subjects=(8, 9, 10)), "series": WatchSpec(split="series")}
        yield {split: load_dataset(spec, 0) for split, spec in specs.items()}


def test_the_published_recordings_have_their_known_windows(published):
    assert (len(published["series"].train[1]), len(published["series"].test[1])) == (1199, 1170)
    for data in published.values():
        assert len(data.train[1]) + len(data.test[1]) == 2369
        for x in data.train[0].values():
            assert x.shape[1:] == (3, 100)
            assert x.mean(dim=(0, 2)).abs().max() < 1e-4
            assert x.std(dim=(0, 2)).numpy() == pytest.approx(1.0, abs=1e-4)
    assert len(published["people"].test[1]) == 749
    people = published["people"].keys["subject"]
    assert np.bincount(people).tolist() == [0, 284, 273, 157, 150, 249, 242, 265]
    assert "seglearn" not in sys.modules


def test_the_seed_draws_three_people_for_the_test(published):
    trained = [set(load_dataset(WatchSpec(), seed).keys["subject"].tolist()) for seed in (0, 1, 0)]
    assert [len(people) for people in trained] == [7, 7, 7]
    assert trained[0] == trained[2] != trained[1]


def test_ten_people_are_ten_clients_each_with_every_exercise(published):
    data = published["series"]
    shards = partition(NaturalPartition(kind="natural", key="subject"), data, 10, seed=0)
    assert sorted(int(data.keys["subject"][shard][0]) for shard in shards) == list(range(1, 11))
    assert sum(map(len, shards)) == 1199
    for shard in shards:
        assert len(set(data.keys["subject"][shard].tolist())) == 1
        assert data.train[1][shard].bincount(minlength=7).min() > 0
