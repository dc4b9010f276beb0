"""Labels, keys and numbers of classes at their edges: checked before anything is made in their size."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import interlude
from interlude.simulator.data import function
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.folder import FolderSpec, load
from interlude.simulator.data.function import FunctionSpec
from interlude.simulator.data.own import dataset_of
from interlude.simulator.errors import BadInputError

X = np.ones((3, 2), np.float32)


def data_set(label, num_classes=None, **arrays):
    split = {"label": label, "x": X, **arrays}
    return dataset_of(split, split, ("train.npz", "test.npz"), num_classes)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (np.array([0, 1, 2**62]), "from 0 to 999999; that of sample 2 is 4611686018427387904"),
        (np.array([0, 1, 2**64 - 1], np.uint64), "from 0 to 999999; that of sample 2 is 18446744073709551615"),
        (np.array([0, 1_000_000, 2]), "from 0 to 999999; that of sample 1 is 1000000"),
        (np.array([0, 1, -(2**63)]), "from 0 on; that of sample 2 is -9223372036854775808"),
        (np.array([0, 1, -1], np.int8), "from 0 on; that of sample 2 is -1"),
        ([0, 1, 2**70], "must be integers; it is object"),
        (np.array([0.0, 1.0, 2.0]), "must be integers; it is float64"),
        (np.array([0, 1, np.nan]), "must be integers; it is float64"),
        (np.array([True, False, True]), "must be integers; it is bool"),
        (np.array(["0", "1", "2"]), "must be integers; it is object"),
        (np.array(1), "one number per sample; its shape is ()"),
        (np.array([[0], [1], [2]]), "one number per sample; its shape is (3, 1)"),
        (torch.tensor([0, 1, 2**62]), "that of sample 2 is 4611686018427387904"),
        (torch.tensor([0.0, 1.0, 2.0], dtype=torch.bfloat16), "must be integers; it is float32"),
    ],
)
def test_labels_are_checked_before_they_are_counted(label, said):
    with pytest.raises(BadInputError) as caught:
        data_set(label)
    assert said in str(caught.value)
    assert "train.npz: 'label'" in str(caught.value)


def test_narrow_and_unsigned_labels_are_labels():
    for dtype in (np.uint8, np.int16, np.uint64):
        assert data_set(np.array([0, 2, 1], dtype)).train[1].tolist() == [0, 2, 1]


@pytest.mark.parametrize("num_classes", [2**62, 1_000_001, 0, -1])
def test_a_number_of_classes_beyond_any_is_refused_where_it_is_given(num_classes, tmp_path):
    for spec, given in ((FolderSpec, {"path": tmp_path}), (FunctionSpec, {"dataset": "a:b"})):
        with pytest.raises(ValidationError, match="num_classes"):
            spec(**given, num_classes=num_classes)


def test_a_file_with_a_label_near_the_end_of_integers_is_one_sentence(tmp_path):
    for split in ("train", "test"):
        np.savez(tmp_path / f"{split}.npz", x=X, label=np.array([0, 1, 2**62 - 1]))
    with pytest.raises(BadInputError, match=r"train\.npz: 'label' must be integers from 0 to 999999; that of sample 2"):
        load(FolderSpec(path=tmp_path))


def test_keys_keep_their_order_beyond_signed_integers():
    keys = np.array([2**64 - 1, 3, 2**63], np.uint64)
    assert data_set([0, 1, 2], key_who=keys).keys["who"].tolist() == [2, 0, 1]
    assert data_set([0, 1, 2], key_who=[7, 3, -5]).keys["who"].tolist() == [7, 3, -5]


@pytest.mark.parametrize("name", ["key_who", "name"])
@pytest.mark.parametrize(
    "values",
    [[0.5, 1.0, 2.0], [np.nan] * 3, [True] * 3, ["a", None, "b"], [["a"]] * 3, [b"a"] * 3, 5, [{"a": 1}] * 3],
)
def test_keys_and_names_are_one_integer_or_text_each(name, values):
    with pytest.raises(BadInputError, match=rf"train\.npz: '{name}' must have one integer or text per sample"):
        data_set([0, 1, 2], **{name: values})


def test_tokens_below_zero_and_beyond_32_bits_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="'t': token numbers must be from 0"):
        data_set([0, 1, 2], t=np.array([[2**40], [0], [0]]))
    for split in ("train", "test"):
        for name, array in (("label", np.arange(3)), ("t", np.full((3, 2), -7, np.int32))):
            np.save(tmp_path / f"{split}_{name}.npy", array)
    with pytest.raises(BadInputError, match="'t': sample 0 has token numbers outside 0 to 0"):
        load(FolderSpec(path=tmp_path))


SAMPLES = ({"x": torch.zeros(3, 2)}, torch.tensor([0, 1, 2]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_classes": 2**62}, "num_classes must be from 1 to 1000000; it is 4611686018427387904"),
        ({"num_classes": 0}, "num_classes must be from 1"),
        ({"num_classes": 3.0}, "num_classes must be from 1"),
        ({"num_classes": True}, "num_classes must be from 1"),
        ({"train": SAMPLES[0]}, "train: must be a mapping of modalities to tensors, and a tensor of labels"),
        ({"test": ({"x": X}, SAMPLES[1])}, "test: 'x' must be a tensor of float32"),
        ({"test": ({"x": torch.zeros(3, 2).bfloat16()}, SAMPLES[1])}, "test: 'x' must be a tensor of float32"),
        ({"train": ({"x": torch.zeros(3, 2).to_sparse()}, SAMPLES[1])}, "train: 'x' must be a dense tensor"),
        ({"train": (SAMPLES[0], [0, 1, 2])}, "train: 'label' must be a tensor"),
        ({"train": ({3: torch.zeros(3, 2)}, SAMPLES[1])}, "'3' cannot be a modality's name"),
        ({"keys": {"who": 5}}, "'key_who' must have one integer or text per sample"),
        ({"names": ("a", None, "b")}, "'name' must have one integer or text per sample"),
        ({"train": ({}, SAMPLES[1]), "test": ({}, SAMPLES[1])}, "must be a mapping of modalities"),
    ],
)
def test_a_data_set_of_a_users_own_is_checked_like_arrays(changes, said, monkeypatch):
    module = ModuleType("own_data")
    module.make = interlude.dataset(lambda: Dataset(**{"train": SAMPLES, "test": SAMPLES, "num_classes": 3, **changes}))
    monkeypatch.setitem(sys.modules, "own_data", module)
    with pytest.raises(BadInputError) as caught:
        function.load(FunctionSpec(dataset="own_data:make"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
