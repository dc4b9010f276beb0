"""crisismmd on small files in the publishers' layout: exact values, quirks of the files, bad input, a run."""

import numpy as np
import pytest
import torch
from PIL import Image

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.simulator.data import DATASETS
from interlude.simulator.data.crisismmd import COLUMNS, CrisisMmdPreparation, CrisisMmdSpec
from interlude.simulator.data.directory import cache_directory
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.data.prepare import prepare

HEADER = "\t".join(COLUMNS)
SPLITS = "crisismmd_datasplit_all/task_informative_text_img_{}.tsv"


def line(number, text, label="informative", event="hurricane_irma", image=None):
    image_id = f"{900 + number}_0"
    path = image or f"data_image/{event}/1_9_2017/{image_id}.jpg"
    fields = [event, str(900 + number), image_id, text, path, label, label, label, "Positive"]
    return "\t".join(fields)


def write_split(root, name, lines, header=HEADER):
    path = root / SPLITS.format(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def write_image(root, number, event="hurricane_irma", size=(40, 20), colour=(200, 100, 50)):
    path = root / f"data_image/{event}/1_9_2017/{900 + number}_0.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, quality=95)
    return path


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return a data set of 12 training and 4 test tweets."""
    monkeypatch.setenv("INTERLUDE_DATA", str(tmp_path))
    monkeypatch.delenv("INTERLUDE_CACHE", raising=False)
    root = tmp_path / "crisismmd"
    events = ["hurricane_irma", "california_wildfires"]
    train, test = [], []
    for number in range(16):
        event, informative = events[number % 2], number % 4 < 2
        text = f'RT @a: "{"flood" if informative else "party"} water #{number} http://t.co/{number}'
        write_image(root, number, event, colour=(200, 100, 50) if informative else (20, 30, 220))
        listed = line(number, text, "informative" if informative else "not_informative", event)
        (train if number < 12 else test).append(listed)
    write_split(root, "train", train)
    write_split(root, "test", test)
    return root


def prepared(**options):
    spec = CrisisMmdSpec(image_size=32, **options)
    prepare(CrisisMmdPreparation(spec), cache_directory("crisismmd"), num_workers=0)
    return load_dataset(spec, seed=0)


def test_texts_and_labels_and_events_are_those_of_the_files(root):
    dataset = prepared(max_tokens=6)
    texts, labels = dataset.train[0]["text"], dataset.train[1]
    assert texts.shape == (12, 6)
    assert texts.dtype == torch.int32
    # a 12 times, water 12, flood 6, party 6, and each number once: "0" to "11" in the order of code points
    assert texts[0].tolist() == [2, 4, 3, 6, 0, 0]  # a flood water 0
    assert texts[2].tolist() == [2, 5, 3, 10, 0, 0]  # a party water 2, after 0, 1, 10, 11
    assert dataset.test[0]["text"][0].tolist() == [2, 4, 3, 1, 0, 0]  # 12 is no word of the training texts
    assert dataset.inputs["text"].num_tokens == 18
    assert labels.tolist() == [1, 1, 0, 0] * 3
    assert dataset.keys["event"].tolist() == [1, 0] * 6  # in alphabetical order: the wildfires come first
    assert dataset.names[:2] == ("900_0", "901_0")
    assert dataset.num_classes == 2


def test_images_are_padded_to_a_black_square_resized_and_cut(root):
    image = prepared().train[0]["image"][0].numpy()
    assert image.shape == (3, 32, 32)
    assert image.dtype == np.uint8
    assert np.abs(image[:, 16, 16].astype(int) - (200, 100, 50)).max() <= 3  # JPEG
    assert image[:, :6].max() <= 8  # 40 x 20 pixels: a quarter of the height is black above, a quarter below
    assert image[:, -6:].max() <= 8
    assert image[0, 11:21].min() >= 190
    assert prepared().inputs["image"].mean == (0.5, 0.5, 0.5)


def test_the_middle_is_cut_out_of_an_image_that_is_larger_by_four_pixels(root):
    """At 224 pixels the image is first 228: two pixels go at every side."""
    pixels = np.zeros((228, 228, 3), dtype=np.uint8)
    pixels[2:226, 2:226] = 255
    path = root / "data_image/hurricane_irma/1_9_2017/900_0.jpg"
    Image.fromarray(pixels).save(path, format="PNG")  # without loss; Pillow looks at the content
    preparation = CrisisMmdPreparation(CrisisMmdSpec())
    assert (preparation.read(preparation.items()[0])["image"] == 255).all()


def test_quotation_marks_carriage_returns_and_repeated_images_are_no_trouble(root):
    lines = [line(0, 'he said "water\rnow'), line(2, 'unbalanced" too'), line(0, "again"), line(0, "and again")]
    write_split(root, "train", [f"{text}\r" for text in lines], header=f"\ufeff{HEADER}\r")
    dataset = prepared()
    assert dataset.names == ("900_0", "902_0", "900_0#2", "900_0#3")
    assert (dataset.train[0]["text"][0] != 0).sum() == 4


def test_tweets_without_an_image_are_refused_or_dropped_and_counted(root):
    gone = root / "data_image/hurricane_irma/1_9_2017/902_0.jpg"
    gone.unlink()
    with pytest.raises(BadInputError, match=r"902_0\.jpg: is missing.*1 of 16 samples.*data\.on_missing"):
        prepared()
    dataset = prepared(on_missing="drop")
    assert dataset.num_dropped == 1
    assert len(dataset.train[1]) == 11
    assert "902_0" not in dataset.names


def test_the_development_split_can_be_tested_on(root):
    write_split(root, "dev", [line(12, "water")])
    assert len(prepared(test_split="dev").test[1]) == 1


def test_damaged_images_are_named(root):
    path = root / "data_image/hurricane_irma/1_9_2017/900_0.jpg"
    noisy = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noisy).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(BadInputError, match=r"900_0\.jpg: is damaged or not an image: .*truncated"):
        prepared()
    path.write_text("<html>not found</html>")
    with pytest.raises(BadInputError, match=r"900_0\.jpg: is damaged or not an image: cannot identify"):
        prepared()


@pytest.mark.parametrize(
    ("lines", "header", "said"),
    [
        ([line(0, "a")], HEADER.replace("label_text_image", "labels"), "line 1: its columns are .*expected event_name"),
        ([line(0, "a")], "", "line 1: its columns are ''"),
        ([line(0, "a"), "a\tb"], HEADER, "line 3: has 2 fields, expected 9"),
        ([line(0, "a\tb")], HEADER, "line 2: has 10 fields"),
        ([line(0, "a", "maybe")], HEADER, "line 2: label is 'maybe'; allowed are not_informative, informative"),
        ([line(0, "a", image="../secret.jpg")], HEADER, r"line 2: image is '\.\./secret\.jpg'; expected a path below"),
        ([line(0, "a", image="/etc/x.jpg")], HEADER, "line 2: image is '/etc/x.jpg'"),
        ([], HEADER, "lists no tweets"),
    ],
)
def test_what_is_wrong_with_a_split_file_is_one_sentence(root, lines, header, said):
    write_split(root, "train", lines, header)
    with pytest.raises(BadInputError, match=rf"text_img_train\.tsv: {said}"):
        prepared()


def test_a_split_file_that_is_missing_or_in_another_encoding_is_named(root):
    path = root / SPLITS.format("train")
    path.write_bytes(b"\xff\xfe" + HEADER.encode("utf-16-le"))
    with pytest.raises(BadInputError, match=r"train\.tsv: is not UTF-8 \(byte 0\)"):
        prepared()
    path.unlink()
    with pytest.raises(BadInputError, match=r"train\.tsv: is missing"):
        prepared()


def test_the_cache_belongs_to_its_options_and_files(root):
    prepared()
    load_dataset(CrisisMmdSpec(image_size=32), seed=0)
    load_dataset(CrisisMmdSpec(image_size=32, on_missing="drop"), seed=0)
    with pytest.raises(BadInputError, match=r"prepare crisismmd --set image_size=32 --set vocabulary=3$"):
        load_dataset(CrisisMmdSpec(image_size=32, vocabulary=3), seed=0)


def test_what_there_is_of_it_is_found(root, tmp_path):
    assert DATASETS["crisismmd"].find(tmp_path).state == "complete"
    (root / SPLITS.format("test")).unlink()
    found = DATASETS["crisismmd"].find(tmp_path)
    assert found.state == "incomplete"
    assert found.lacks.endswith("task_informative_text_img_test.tsv")


def test_text_and_image_train_together(root, scenario_with, tmp_path):
    prepared(max_tokens=6)
    arrival = {"per_client": {"distribution": "constant", "value_s": 1.0}}
    given = scenario_with(
        {
            "data": {"dataset": "crisismmd", "image_size": 32, "max_tokens": 6, "partition": {"kind": "iid"}},
            "model": {"encoder": {"text": "text", "image": "conv4"}, "width": 8},
            "clients.count": 2,
            "world.arrival": {"text": arrival, "image": arrival},
            "world.compute": {"throughput_gflops": 5},
            "training": {"batch_size": 4, "optimizer": {"learning_rate": 0.1}},
            "methods": [{"name": "mba"}],
        }
    )
    (record,) = run_scenario(parse_scenario(given), runs=tmp_path / "runs", device="cpu", workers=1)
    losses = record.metrics.query("metric == 'loss'")["value"]
    assert losses.iloc[-1] < losses.iloc[0]
