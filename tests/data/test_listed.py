"""Own data without NumPy: CSV tables, folders of images, and data sets of the Hugging Face Hub, read and refused."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from interlude import parse_scenario, run_scenario
from interlude.simulator.data.huggingface import HuggingFaceSpec
from interlude.simulator.data.image_folders import ImagesSpec
from interlude.simulator.data.listed import class_numbers, drawn_test
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.data.table import TableSpec
from interlude.simulator.errors import BadInputError
from interlude.simulator.scenario.loading import load_scenario

LIST = "clip,class,split,who,a,b,said,photo\n" + "".join(
    f"c{i},{'cat' if i % 2 else 'dog'},{'test' if i > 5 else 'train'},p{i % 3},{i},{i % 2}.5,word{i % 2} x,i/{i}.png\n"
    for i in range(8)
)
MOTION = "clip,x,y\n" + "".join(f"c{i},{10 * i},{i}e1\n" for i in reversed(range(8)))
OPTIONS = {
    "label": "class",
    "split": "split",
    "id": "clip",
    "keys": ["who"],
    "modalities": {
        "numbers": {"columns": ["a", "b"]},
        "motion": {"file": "motion.csv", "shape": [2, 1]},
        "words": {"texts": "said"},
        "sight": {"images": "photo", "size": 4, "gray": True},
    },
}


def image(path, level, size=(6, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path)


@pytest.fixture
def table(tmp_path):
    """Return a function from contents of the files and changed options to the data set of a CSV list."""
    for i in range(8):
        image(tmp_path / f"i/{i}.png", 20 * i)

    def read(listed=LIST, motion=MOTION, **options):
        for name, text in (("list.csv", listed), ("motion.csv", motion)):
            (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        modalities = {m: dict(o) for m, o in {**OPTIONS, **options}["modalities"].items()}
        for given in modalities.values():
            if "file" in given:
                given["file"] = tmp_path / given["file"]
        spec = {**OPTIONS, **options, "file": tmp_path / "list.csv", "modalities": modalities}
        return load_dataset(TableSpec.model_validate(spec), 0)

    return read


def test_a_table_becomes_numbers_texts_and_images(table):
    dataset = table(standardise=False)
    inputs, labels = dataset.train
    assert labels.tolist() == [1, 0, 1, 0, 1, 0]  # cat, dog in alphabetical order
    assert inputs["numbers"].tolist() == [[i, i % 2 + 0.5] for i in range(6)]
    assert inputs["motion"].tolist() == [[[10.0 * i], [10.0 * i]] for i in range(6)]  # found by the clip's name
    assert dataset.test[0]["sight"][:, 0, 0, 0].tolist() == [120, 140]
    assert inputs["words"][:, :2].tolist() == [[3, 2], [4, 2]] * 3  # x is the most frequent; then word0, word1
    assert dataset.keys["who"].tolist() == [0, 1, 2, 0, 1, 2]
    assert dataset.names == tuple(f"c{i}" for i in range(6))


def test_numbers_are_standardised_on_the_training_samples(table):
    numbers = table().train[0]["numbers"].numpy()
    np.testing.assert_allclose(numbers.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(numbers.std(axis=0), 1, atol=1e-6)
    constant = table(LIST.replace(".5,", ",").replace(",0,word", ",1,word"))
    assert constant.train[0]["numbers"][:, 1].tolist() == [0.0] * 6  # a deviation of 0 divides nothing


def test_without_an_id_rows_are_in_one_order_and_without_a_split_the_test_is_drawn(table):
    motion = "x,y\n" + "".join(f"{i},0\n" for i in range(8))
    dataset = table(motion=motion, id=None, split=None, test_fraction=0.25, standardise=False)
    assert [len(labels) for _, labels in (dataset.train, dataset.test)] == [6, 2]
    inputs, labels = dataset.test
    assert inputs["motion"][:, 0, 0].tolist() == inputs["numbers"][:, 0].tolist()
    assert sorted(labels.tolist()) == [0, 1]


def test_samples_that_a_modality_lacks_are_refused_or_left_out(table):
    without = MOTION.replace("c1,10,1e1\n", "")
    with pytest.raises(BadInputError, match=r"list.csv, line 3: sample 'c1' is not in .*motion.csv"):
        table(motion=without)
    dataset = table(motion=without, on_missing="drop")
    assert (len(dataset.train[1]), dataset.num_dropped) == (5, 1)
    assert "c1" not in dataset.names


def test_samples_that_a_modality_lacks_can_be_kept_without_it(table):
    whole, kept = (
        table(standardise=False),
        table(motion=MOTION.replace("c1,10,1e1\n", ""), on_missing="keep", standardise=False),
    )
    place = kept.names.index("c1")
    motion = kept.train[0]["motion"]
    assert motion[place].isnan().all()
    assert motion[place + 1 :].equal(whole.train[0]["motion"][place + 1 :])
    assert {m for m, given in kept.inputs.items() if given.may_lack} == {"motion"}
    assert not any(given.may_lack for given in whole.inputs.values())
    scaled = table(motion=MOTION.replace("c1,10,1e1\n", ""), on_missing="keep").train[0]["motion"]
    assert scaled[~scaled.isnan()].mean().abs() < 1e-6  # by the samples that have it
    apart = {"numbers": OPTIONS["modalities"]["numbers"], "words": {"file": "motion.csv", "texts": "x"}}
    words = table(motion=MOTION.replace("c1,10,1e1\n", ""), on_missing="keep", modalities=apart)
    assert not words.train[0]["words"][words.names.index("c1")].any()
    assert words.inputs["words"].may_lack


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"listed": LIST.replace("c3,cat,", "c3,cat,more,")}, "list.csv, line 5: has 9 cells, but the header has 8"),
        ({"listed": LIST.replace(",", ";")}, "list.csv: its cells are separated by semicolons"),
        ({"motion": MOTION.replace(",", "\t")}, "motion.csv: its cells are separated by tabs"),
        (
            {"motion": MOTION.replace("c5,50,5e1", 'c5,50,"5,5"')},
            "line 4, column 'y': '5,5' is not a number; write a dec",
        ),
        ({"motion": MOTION.replace("5e1", "inf")}, "motion.csv, line 4, column 'y': inf is not a finite number"),
        ({"motion": MOTION.replace("5e1", "")}, "motion.csv, line 4, column 'y': is empty"),
        ({"motion": MOTION.replace("c5", "c4")}, "motion.csv, line 5: sample 'c4' stands in line 4, too"),
        ({"listed": LIST.replace("cat", "Käfer").encode("latin-1")}, "list.csv, line 3: is not UTF-8 text"),
        (
            {"listed": LIST.replace("test", "tset")},
            "list.csv, line 8, column 'split': must be train or test; given 'tset'",
        ),
        ({"listed": LIST.replace(",dog,", ",,")}, "list.csv, line 2, column 'class': is empty"),
        ({"listed": LIST.replace("i/2.png", "i/no.png")}, "list.csv, line 4: cannot read"),
        ({"listed": LIST.replace("i/2.png", "list.csv")}, "list.csv, line 4: "),
        ({"label": "clas"}, "has no column 'clas'"),
        ({"motion": "clip,x,y\n", "id": None}, "motion.csv: has 0 rows, but "),
        ({"listed": LIST.partition("\n")[0]}, "list.csv: has no samples"),
        ({"motion": ""}, "motion.csv: is empty"),
        (
            {"modalities": {"m": {"file": "motion.csv", "columns": ["x"], "shape": [3]}}},
            "motion.csv: has 1 columns of numbers, which cannot have the shape [3]",
        ),
    ],
)
def test_a_bad_table_is_one_sentence(changes, said, table):
    with pytest.raises(BadInputError) as refused:
        table(**changes)
    assert said in str(refused.value)


def test_a_table_beside_the_scenario_trains_and_keeps_its_identity(table, tmp_path, scenario_with, monkeypatch):
    table()
    monkeypatch.delenv("INTERLUDE_DATA", raising=False)
    arrival = {"per_client": {"distribution": "constant", "value_s": 1.0}}
    modalities = {m: OPTIONS["modalities"][m] for m in ("numbers", "motion")}
    changes = {
        "data": {"dataset": "table", "file": "list.csv", **OPTIONS, "modalities": modalities},
        "clients.count": 2,
        "world.arrival": {"numbers": arrival, "motion": arrival},
        "until": {"versions": 1},
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(scenario_with(changes)))
    scenario = load_scenario(tmp_path / "own.yaml")
    (record,) = run_scenario(scenario, runs=tmp_path / "runs", device="cpu")
    assert record.is_complete
    assert {"list.csv", "motion.csv"} <= set(record.info["files"])
    assert parse_scenario(record.scenario).digest() == scenario.digest()


@pytest.fixture
def photos(tmp_path):
    """Two modalities of images by class, 4 samples each."""
    for modality, factor in (("left", 1), ("right", 2)):
        for i in range(8):
            image(tmp_path / f"p/{modality}/{'ab'[i % 2]}/{i}.png", 10 * i * factor, (6, 3))
    (tmp_path / "p/left/a/.DS_Store").write_text("hidden")
    return tmp_path / "p"


def test_folders_of_images_by_class(photos):
    dataset = load_dataset(ImagesSpec(path=photos, size=6, gray=("right",), test_fraction=0.25), 0)
    assert {m: given.shape for m, given in dataset.inputs.items()} == {"left": (3, 6, 6), "right": (1, 6, 6)}
    assert (len(dataset.train[1]), len(dataset.test[1]), dataset.num_classes) == (6, 2, 2)
    left, right = (dataset.train[0][m][:, 0, 3, 3].tolist() for m in ("left", "right"))
    assert [2 * level for level in left] == right
    assert [int(name.partition("/")[2]) * 10 for name in dataset.names] == left
    assert dataset.train[0]["left"][:, :, 0].sum() == 0  # padded with black to a square


def test_folders_of_training_and_test_images(photos):
    for modality in ("left", "right"):
        for i in range(8):
            folder = photos / modality / "ab"[i % 2]
            image(photos / f"own/{modality}/{'train' if i else 'test'}/{folder.name}/{i}.png", i)
    dataset = load_dataset(ImagesSpec(path=photos / "own", size=4), 0)
    assert (len(dataset.train[1]), len(dataset.test[1])) == (7, 1)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda p: (p / "left/a/0.png").write_text("no image"), "left/a/0.png: is damaged or not an image"),
        (lambda p: (p / "right/b/1.png").unlink(), "left/b/1.png: has no image of that class and name in 'right'"),
        (lambda p: (p / "left/stray.txt").write_text(""), "left/stray.txt: is not a folder"),
        (lambda p: image(p / "left/a/0.jpg", 3), "is the same sample as 0.jpg"),
        (lambda p: image(p / "train/a/0.jpg", 3), "has the folder 'train' or 'test'"),
        (lambda p: image(p / "left/test/a/0.jpg", 3), "left: has the folder 'test' alone"),
        (lambda p: p.rename(p.parent / "q"), "does not exist"),
    ],
)
def test_bad_folders_of_images_are_one_sentence(broken, said, photos):
    broken(photos)
    with pytest.raises(BadInputError) as refused:
        load_dataset(ImagesSpec(path=photos), 0)
    assert said in str(refused.value)


def hub_table(num_rows, tmp_path):
    """Return the columns that the library's features are stored as: an image, a text, a list, numbers and a class."""
    image(tmp_path / "one.png", 50)
    content = {"bytes": (tmp_path / "one.png").read_bytes(), "path": None}
    columns = {
        "photo": [content] * num_rows,
        "text": [f"word{i % 2}" for i in range(num_rows)],
        "series": [[[float(i), 1.0]] for i in range(num_rows)],
        "age": list(range(num_rows)),
        "label": [i % 2 for i in range(num_rows)],
        "who": [f"p{i % 3}" for i in range(num_rows)],
    }
    return pa.table(columns)


