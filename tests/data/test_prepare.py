"""Prepared data: written once, whatever interrupts it, the same bytes by any number of processes."""

import dataclasses

import numpy as np
import pytest
import torch

from interlude.models.inputs import InputSpec
from interlude.simulator.data.prepare import Item, open_prepared, prepare
from interlude.simulator.errors import BadInputError
from interlude.simulator.training.workers.shared_memory import SharedSamples, looking_at, samples_in

MEAN, STD = (0.5,), (0.25,)
READ = []
"""Names of what this process has read."""


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Reads a number from a text file of each sample: `a` is [n, -n], `b` the byte n in a 1 x 2 image."""

    folder: str
    count: int = 40
    scale: int = 1
    on_missing: str = "refuse"
    num_classes: int = 3
    width: int = 2

    @property
    def inputs(self):
        return {"a": InputSpec((self.width,)), "b": InputSpec((1, 1, 2), MEAN, STD)}

    def version(self):
        return f"scale {self.scale}"

    def items(self):
        return [
            Item(
                name=f"n{n}",
                split="test" if n % 4 == 3 else "train",
                label=n % 3,
                files={"a": (f"{self.folder}/{n}.txt",), "b": (f"{self.folder}/{n}.txt",)},
                key={"half": n // 20},
            )
            for n in range(self.count)
        ]

    def read(self, item):
        READ.append(item.name)
        with open(item.files["a"][0]) as file:
            text = file.read()
        if text == "damaged":
            raise BadInputError(f"{item.files['a'][0]}: is damaged")
        value = float(text) * self.scale
        byte = 0 if np.isnan(value) else int(value)
        return {"a": np.array([value, -value], np.float32), "b": np.full((1, 1, 2), byte, np.uint8)}


@pytest.fixture
def raw(tmp_path):
    READ.clear()
    folder = tmp_path / "raw"
    folder.mkdir()
    for n in range(40):
        (folder / f"{n}.txt").write_text(f"{n}.0")
    return Numbers(str(folder))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "numbers"


def content(cache):
    return {path.name: path.read_bytes() for path in sorted(cache.iterdir())}


def assert_is_refused(preparation, cache):
    with pytest.raises(BadInputError, match="run: interlude data prepare numbers"):
        open_prepared(preparation, cache, "numbers")


def assert_holds_numbers(dataset, train, test):
    for (inputs, labels), numbers in ((dataset.train, train), (dataset.test, test)):
        assert inputs["a"].tolist() == [[n, -n] for n in numbers]
        assert inputs["b"].tolist() == [[[[n, n]]] for n in numbers]
        assert labels.tolist() == [n % 3 for n in numbers]


TRAIN = [n for n in range(40) if n % 4 != 3]
TEST = [n for n in range(40) if n % 4 == 3]


def test_samples_lie_in_their_rows_with_labels_keys_and_names(raw, cache):
    assert prepare(raw, cache, 0) == 0
    dataset = open_prepared(raw, cache, "numbers")
    assert_holds_numbers(dataset, TRAIN, TEST)
    assert dataset.keys["half"].tolist() == [n // 20 for n in TRAIN]
    assert dataset.names == tuple(f"n{n}" for n in TRAIN)
    assert dataset.inputs == raw.inputs
    assert dataset.train[0]["b"].dtype == torch.uint8


def test_an_interrupted_preparation_goes_on_where_it_was(raw, cache):
    def interrupt(done, _count):
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(raw, cache, 0, interrupt)
    assert_is_refused(raw, cache)
    assert [f"n{n}" for n in range(16)] == READ
    READ.clear()
    seen = []
    prepare(raw, cache, 0, lambda done, count: seen.append((done, count)))
    assert [f"n{n}" for n in range(16, 40)] == READ
    assert seen == [(16, 40), (32, 40), (40, 40)]
    assert_holds_numbers(open_prepared(raw, cache, "numbers"), TRAIN, TEST)


def test_two_processes_write_the_bytes_of_one_and_name_what_is_damaged(raw, cache, tmp_path):
    prepare(raw, cache, 0)
    READ.clear()
    (tmp_path / "raw" / "39.txt").write_text("damaged")
    seen = []
    with pytest.raises(BadInputError, match=r"39\.txt: is damaged"):
        prepare(raw, tmp_path / "other", 2, lambda done, _: seen.append(done))
    assert READ == []  # others have read
    (tmp_path / "raw" / "39.txt").write_text("39.0")
    prepare(raw, tmp_path / "other", 0)
    assert len(READ) == 40 - seen[-1]
    assert content(cache) == content(tmp_path / "other")


def test_what_is_prepared_is_left_alone(raw, cache):
    prepare(raw, cache, 0)
    READ.clear()
    seen = []
    prepare(raw, cache, 0, lambda done, count: seen.append((done, count)))
    assert READ == []
    assert seen == [(40, 40)]


def test_other_options_are_prepared_anew_and_who_maps_the_old_files_keeps_them(raw, cache):
    prepare(raw, cache, 0)
    before = open_prepared(raw, cache, "numbers")
    doubled = dataclasses.replace(raw, scale=2)
    with pytest.raises(BadInputError, match=r"run: interlude data prepare numbers --set scale=2$"):
        open_prepared(doubled, cache, "numbers", {"scale": 2})
    prepare(doubled, cache, 0)
    assert open_prepared(doubled, cache, "numbers").train[0]["a"][:, 0].tolist() == [2 * n for n in TRAIN]
    assert_holds_numbers(before, TRAIN, TEST)
    assert_is_refused(raw, cache)


def test_an_interrupted_preparation_by_other_options_does_not_mix(raw, cache):
    def interrupt(done, _count):
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(dataclasses.replace(raw, scale=2), cache, 0, interrupt)
    prepare(raw, cache, 0)
    assert_holds_numbers(open_prepared(raw, cache, "numbers"), TRAIN, TEST)


def test_rows_follow_their_samples_where_another_file_is_missing_than_before_the_interruption(raw, cache, tmp_path):
    dropping = dataclasses.replace(raw, on_missing="drop")
    first, second = tmp_path / "raw" / "0.txt", tmp_path / "raw" / "5.txt"
    first.rename(tmp_path / "kept")

    def interrupt(done, _count):
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(dropping, cache, 0, interrupt)
    (tmp_path / "kept").rename(first)
    second.unlink()  # as many as before, but others
    assert prepare(dropping, cache, 0) == 1
    assert_holds_numbers(open_prepared(dropping, cache, "numbers"), [n for n in TRAIN if n != 5], TEST)


def test_samples_that_lack_a_file_are_refused_or_dropped_and_counted(raw, cache, tmp_path):
    for n in (1, 7):
        (tmp_path / "raw" / f"{n}.txt").unlink()
    with pytest.raises(BadInputError, match=r"1\.txt: is missing, which sample 'n1' needs \(2 of 40 .*on_missing"):
        prepare(raw, cache, 0)
    dropping = dataclasses.replace(raw, on_missing="drop")
    assert prepare(dropping, cache, 0) == 2
    dataset = open_prepared(dropping, cache, "numbers")
    assert dataset.num_dropped == 2
    assert_holds_numbers(dataset, [n for n in TRAIN if n != 1], [n for n in TEST if n != 7])
    with pytest.raises(BadInputError, match="was prepared without 2 samples"):
        open_prepared(raw, cache, "numbers")
    for n in (1, 7):
        (tmp_path / "raw" / f"{n}.txt").write_text(f"{n}.0")
    assert prepare(raw, cache, 0) == 0  # they are there again
    assert_holds_numbers(open_prepared(raw, cache, "numbers"), TRAIN, TEST)


def test_two_preparations_at_once_are_one_too_many(raw, cache):
    def prepare_again(_done, _count):
        with pytest.raises(BadInputError, match="is being prepared by another process"):
            prepare(dataclasses.replace(raw, scale=2), cache, 0)

    prepare(raw, cache, 0, prepare_again)
    assert_holds_numbers(open_prepared(raw, cache, "numbers"), TRAIN, TEST)


def test_a_cache_that_cannot_be_written_is_one_sentence(raw, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match=r"file/numbers: cannot be written: .*INTERLUDE_CACHE"):
        prepare(raw, tmp_path / "file" / "numbers", 0)


def test_a_split_without_a_sample_is_refused(raw, cache, tmp_path):
    with pytest.raises(BadInputError, match="the test set has no sample"):
        prepare(dataclasses.replace(raw, count=3), cache, 0)
    for n in TEST:
        (tmp_path / "raw" / f"{n}.txt").unlink()
    with pytest.raises(BadInputError, match="no sample is left for the test set"):
        prepare(dataclasses.replace(raw, on_missing="drop"), cache, 0)


def test_a_damaged_file_is_named_and_nothing_counts_as_prepared(raw, cache, tmp_path):
    (tmp_path / "raw" / "20.txt").write_text("damaged")
    with pytest.raises(BadInputError, match=r"20\.txt: is damaged"):
        prepare(raw, cache, 0)
    assert_is_refused(raw, cache)
    (tmp_path / "raw" / "20.txt").write_text("20")
    prepare(raw, cache, 0)
    assert_holds_numbers(open_prepared(raw, cache, "numbers"), TRAIN, TEST)


def test_samples_of_another_shape_or_that_are_not_finite_are_refused_by_name(raw, cache, tmp_path):
    with pytest.raises(BadInputError, match=r"0\.txt: 'a' has shape \(2,\), expected \(3,\)"):
        prepare(dataclasses.replace(raw, width=3), cache, 0)
    (tmp_path / "raw" / "9.txt").write_text("nan")
    with pytest.raises(BadInputError, match=r"9\.txt: holds values that are not finite"):
        prepare(raw, cache, 0)


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_arrays_that_are_damaged_afterwards_are_named(raw, cache, damage):
    prepare(raw, cache, 0)
    path = cache / "train_a.npy"
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"")
    with pytest.raises(BadInputError, match=r"train_a\.npy: is missing or damaged"):
        open_prepared(raw, cache, "numbers")
    prepare(raw, cache, 0)
    assert_holds_numbers(open_prepared(raw, cache, "numbers"), TRAIN, TEST)


@pytest.mark.parametrize("said", ["", "[]", "{", '{"format": 0}'])
def test_a_description_that_is_damaged_means_that_nothing_is_prepared(raw, cache, said):
    prepare(raw, cache, 0)
    (cache / "prepared.json").write_text(said)
    assert_is_refused(raw, cache)


def test_worker_processes_map_the_files_and_hold_no_copy(raw, cache):
    prepare(raw, cache, 0)
    dataset = open_prepared(raw, cache, "numbers")
    shared = SharedSamples({"train": dataset.train, "test": dataset.test})
    of_files = {name for name, place in shared.places.items() if place.file is not None}
    assert of_files == {"train.a", "train.b", "test.a", "test.b"}
    tensors = looking_at(shared.descriptor, shared.places)
    again = dataclasses.replace(dataset, **samples_in(tensors))
    assert_holds_numbers(again, TRAIN, TEST)
