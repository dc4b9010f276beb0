"""Array files that are damaged or made to harm: one sentence, before anything is allocated; no hang, no warning."""

import gzip
import io
import os
import random
import struct
import zipfile
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlude.simulator.data.folder import FolderSpec, load
from interlude.simulator.data.idx import read_idx
from interlude.simulator.data.images import read_rgb
from interlude.simulator.data.loading import check_memory
from interlude.simulator.data.npy import mapped, npy_header, npz_headers, read_npy, read_npz
from interlude.simulator.errors import BadFileError, BadInputError, CannotRunError

ROWS = np.arange(8, dtype=np.float32).reshape(4, 2)
VALUES = ROWS.tobytes()


def npy(descr="'<f4'", shape="(4, 2)", order="False", content=VALUES, version=1):
    """Return an .npy file whose header says what is given, true or not."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode("latin1")
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + content


def npz(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def sentence(call, *arguments):
    with pytest.raises(BadInputError) as caught:
        call(*arguments)
    said = str(caught.value)
    assert len(said) < 400
    assert "\n" not in said
    return said


HEADERS = {
    "negative": ({"shape": "(-4, -2)"}, "says the shape (-4, -2)"),
    "boolean": ({"shape": "(True, 8)"}, "says the shape (True, 8)"),
    "huge": ({"shape": "(1 << 60,)"}, "is damaged or not an .npy file"),
    "larger than the file": ({"shape": "(1000000000000, 4)"}, "16000000000000 bytes, but 32 follow"),
    "beyond any size": ({"shape": f"({'9' * 400}, {'9' * 400})"}, "bytes, but 32 follow"),
    "smaller than the file": ({"shape": "(3, 2)"}, "(3, 2), 24 bytes, but 32 follow"),
    "unclosed": ({"shape": "(4, (2"}, "is damaged or not an .npy file"),
    "nested": ({"shape": "(" * 300 + ")" * 300}, "is damaged or not an .npy file"),
    "a chain of signs": ({"shape": f"({'-' * 8000}1,)"}, "is damaged or not an .npy file"),
    "more axes than arrays have": ({"shape": f"({'1, ' * 100}8)"}, "says the shape (1, 1, 1"),
    "objects": ({"descr": "'|O'"}, "holds Python objects, which are not read"),
    "values of no size": ({"descr": "'|V0'"}, "0 bytes, but 32 follow"),
    "no type": ({"descr": "'no'"}, "is damaged or not an .npy file"),
    "a type in a type": ({"descr": "('<f4', (99999999, 9999))"}, "is damaged or not an .npy file"),
    "another version": ({"version": 9}, "version 9.0; save plain arrays"),
}


@pytest.mark.parametrize("fault", HEADERS)
def test_a_header_that_lies_is_one_sentence_in_both_formats(fault, tmp_path):
    changes, said = HEADERS[fault]
    path = tmp_path / "a.npy"
    path.write_bytes(npy(**changes))
    for read in (npy_header, read_npy, mapped):
        assert said in sentence(read, path)
    archive = npz(tmp_path / "a.npz", [("x.npy", npy(**changes))])
    for read in (npz_headers, read_npz):
        assert said.replace("an .npy file", "an .npz archive") in sentence(read, archive)


def test_headers_of_python_2_and_odd_places_are_read_without_a_warning(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(npy(shape="(4L, 2L)"))  # values begin at no multiple of their size
    assert np.array_equal(read_npy(path), ROWS)
    assert np.array_equal(read_npz(npz(tmp_path / "a.npz", [("x.npy", path.read_bytes())]))["x"], ROWS)
    path.write_bytes(npy(order="True", content=ROWS.T.tobytes()))
    assert np.array_equal(read_npy(path), ROWS)
    np.save(path, ROWS.astype(">f8"))
    assert np.array_equal(read_npy(path), ROWS)


def write_split(folder, split, **changes):
    arrays = {"label": np.arange(4), "x": ROWS, **changes}
    for name, array in arrays.items():
        np.save(folder / f"{split}_{name}.npy", array)


def test_arrays_that_cannot_be_mapped_are_read(tmp_path):
    for split in ("train", "test"):
        write_split(tmp_path, split)
        (tmp_path / f"{split}_x.npy").write_bytes(npy(shape="(4L, 2L)"))
    assert np.array_equal(load(FolderSpec(path=tmp_path)).train[0]["x"], ROWS)


def encrypted(path):
    """Set the bit that says so in the local header and in the directory."""
    content = bytearray(npz(path, [("x.npy", npy())]).read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


def changed_byte(path, compression):
    content = bytearray(npz(path, [("x.npy", npy(content=os.urandom(32)))], compression).read_bytes())
    content[content.index(b"PK\x01\x02") - 12] ^= 0xFF
    path.write_bytes(content)


ARCHIVES = {
    "encrypted": (encrypted, "is encrypted"),
    "twice": (lambda p: npz(p, [("x.npy", npy()), ("y.npy", npy()), ("x.npy", npy())]), "holds 'x' twice"),
    "a readme": (lambda p: npz(p, [("x.npy", npy()), ("readme.txt", b"")]), "member 'readme.txt' is no array"),
    "truncated": (lambda p: p.write_bytes(npz(p, [("x.npy", npy())]).read_bytes()[:-9]), "is damaged or not an .npz"),
    "wrong sum": (lambda p: changed_byte(p, zipfile.ZIP_STORED), "Bad CRC-32"),
    "broken deflate": (lambda p: changed_byte(p, zipfile.ZIP_DEFLATED), "is damaged or not an .npz"),
    "broken LZMA": (lambda p: changed_byte(p, zipfile.ZIP_LZMA), "is damaged or not an .npz"),
    "broken bzip2": (lambda p: changed_byte(p, zipfile.ZIP_BZIP2), "is damaged or not an .npz"),
    "a long name": (lambda p: npz(p, [("label.npy", npy()), ("x" * 9999 + ".npy", npy())]), "'xxx"),
    "a pickle": (lambda p: p.write_bytes(b"\x80\x04cos\nsystem\n(S'touch opened'\ntR."), "is damaged or not an .npz"),
    "empty": (lambda p: p.write_bytes(b""), "is damaged or not an .npz"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("fault", ARCHIVES)
def test_a_bad_archive_is_one_sentence(fault, tmp_path):
    make, said = ARCHIVES[fault]
    make(tmp_path / "train.npz")
    if fault != "a long name":
        assert said in sentence(read_npz, tmp_path / "train.npz")
    np.savez(tmp_path / "test.npz", label=np.arange(4), x=ROWS)
    assert said in sentence(load, FolderSpec(path=tmp_path))


def bomb(path, num_samples, num_labels):
    """Write arrays of zeros that inflate a thousandfold."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, descr, shape, num_bytes in (
            ("label", "'<i8'", f"({num_labels},)", 8 * num_labels),
            ("x", "'|u1'", f"({num_samples}, 1000)", 1000 * num_samples),
        ):
            with archive.open(f"{name}.npy", "w") as member:
                member.write(npy(descr, shape, content=bytes(num_bytes)))