def write_arrow(table, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)


def write_saved(root, tables):
    for split, table in tables.items():
        write_arrow(table, root / split / "data-00000-of-00001.arrow")
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
        (root / split / "state.json").write_text(json.dumps(state))


def write_cached(root, tables):
    for split, table in tables.items():
        write_arrow(table, root / f"my-set-{split}.arrow")


def write_hub(root, tables):
    (root / "data").mkdir(parents=True)
    for split, table in tables.items():
        for part in range(2):
            piece = table.slice(part * 4, 4 if not part else None)
            pq.write_table(piece, root / "data" / f"{split}-0000{part}-of-00002.parquet")


COLUMNS = {"photo": "photo", "text": "text", "series": "series", "age": ("age",)}


@pytest.fixture(params=[write_saved, write_cached, write_hub])
def hub(request, tmp_path):
    request.param(tmp_path / "hub", {"train": hub_table(8, tmp_path), "test": hub_table(6, tmp_path)})
    return tmp_path / "hub"


def test_each_layout_of_the_hub_is_read(hub):
    spec = HuggingFaceSpec(path=hub, modalities=COLUMNS, keys=("who",), size=4, standardise=False)
    dataset = load_dataset(spec, 0)
    shapes = {m: given.shape for m, given in dataset.inputs.items()}
    assert shapes == {"photo": (3, 4, 4), "text": (32,), "series": (1, 2), "age": (1,)}
    assert (dataset.train[1].tolist(), len(dataset.test[1])) == ([0, 1] * 4, 6)
    assert dataset.train[0]["age"][:, 0].tolist() == list(range(8))
    assert dataset.keys["who"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    drawn = load_dataset(spec.model_copy(update={"test": None}), 0)
    assert len(drawn.train[1]) + len(drawn.test[1]) == 8


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"label": "labels"}, "has no column 'labels'"),
        ({"test": "validation"}, "data.test: {0} has no split 'validation'; it has test, train"),
        ({"modalities": {"x": ("text",)}}, "{0}, train: 'text' must be one number per row"),
        ({"gray": ("foto",)}, "data.gray: unknown modality 'foto'; did you mean 'photo'?"),
    ],
)
def test_what_the_hubs_files_do_not_have_is_one_sentence(options, said, tmp_path):
    write_hub(tmp_path / "hub", {"train": hub_table(8, tmp_path), "test": hub_table(6, tmp_path)})
    with pytest.raises(BadInputError) as refused:
        load_dataset(HuggingFaceSpec(**{"path": tmp_path / "hub", "modalities": COLUMNS, **options}), 0)
    assert said.format(tmp_path / "hub") in str(refused.value)


