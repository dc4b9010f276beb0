"""What a user's function may return beside plain arrays: converted without loss, or refused; no mask is dropped."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from interlude.simulator.data.convert import as_array
from interlude.simulator.data.own import dataset_of
from interlude.simulator.errors import BadInputError

VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)


def data_set(x, **arrays):
    split = {"label": [0, 1, 2], "x": x, **arrays}
    return dataset_of(split, split, ("train", "test"))


@pytest.mark.parametrize(
    "masked",
    [
        np.ma.masked_equal(VALUES, 3.0),
        list(np.ma.masked_equal(VALUES, 3.0)),
        tuple(np.ma.masked_equal(VALUES, 3.0)),
        [[row] for row in np.ma.masked_equal(VALUES, 3.0)],
    ],
    ids=["array", "list", "tuple", "nested"],
)
def test_a_mask_that_hides_anything_is_refused(masked):
    with pytest.raises(BadInputError, match="train: 'x' is a masked array with 1 masked values"):
        data_set(masked)


def test_masked_labels_and_keys_are_refused():
    hidden = np.ma.masked_equal([0, 1, 2], 2)
    for name in ("label", "key_who", "name"):
        with pytest.raises(BadInputError, match=f"'{name}' is a masked array"):
            data_set(VALUES, **{name: hidden})


def test_a_mask_that_hides_nothing_is_no_mask():
    assert data_set(np.ma.array(VALUES, mask=False)).train[0]["x"].tolist() == VALUES.tolist()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float64, torch.float32])
def test_floats_of_any_width_become_float32(dtype):
    x = data_set(torch.from_numpy(VALUES).to(dtype)).train[0]["x"]
    assert x.dtype == torch.float32
    assert x.tolist() == VALUES.tolist()


def test_parameters_and_subclasses_are_plain_tensors():
    class Image(Tensor):
        pass

    for given in (torch.nn.Parameter(torch.from_numpy(VALUES)), torch.from_numpy(VALUES).as_subclass(Image)):
        x = data_set(given).train[0]["x"]
        assert type(x) is Tensor
        assert not x.requires_grad


@pytest.mark.filterwarnings("ignore")  # torch warns of what it is still trying
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: torch.from_numpy(VALUES).to_sparse(), "must be a dense tensor with values; it is torch.sparse_coo"),
        (lambda: torch.from_numpy(VALUES).to_sparse_csr(), "it is torch.sparse_csr"),
        (lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "it is nested"),
        (lambda: torch.quantize_per_tensor(torch.from_numpy(VALUES), 0.1, 0, torch.quint8), "it is quantized"),
        (lambda: torch.zeros(3, 2, device="meta"), "it is meta"),
        (lambda: torch.masked.masked_tensor(torch.zeros(3, 2), torch.zeros(3, 2) > 0), "is a masked tensor"),
        (lambda: torch.zeros(3, 2, dtype=torch.complex64), "must be floats, bytes or integers; it is complex64"),
        (lambda: np.array([[1, 2], [3, 4], [5, 6]], dtype=complex), "must be floats, bytes or integers"),
        (lambda: [[1, 2], [3], [4, 5]], "cannot be made an array"),
        (object, "must be floats, bytes or integers; it is object"),
    ],
)
def test_what_is_no_dense_array_is_one_sentence(make, said):
    with pytest.raises(BadInputError) as caught:
        data_set(make())
    assert str(caught.value).startswith("train: 'x' ")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_an_object_that_fails_to_become_an_array_is_one_sentence():
    class Fails:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("on a device\nfar away")

    with pytest.raises(BadInputError, match="'x' cannot be made an array: on a device far away"):
        data_set(Fails())


@pytest.mark.parametrize("texts", [pd.Categorical(["b", "a", "b"]), pd.Series(["b", "a", "b"]), ["b", "a", "b"]])
def test_texts_of_pandas_are_texts(texts):
    dataset = data_set(VALUES, key_who=texts, name=texts)
    assert dataset.keys["who"].tolist() == [1, 0, 1]
    assert dataset.names == ("b", "a", "b")


def test_empty_cells_are_no_text():
    assert as_array(["a", None], "x").dtype == object
    with pytest.raises(BadInputError, match="'key_who' must have one integer or text per sample"):
        data_set(VALUES, key_who=pd.Categorical(["b", None, "b"]))