def test_what_inflates_beyond_the_limit_is_refused_by_its_headers(tmp_path, monkeypatch):
    bomb(tmp_path / "train.npz", 20_000, 20_000)
    np.savez(tmp_path / "test.npz", label=np.arange(4), x=np.zeros((4, 1000), np.uint8))
    monkeypatch.setattr("interlude.simulator.data.npy._values", None)  # whatever inflates
    spec = FolderSpec(path=tmp_path)
    with pytest.raises(CannotRunError, match=r"memory_gb: data set 'folder' takes about 0\.0402 GB .* 0\.03 GB"):
        check_memory(spec, 0.03e9)
    check_memory(spec, 0.05e9)
    bomb(tmp_path / "train.npz", 20_000, 4)
    assert "'x' has 20000 samples, but there are 4 labels" in sentence(check_memory, spec, 1e12)


def test_what_is_mapped_takes_no_memory(tmp_path):
    for split in ("train", "test"):
        write_split(tmp_path, split, label=np.arange(1000), x=np.zeros((1000, 100), np.float32))
    check_memory(FolderSpec(path=tmp_path), 30_000)
    with pytest.raises(CannotRunError):
        check_memory(FolderSpec(path=tmp_path), 10_000)


@pytest.mark.parametrize("name", ["train.npz", "train.parquet", "train_x.npy"])
def test_what_is_no_file_is_not_opened(name, tmp_path):
    write_split(tmp_path, "test")
    os.mkfifo(tmp_path / name)
    assert f"{name}': it is not a file" in sentence(load, FolderSpec(path=tmp_path))
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    assert f"{name}': it is not a file, but a directory" in sentence(load, FolderSpec(path=tmp_path))


def idx(shape, content):
    return b"".join([(0x0800 + len(shape)).to_bytes(4, "big"), *(n.to_bytes(4, "big") for n in shape), content])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(idx((2, 2), bytes(10**7))), "its header says 2 x 2 = 4 bytes, but more follow"),
        (gzip.compress(idx((65536, 65536), b"")), "4294967296 bytes; at most 1073741824 are read"),
        (gzip.compress(idx((2, 2), bytes(4)))[:-3], "Compressed file ended"),
        (gzip.compress(idx((2, 2), bytes(4)))[:-8] + bytes(8), "CRC check failed"),
        (idx((2,), bytes(9)), "begins with the number 2049"),
    ],
)
def test_idx_files_become_no_larger_than_they_say(content, said, tmp_path):
    path = tmp_path / "images"
    path.write_bytes(content)
    assert said in sentence(read_idx, path, 2)


def test_an_image_is_refused_by_its_size_before_it_is_decoded(tmp_path):
    path = tmp_path / "a.png"
    for width, height in ((20_000, 1), (13_000, 13_000)):
        header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        crc = struct.pack(">I", zlib.crc32(header))
        path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + crc + b"\0\0\0\0IDAT" + bytes(4))
        assert f"has {width} x {height} pixels" in sentence(read_rgb, path)
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")  # would be drawn by Ghostscript
    assert "is damaged or not an image" in sentence(read_rgb, path)


WHOLE = npy()
ARCHIVE = io.BytesIO()
np.savez_compressed(ARCHIVE, x=ROWS, label=np.arange(4))


@settings(max_examples=100)
@given(
    st.integers(0, 2**32),
    st.lists(
        st.sampled_from([b"-1", b"True", b"9" * 40, b"(" * 99, b"'|O'", b"'<U0'", b"L", b"\x00", b"\xff", b"{", b"1e9"])
    ),
    st.sampled_from([WHOLE, ARCHIVE.getvalue()]),
)
def test_any_damage_is_an_array_or_one_sentence(tmp_path_factory, seed, pieces, whole):
    chance = random.Random(seed)
    content = bytearray(whole)
    for piece in [*pieces, bytes([chance.randrange(256)])]:
        at = chance.randrange(len(content))
        content[at : at + len(piece) * chance.randrange(2)] = piece
    path = tmp_path_factory.getbasetemp() / "any.npy"
    path.write_bytes(content)
    for read in (read_npy, mapped, read_npz):
        with suppress(BadFileError):
            read(path)
