"""A pickle of arrays is read by stand-ins: nothing that it names is run, nothing is allocated that it does not hold."""

import io
import os
import pickle

import numpy as np
import pytest

from interlude.simulator.data.pickled import _Unpickler, read_pickled
from interlude.simulator.errors import BadInputError

HEADER = {"descr": "|O", "fortran_order": False, "shape": ()}
HELD = {"x": np.arange(6.0).reshape(2, 3), "flags": np.array([True, False]), "names": ["a", "b"]}


def write(path, content, header=None):
    """Write an .npy file whose content is a pickle."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header or HEADER)
    path.write_bytes(stream.getvalue() + content)
    return path


def pickled(held, protocol=2):
    return pickle.dumps(np.array(held, dtype=object), protocol=protocol)


class Calls:
    """An object whose pickle calls something with arguments, and sets a state on what it returns."""

    def __init__(self, *calls):
        self.calls = calls

    def __reduce__(self):
        return self.calls


@pytest.mark.parametrize("protocol", [2, 3, 4])  # 2: bytes are written as texts, through _codecs.encode
@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_arrays_are_read_as_they_were_written(tmp_path, protocol, module):
    held = HELD | {"columns": np.asfortranarray(HELD["x"]), "big": np.arange(3, dtype=">i4")}
    content = pickled(held, protocol)
    if protocol < 4:  # names end at a line, their lengths are not said
        content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray").replace(
            b"numpy.core.multiarray", module
        )
    read = read_pickled(write(tmp_path / "a.npy", content))
    assert read["names"] == ["a", "b"]
    for name in held.keys() - {"names"}:
        assert np.array_equal(read[name].values, held[name])
    assert (read["big"].values.dtype, read["flags"].values.dtype) == (np.dtype(">i4"), np.dtype(bool))


def test_nothing_that_it_names_is_run(tmp_path):
    path = write(tmp_path / "a.npy", pickled({"x": Calls(os.mkdir, (str(tmp_path / "ran"),))}))
    with pytest.raises(BadInputError, match=r"a\.npy: is a pickle that asks for '\w+\.mkdir'") as error:
        read_pickled(path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


RECONSTRUCT, (NDARRAY, *_), (_, _, FLOATS, *_) = np.arange(2.0).__reduce__()
START = (RECONSTRUCT, (NDARRAY, (0,), b"b"))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (Calls(os.system, ("true",)), r"asks for '\w+\.system'"),
        (Calls(eval, ("1",)), r"asks for '\w+\.eval'"),
        (Calls(np.load, ("x",)), r"asks for 'numpy\.load'"),
        (Calls(*START, (1, (1 << 50,), FLOATS, False, b"1")), r"\(1125899906842624,\) needs 9007199254740992 bytes"),
        (Calls(*START, (1, (-1, -1), FLOATS, False, b"12345678")), r"has the shape \(-1, -1\)"),
        (Calls(*START, (1, (1,), FLOATS, False, [1.0])), "content is not of its type"),
        (Calls(*START, (1, (1,), "f8", False, b"12345678")), "content is not of its type"),
        (Calls(np.ndarray, ((1 << 50,),)), "not callable"),
        (Calls(RECONSTRUCT, (dict, (0,), b"b")), "asks for"),
        (np.zeros(2, dtype=[("a", "f4")]), "no type of numbers"),
        (np.array(["text"]), "no type of numbers"),
    ],
)
def test_anything_but_arrays_of_numbers_is_one_sentence(tmp_path, bad, said):
    with pytest.raises(BadInputError, match=rf"a\.npy: .*{said}"):
        read_pickled(write(tmp_path / "a.npy", pickled({"x": bad})))


def test_a_pickle_sets_no_attribute_that_lasts(tmp_path):
    """It builds the function numpy.dtype with the state {'left': 5}."""
    before = {name: dict(vars(found)) for name, found in vars(_Unpickler).items() if callable(found)}
    with pytest.raises(BadInputError, match="is damaged or not"):
        read_pickled(write(tmp_path / "a.npy", b"\x80\x02cnumpy\ndtype\n}X\x04\x00\x00\x00leftK\x05sb."))
    assert {name: dict(vars(found)) for name, found in vars(_Unpickler).items() if callable(found)} == before


CALL, LATIN = b"c_codecs\nencode\n", b"X\x06\x00\x00\x00latin1tR"
ONE_TEXT_A_HUNDRED_TIMES = (
    b"\x80\x02]("
    + CALL
    + b"(X\xe8\x03\x00\x00"
    + b"a" * 1000
    + b"q\x01"
    + LATIN
    + 100 * (CALL + b"(h\x01" + LATIN)
    + b"e."
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x80\x02r\xff\xff\xff\x7f.", "is a pickle of more than 65536 objects"),  # number 2^31 - 1 to one object
        (pickled(HELD)[:-30], "is damaged or not"),
        (pickled(HELD)[:10], "is damaged or not"),
        (b"", "is damaged or not"),
        (pickle.dumps({"x": 1}), "is no pickle of an array"),
        (ONE_TEXT_A_HUNDRED_TIMES, "not one of an array's bytes"),
    ],
)
def test_a_damaged_pickle_is_one_sentence(tmp_path, content, said):
    with pytest.raises(BadInputError, match=rf"a\.npy: .*{said}") as error:
        read_pickled(write(tmp_path / "a.npy", content))
    assert "\n" not in str(error.value)


def test_another_file_than_one_object_is_one_sentence(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(3))
    with pytest.raises(BadInputError, match=r"holds float64 of shape \(3,\), expected a single object"):
        read_pickled(path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(BadInputError, match="is damaged or not"):
        read_pickled(path)
    path.write_bytes(b"<html>")
    with pytest.raises(BadInputError, match="is damaged or not"):
        read_pickled(path)
    with pytest.raises(BadInputError, match="cannot read"):
        read_pickled(tmp_path / "none.npy")
