"""CSV files as spreadsheets and other programs write them: read rightly, or refused by file and line."""

import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from interlude.simulator.data.partition_files import read_partition
from interlude.simulator.errors import BadFileError, BadInputError
from interlude.simulator.formats.csv_files import csv_table, text_lines
from interlude.simulator.world.availability import AvailabilitySpec
from interlude.simulator.world.distributions import NonNegativeDistribution

TABLE = "device,on_s,off_s\na,0,50\nb,5,60\n"


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "some.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def intervals(path):
    return TypeAdapter(AvailabilitySpec).validate_python({"kind": "intervals", "file": str(path)}).traces


def empirical(path, column):
    given = {"distribution": "empirical", "file": str(path), "column": column}
    return TypeAdapter(NonNegativeDistribution).validate_python(given)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + TABLE.replace("\n", "\r\n").encode(),
        TABLE.replace("\n", "\r").encode(),
        b"\xff\xfe" + TABLE.encode("utf-16-le"),
        b"\xfe\xff" + TABLE.encode("utf-16-be"),
        "device, on_s , off_s\na, 0, 50\n\n b ,5,60\n   \n",
        '"device","on_s","off_s"\n"a","0","50"\n"b","5","60"',
        ",device,on_s,off_s\n0,a,0,50\n1,b,5,60\n",  # pandas' index has no name
        'note,device,on_s,off_s\n"one, two\nlines",a,0,50\n,b,5,60\n',
    ],
    ids=["BOM and CRLF", "CR", "UTF-16 LE", "UTF-16 BE", "spaces and blank lines", "quotes", "index", "line in a cell"],
)
def test_what_spreadsheets_write_is_read(file, content):
    traces = intervals(file(content))
    assert traces.on_s.tolist() == [0.0, 5.0]
    assert traces.off_s.tolist() == [50.0, 60.0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("device,on_s,off_s\na,0,5,50,5\n", "line 2: has 5 cells, but the header has 3; write 1.5 for 1,5"),
        ("device,on_s,off_s\na,0,50\nb,0\n", "line 3: has 2 cells, but the header has 3"),
        ("device,on_s,off_s\na,0,50,\n", "line 2: has 4 cells, but the header has 3"),
        ('device,on_s,off_s\na,"0,5",50\n', "line 2, column 'on_s': '0,5' is not a number; write a decimal point"),
        ("device,on_s,off_s\na,1_000,2000\n", "line 2, column 'on_s': '1_000' is not a number"),
        ("device,on_s,off_s\na,\u0661,50\n", "line 2, column 'on_s': '\u0661' is not a number"),
        ("device,on_s,off_s\na,NaN,50\n", "line 2, column 'on_s': nan is negative or non-finite"),
        ("device,on_s,off_s\na,0,1e999\n", "line 2, column 'off_s': inf is negative or non-finite"),
        ("device,on_s,on_s,off_s\na,0,1,5\n", "line 1: two columns are called 'on_s'"),
        (TABLE.replace(",", ";"), "its cells are separated by semicolons; use commas"),
        (TABLE.replace(",", "\t"), "its cells are separated by tabs"),
        ("device,on,off_s\na,0,5\n", "has no column 'on_s'; its columns are: device, on, off_s; did you mean 'on'?"),
        ("# made by x\n" + TABLE, "line 1: begins with '#', but a CSV file has no comments"),
        (TABLE + "#c,1,2\n", "line 4: begins with '#'"),
        ('device,on_s,off_s\na,0,50\n"b,5,60\n' + "c,1,2\n" * 9, "line 3: a quotation mark is never closed"),
        ('device,on_s,off_s\n"a"b,5,60\n', "line 2: cannot be read as CSV"),
        (TABLE + "\ufeffc,1,2\n", "line 4: a second byte order mark, which cannot be seen, stands here"),
        (TABLE.encode("utf-16-le"), "line 1: is not text: it holds a null character (UTF-16 without"),
        (b"\xff\xfe" + TABLE.encode("utf-16-le")[:-1], "is no longer UTF-16 text"),
        (TABLE.encode() + b"caf\xe9,1,2\n", "line 4: is not UTF-8 text: it holds the byte 0xe9; save it as UTF-8"),
        ("a" * (2 << 20), "line 1: is longer than"),
        (TABLE + "c" * 9999 + ",5,1\n", "line 4: device 'ccc"),
        (",".join(map(str, range(100_000))), "has no column 'device'; its columns are: 0, 1, 2"),
        ("device,on_s,off_s\na,0," + "1" * 100_000 + "x\n", "line 2, column 'off_s': '111"),
        ("", "its columns are: none"),
        ("device,on_s,off_s\n", "has no rows"),
    ],
)
def test_what_could_mean_two_things_is_refused_by_file_and_line(file, content, said):
    path = file(content)
    with pytest.raises(ValidationError) as caught:
        intervals(path)
    sentence = str(caught.value.errors()[0]["ctx"]["error"])
    assert said in sentence
    assert str(path) in sentence
    assert len(sentence) < 400
    assert "\n" not in sentence


def test_a_decimal_comma_in_a_distribution_is_not_cut_off(file):
    path = file("device,mbps\na,1,5\nb,2,75\n")
    with pytest.raises(ValidationError, match=r"line 2: has 3 cells, but the header has 2; write 1\.5 for 1,5"):
        empirical(path, "mbps")


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    for path in (tmp_path / "pipe.csv", tmp_path / "folder.csv", tmp_path / ("a" * 300), "/dev/zero"):
        with pytest.raises(ValidationError, match="cannot read"):
            empirical(path, "a")


def test_a_partition_file_is_read_by_the_same_rules(tmp_path):
    folder = tmp_path / "client-1-alpha-2"
    folder.mkdir()
    path = folder / "client-0.csv"
    for content in (b"\xff\xfe" + "0\r\n1\r\n".encode("utf-16-le"), b"0\r1\r", b"\xef\xbb\xbf0\n\n1\n"):
        path.write_bytes(content)
        assert [shard.tolist() for shard in read_partition(tmp_path, 2.0, 1, 2, None, partial=False)] == [[0, 1]]
    for content, said in (
        (b"0\n\xe9\n", "line 2: is not UTF-8"),
        (b"0\n" + b"1" * 5000, "line 2: '1111"),
        (b"0\n1\0\n", "line 2: is not text"),
    ):
        path.write_bytes(content)
        with pytest.raises(BadInputError, match=said) as caught:
            read_partition(tmp_path, 2.0, 1, 2, None, partial=False)
        assert len(str(caught.value)) < 400
    path.write_text("a\x85b\n", encoding="utf-8")  # a line of Unicode's, not of the file's
    assert [s.tolist() for s in read_partition(tmp_path, 2.0, 1, 1, ["a\x85b"], partial=False)] == [[0]]


@given(st.one_of(st.binary(max_size=60), st.text(alphabet='ab01,;"\n\r\t #\ufeff\0', max_size=40).map(str.encode)))
def test_any_bytes_are_rows_of_equal_length_or_one_sentence(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    with suppress(BadFileError):
        rows = list(csv_table(path, ["a", "b"]))
        assert all(len(cells) == 2 for _, cells in rows)
        assert max((line for line, _ in rows), default=0) <= len(list(text_lines(path)))