def test_unlabelled_rows_damaged_files_and_selections_are_refused(tmp_path):
    table = hub_table(8, tmp_path)
    unlabelled = table.set_column(table.schema.names.index("label"), "label", [[-1] * 8])
    write_saved(tmp_path / "hub", {"train": table, "test": unlabelled})
    spec = HuggingFaceSpec(path=tmp_path / "hub", modalities={"age": ("age",), "text": "text"})
    with pytest.raises(BadInputError, match=r"test: 'label', row 0: .* which means unlabelled"):
        load_dataset(spec, 0)
    state = tmp_path / "hub" / "test" / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "_indices_data_files": [{"filename": "i.arrow"}]}))
    with pytest.raises(BadInputError, match="flatten_indices"):
        load_dataset(spec, 0)
    write_saved(tmp_path / "hub", {"test": table})
    (tmp_path / "hub/train/data-00000-of-00001.arrow").write_bytes(b"nothing")
    with pytest.raises(BadInputError, match="is damaged or not an Arrow file"):
        load_dataset(spec, 0)


def test_classes_are_numbered_in_order_and_a_drawn_test_has_its_share_of_each():
    assert class_numbers(["10", "9", "10"]).tolist() == [1, 0, 1]
    assert class_numbers(["b", "10", "a"]).tolist() == [2, 0, 1]
    labels = np.repeat([0, 1, 2], [20, 10, 1])
    test = drawn_test(labels, 0.2, np.random.default_rng(0))
    assert np.bincount(labels[test], minlength=3).tolist() == [4, 2, 0]  # a class's only sample is trained on
