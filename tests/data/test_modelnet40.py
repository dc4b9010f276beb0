"""modelnet40 on small files in the publishers' layout: views, splits by folder and by file, bad input, a run."""

import numpy as np
import pytest
from PIL import Image

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.simulator.data import DATASETS
from interlude.simulator.data.directory import cache_directory
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.data.modelnet40 import ModelNet40Preparation, ModelNet40Spec
from interlude.simulator.data.prepare import prepare

CLASSES = {"vase": 60, "airplane": 120, "night_stand": 180}
IMAGES = "modelnet40_images_new_12x"


def view(name, split, number, view):
    return f"{IMAGES}/{name}/{split}/{name}_{number:04}.obj.shaded_v{view:03}.png"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return a data set of three classes with 3 training and 1 test object each; back views are 9 brighter."""
    monkeypatch.setenv("INTERLUDE_DATA", str(tmp_path))
    monkeypatch.delenv("INTERLUDE_CACHE", raising=False)
    root = tmp_path / "modelnet40"
    for name, level in CLASSES.items():
        for number in range(1, 5):
            for side, brighter in ((1, 0), (2, 50), (7, 9)):
                path = root / view(name, "train" if number < 4 else "test", number, side)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (12, 12), level + number + brighter).save(path)
    return root


def prepared(**options):
    spec = ModelNet40Spec(image_size=8, **options)
    prepare(ModelNet40Preparation(spec), cache_directory("modelnet40"), num_workers=0)
    return load_dataset(spec, seed=0)


def test_the_folders_give_two_views_of_the_same_object(root):
    dataset = prepared()
    front, back = (dataset.train[0][m] for m in ("front", "back"))
    assert front.shape == back.shape == (9, 3, 8, 8)
    assert front[:, 0, 0, 0].tolist() == [121, 122, 123, 181, 182, 183, 61, 62, 63]  # airplane, night_stand, vase
    assert (back.numpy() == front.numpy() + np.uint8(9)).all()
    assert dataset.train[1].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert dataset.test[0]["front"][:, 2, 7, 7].tolist() == [124, 184, 64]
    assert dataset.num_classes == 3
    assert dataset.names[0] == view("airplane", "train", 1, 1)


def test_split_files_say_which_objects_there_are_and_what_their_labels_are(root):
    lines = [f"{view('vase', 'train', 2, 1)}\t0", f"/home/me/{view('airplane', 'train', 3, 1)}\t2", ""]
    (root / "train.txt").write_text("\n".join(lines))
    dataset = prepared()
    assert dataset.train[0]["front"][:, 0, 0, 0].tolist() == [62, 123]
    assert dataset.train[1].tolist() == [0, 2]
    assert dataset.names == (view("vase", "train", 2, 1), view("airplane", "train", 3, 1))


@pytest.mark.parametrize("side", [1, 7])
def test_objects_that_lack_a_view_are_refused_or_dropped_and_counted(root, side):
    (root / view("vase", "train", 2, side)).unlink()
    with pytest.raises(BadInputError, match=rf"vase_0002\.obj\.shaded_v00{side}\.png: is missing.*1 of 12 samples"):
        prepared()
    dataset = prepared(on_missing="drop")
    assert dataset.num_dropped == 1
    assert len(dataset.train[1]) == 8


def test_a_damaged_view_is_named(root):
    path = root / view("vase", "test", 4, 7)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BadInputError, match=r"vase_0004\.obj\.shaded_v007\.png: is damaged or not an image"):
        prepared()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{view('vase', 'train', 2, 7)}\t2", r"line 2: is '.*'; expected <class>/<split>/<object>\.obj\.shaded_v001"),
        (f"{view('vase', 'train', 2, 1)} 2", "line 2: is "),
        ("vase_0002.obj.shaded_v001.png\t2", "line 2: is "),
        (f"{view('vas', 'train', 2, 1)}\t2", "line 2: there is no folder of class 'vas'; did you mean 'vase'"),
        (f"{view('vase', 'train', 2, 1)}\t3", "line 2: label is '3'; allowed are 0 to 2"),
        (f"{view('vase', 'train', 2, 1)}\t-1", "line 2: label is '-1'"),
        (f"{view('vase', 'train', 2, 1)}\t1", "line 2: class 'vase' has label 1, and 2 further up"),
        (f"{view('vase', 'train', 1, 1)}\t2", "line 2: lists .*vase_0001.* again"),
    ],
)
def test_what_is_wrong_with_a_split_file_is_one_sentence(root, line, said):
    (root / "train.txt").write_text(f"{view('vase', 'train', 1, 1)}\t2\n{line}\n")
    with pytest.raises(BadInputError, match=rf"train\.txt: {said}"):
        prepared()


def test_a_split_file_without_objects_or_text_is_named(root):
    (root / "test.txt").write_text("\n")
    with pytest.raises(BadInputError, match=r"test\.txt: lists no objects"):
        prepared()
    (root / "test.txt").write_bytes(b"\x89PNG\xff")
    with pytest.raises(BadInputError, match=r"test\.txt, line 1: is not UTF-8 text"):
        prepared()


def test_folders_without_objects_are_named(root, tmp_path, monkeypatch):
    for name in CLASSES:
        for path in (root / IMAGES / name / "test").iterdir():
            path.unlink()
    with pytest.raises(BadInputError, match=r"no folder <class>/test holds an object's views"):
        prepared()
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("INTERLUDE_DATA", str(tmp_path / "other"))
    with pytest.raises(BadInputError, match=r"modelnet40_images_new_12x: is missing"):
        prepared()


def test_counts_are_for_information(root, tmp_path):
    found = DATASETS["modelnet40"].find(tmp_path)
    assert found.state == "incomplete"
    assert "(9843 files, 9 found)" in found.lacks


def test_other_folders_need_another_preparation(root):
    prepared()
    (root / view("vase", "train", 2, 1)).unlink()
    (root / view("vase", "train", 2, 7)).unlink()
    with pytest.raises(BadInputError, match="interlude data prepare modelnet40 --set image_size=8"):
        load_dataset(ModelNet40Spec(image_size=8, on_missing="drop"), seed=0)


def test_two_views_train_together(root, scenario_with, tmp_path):
    prepared()
    arrival = {"per_client": {"distribution": "constant", "value_s": 1.0}}
    given = scenario_with(
        {
            "data": {"dataset": "modelnet40", "image_size": 8, "partition": {"kind": "iid"}},
            "model": {"encoder": "conv4", "width": 8},
            "clients.count": 2,
            "world.arrival": {"front": arrival, "back": arrival},
            "world.compute": {"throughput_gflops": 5},
            "training": {"batch_size": 4, "optimizer": {"learning_rate": 0.05}},
            "methods": [{"name": "bmsfed"}],
            "until": {"simulated_s": 10},
        }
    )
    (record,) = run_scenario(parse_scenario(given), runs=tmp_path / "runs", device="cpu", workers=1)
    losses = record.metrics.query("metric == 'loss'")["value"]
    assert losses.iloc[-1] != losses.iloc[0]
