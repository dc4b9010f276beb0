"""Parquet files as pandas, Arrow and others write them: columns are read rightly or refused in one sentence."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interlude.simulator.data.folder import FolderSpec, load
from interlude.simulator.data.parquet import parquet_bytes, read_parquet
from interlude.simulator.errors import BadFileError

TEXTS = ["zoe", "ann", "zoe", "bob", "ann", "bob"]
FRAME = pd.DataFrame(
    {"label": [0, 1, 2, 0, 1, 2], "x": [[float(i), 1.0] for i in range(6)], "key_who": TEXTS, "name": list("abcdef")}
)


@pytest.fixture
def read(tmp_path):
    def write_and_read(table, **options):
        pq.write_table(table, tmp_path / "train.parquet", **options)
        return read_parquet(tmp_path / "train.parquet")

    return write_and_read


def test_an_index_of_pandas_is_left_out_and_its_categories_are_text(tmp_path):
    shuffled = FRAME.sample(frac=1, random_state=0).assign(
        key_who=lambda frame: frame["key_who"].astype("category"), label=lambda frame: frame["label"].astype("category")
    )
    shuffled.to_parquet(tmp_path / "train.parquet")
    FRAME.set_index(pd.Index(range(6), name="row")).to_parquet(tmp_path / "test.parquet")
    assert "__index_level_0__" in pq.read_schema(tmp_path / "train.parquet").names
    dataset = load(FolderSpec(path=tmp_path))
    assert dataset.modalities == ("x",)
    assert dataset.train[1].tolist() == shuffled["label"].tolist()
    assert dataset.train[0]["x"].tolist() == shuffled["x"].tolist()
    assert dataset.keys["who"].tolist() == [sorted(set(TEXTS)).index(who) for who in shuffled["key_who"]]
    assert dataset.names == tuple(shuffled["name"])


def test_an_index_that_is_a_key_stays_one(tmp_path):
    for split in ("train", "test"):
        FRAME.set_index("key_who").to_parquet(tmp_path / f"{split}.parquet")
    assert load(FolderSpec(path=tmp_path)).keys["who"].tolist() == [2, 0, 2, 1, 0, 1]


@pytest.mark.parametrize(
    "texts",
    [
        pa.array(TEXTS, pa.string_view()),
        pa.array(TEXTS, pa.large_string()),
        pa.array(TEXTS).dictionary_encode(),
        pa.chunked_array([pa.array(TEXTS[:2]).dictionary_encode(), pa.array(TEXTS[2:]).dictionary_encode()]),
    ],
    ids=["view", "large", "dictionary", "two dictionaries"],
)
def test_texts_are_texts_however_arrow_holds_them(read, texts):
    assert read(pa.table({"key": texts}))["key"].tolist() == TEXTS
    assert read(pa.table({"key": texts}), row_group_size=2, use_dictionary=False)["key"].tolist() == TEXTS


def test_lists_are_read_from_every_chunk(read):
    rows = np.arange(24.0).reshape(6, 4)
    for column in (
        pa.array(rows.tolist(), pa.list_(pa.float16(), 4)),
        pa.array(rows.tolist(), pa.large_list(pa.float64())),
        pa.array([row.reshape(2, 2).tolist() for row in rows]),
    ):
        found = read(pa.table({"x": column.slice(1)}), row_group_size=2)["x"]
        assert np.array_equal(found.reshape(5, 4), rows[1:])
        assert found.shape == ((5, 2, 2) if pa.types.is_list(column.type) else (5, 4))


COLUMNS = {
    "decimals": pa.array([1, 2], pa.decimal128(20)),
    "dates": pa.array([1, 2], pa.date32()),
    "moments": pa.array([1, 2], pa.timestamp("ns", "UTC")),
    "durations": pa.array([1, 2], pa.duration("s")),
    "booleans": pa.array([True, False]),
    "nulls": pa.nulls(2),
    "bytes": pa.array([b"a", b"b"]),
    "structs": pa.array([{"a": 1.0}] * 2),
    "maps": pa.array([[("a", 1.0)]] * 2, pa.map_(pa.string(), pa.float64())),
    "lists of texts": pa.array([["a"], ["b"]]),
    "lists of lists of structs": pa.array([[[{"a": 1}]]] * 2),
    "tensors": pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((2, 2, 2))),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_of_another_kind_is_named_with_its_type(read, kind):
    with pytest.raises(BadFileError, match=r"train\.parquet: 'x' must be numbers, texts or lists of numbers; it is "):
        read(pa.table({"x": COLUMNS[kind]}))


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([[1.0], [1.0, 2.0]]), "has lists of 1 and of 2"),
        (pa.array([[[1.0]], [[1.0, 2.0]]]), "has lists of 1 and of 2"),
        (pa.array([[1.0], None]), "has 1 empty cells"),
        (pa.array([["a"], None]).flatten().dictionary_encode().take(pa.array([0, None])), "has 1 empty cells"),
        (pa.array([1, None]), "has 1 empty cells"),
    ],
)
def test_cells_that_are_missing_or_of_unequal_length_are_refused(read, column, said):
    for size in (1, 2):
        with pytest.raises(BadFileError, match=said):
            read(pa.table({"x": column}), row_group_size=size)


def test_columns_of_one_name_and_damaged_files_are_one_sentence(read, tmp_path):
    path = tmp_path / "train.parquet"
    with pytest.raises(BadFileError, match="two columns are called 'x'"):
        read(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"]))
    whole = path.read_bytes()
    for content in (b"", b"PAR1", whole[:-5], whole[:-9] + b"\xff" * 9):
        path.write_bytes(content)
        for call in (read_parquet, parquet_bytes):
            with pytest.raises(BadFileError, match=r"train\.parquet: is damaged or not a Parquet file"):
                call(path)


def test_a_column_that_inflates_is_counted_by_the_footer(tmp_path):
    pq.write_table(pa.table({"x": np.zeros(3_000_000)}), tmp_path / "train.parquet")
    assert (tmp_path / "train.parquet").stat().st_size < 100_000
    assert parquet_bytes(tmp_path / "train.parquet") > 3_000_000 * 8


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path):
    folder = tmp_path / "site=3"
    folder.mkdir()
    for split in ("train", "test"):
        FRAME.to_parquet(folder / f"{split}.parquet")
    assert load(FolderSpec(path=folder)).modalities == ("x",)
