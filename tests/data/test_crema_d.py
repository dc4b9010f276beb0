"""crema-d: from files as their publishers lay them out to a round of training."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from media_files import COLOURS, colour_numbers, tone, write_video, write_wav

from interlude.simulator.data import DATASETS
from interlude.simulator.data.audio import log_spectrogram
from interlude.simulator.data.crema_d import EMOTIONS, CremaDSpec, preparation
from interlude.simulator.data.directory import cache_directory
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.data.prepare import prepare
from interlude.simulator.errors import BadInputError
from interlude.simulator.run.experiment import run_scenario
from interlude.simulator.scenario.loading import parse_scenario, preparation_of

CLIPS = [f"{1001 + i // 2}_IEO_{emotion}_HI" for i, emotion in enumerate([*EMOTIONS, *EMOTIONS[:2]])]
TRAIN, TEST = CLIPS[:6], CLIPS[6:]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Eight clips of 2.5 s: clip i hums at 500 (i + 1) Hz and shows colours i, i + 1, i + 2."""
    root = tmp_path_factory.mktemp("published") / "crema-d"
    for i, clip in enumerate(CLIPS):
        write_wav(root / "AudioWAV" / f"{clip}.wav", tone(2.5, 500.0 * (i + 1)))
        write_video(root / "VideoFlash" / f"{clip}.flv", COLOURS[i : i + 3], length_s=2.75)
    for name, clips in (("train.csv", TRAIN), ("test.csv", TEST)):
        (root / name).write_text("".join(f"{clip},{clip.split('_')[2]}\n" for clip in clips), encoding="utf-8-sig")
    return root


@pytest.fixture
def root(tmp_path, published, monkeypatch):
    """Return a copy of the small data set, below the data directory."""
    monkeypatch.setenv("INTERLUDE_DATA", str(tmp_path))
    monkeypatch.delenv("INTERLUDE_CACHE", raising=False)
    return shutil.copytree(published, tmp_path / "crema-d")


def spec(**options):
    return CremaDSpec(image_size=16, **options)


def prepared(**options):
    prepare(preparation(spec(**options)), cache_directory("crema-d"), 0)
    return load_dataset(spec(**options), seed=0)


def frames_of(dataset, sample):
    return colour_numbers(dataset.train[0]["video"][sample].numpy().transpose(1, 2, 3, 0))


def test_clips_become_spectrograms_and_frames(root):
    dataset = prepared()
    inputs, labels = dataset.train
    assert dataset.names == tuple(TRAIN)
    assert labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert dataset.test[1].tolist() == [0, 1]
    assert dataset.keys["speaker"].tolist() == [1001, 1001, 1002, 1002, 1003, 1003]
    assert (inputs["audio"].shape, inputs["audio"].dtype) == ((6, 1, 257, 299), torch.float32)
    assert (inputs["video"].shape, inputs["video"].dtype) == ((6, 3, 3, 16, 16), torch.uint8)
    for i in range(6):
        assert frames_of(dataset, i) == [i, i + 1, i + 2]
        expected = log_spectrogram(np.float32(np.tile(tone(2.5, 500.0 * (i + 1)), 3)[:48_000]))
        assert np.allclose(inputs["audio"][i, 0], expected, atol=0.1)  # 16 bits
    assert dataset.inputs["video"].mean == (0.485, 0.456, 0.406)


def test_frames_that_are_there_as_images_are_read_in_the_order_of_their_names(root):
    for clip in CLIPS:
        folder = root / "Image-01-FPS" / clip
        folder.mkdir(parents=True)
        for k in (3, 1, 0, 2):
            from PIL import Image

            Image.new("RGB", (40, 30), COLOURS[k + 4]).save(folder / f"{k:05d}.jpg", quality=95)
    dataset = prepared(num_frames=2, frames="first")
    assert frames_of(dataset, 0) == [4, 5]
    assert frames_of(prepared(num_frames=2), 0) == [5, 7]  # the middles of two halves: frames 1 and 3


def test_pickles_are_never_opened(root, monkeypatch):
    (root / "Audio-299").mkdir()
    for clip in CLIPS:
        (root / "Audio-299" / f"{clip}.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    monkeypatch.setattr(pickle, "load", None)
    assert len(prepared().names) == 6


def test_without_split_files_each_class_is_split_as_theirs_is(root):
    for name in ("train.csv", "test.csv"):
        (root / name).unlink()
    names = [f"{1001 + i}_DFA_{emotion}_XX" for emotion in EMOTIONS for i in range(1271 if emotion != "NEU" else 1087)]
    table = root / "processedResults" / "summaryTable.csv"
    table.parent.mkdir()
    table.write_text('"","FileName","VoiceVote"\n' + "".join(f'"{i}","{n}","A"\n' for i, n in enumerate(names)))
    items = preparation(spec()).items()
    assert sorted(item.name for item in items) == sorted(names)
    counts = {s: np.bincount([i.label for i in items if i.split == s]).tolist() for s in ("train", "test")}
    assert counts == {"train": [973, 1148, 1131, 1138, 1142, 1166], "test": [114, 123, 140, 133, 129, 105]}
    again, other = preparation(spec()).items(), preparation(spec(seed=1)).items()
    assert [item.split for item in again] == [item.split for item in items]
    assert [item.split for item in other] != [item.split for item in items]
    table.unlink()  # the sounds' names say what there is
    assert sorted(item.name for item in preparation(spec()).items()) == sorted(CLIPS)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("1001_IEO_NEU_LO,NEW", r"train\.csv, line 7: unknown label 'NEW'; labels are NEU, .*did you mean 'NEU'"),
        ("1001_IEO_NEU_LO", r"train\.csv, line 7: must be a clip's name and its label"),
        (f"{TRAIN[0]},NEU", r"train\.csv, line 7: '.*' is listed twice; it stands at .*train\.csv, line 1, too"),
        (f"{TEST[0]},NEU", r"test\.csv, line 1: '.*' is listed twice; it stands at .*train\.csv, line 7, too"),
        ("IEO_NEU,NEU", r"clip 'IEO_NEU': must begin with the four digits of its speaker"),
        ("1009_IEO_NEU_LO,NEU", r"1009_IEO_NEU_LO\.wav: is missing, which sample .*\(1 of 9 samples"),
    ],
)
def test_split_files_that_cannot_be_used_are_named(root, line, sentence):
    path = root / "train.csv"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(BadInputError, match=sentence) as caught:
        prepared()
    assert "\n" not in str(caught.value)


def test_one_split_file_alone_is_refused(root):
    (root / "test.csv").unlink()
    with pytest.raises(BadInputError, match=r"test\.csv: is missing"):
        prepared()


def test_clips_that_lack_a_file_are_left_out_and_counted_where_an_option_says_so(root):
    (root / "VideoFlash" / f"{TRAIN[2]}.flv").unlink()
    with pytest.raises(BadInputError, match=r"\.flv: is missing"):
        prepared()
    dataset = prepared(on_missing="drop")
    assert dataset.num_dropped == 1
    assert dataset.names == (*TRAIN[:2], *TRAIN[3:])
    assert frames_of(dataset, 2) == [3, 4, 5]


def test_what_is_not_prepared_says_how_to(root):
    with pytest.raises(BadInputError, match=r"run: interlude data prepare crema-d --set image_size=16$"):
        load_dataset(spec(), seed=0)
    assert preparation_of("crema-d", ["image_size=16"]) == preparation(spec())


def test_it_is_found_incomplete_where_clips_are_fewer_than_published(root):
    found = DATASETS["crema-d"].find(root.parent)
    assert found.state == "incomplete"
    assert found.lacks.endswith("AudioWAV/*.wav (7442 files, 8 found)")


def scenario(scenario_with, **changes):
    video = {"per_client": {"distribution": "constant", "value_s": 1.0}}
    return parse_scenario(
        scenario_with(
            {
                "data": {"dataset": "crema-d", "image_size": 16, "partition": {"kind": "iid"}},
                "clients.count": 2,
                "world.arrival": {"audio": video, "video": video},
                "training.batch_size": 2,
                "training.window_samples": 2,
                "until": {"versions": 1},
                **changes,
            }
        )
    )


def test_two_clients_train_a_round_on_clips(root, tmp_path, scenario_with):
    (root / "AudioWAV" / f"{TRAIN[0]}.wav").unlink()
    prepared(on_missing="drop")
    model = {"encoder": {"audio": "mlp", "video": "resnet18"}, "width": 8}
    changes = {"model": model, "data.on_missing": "drop"}
    (record,) = run_scenario(scenario(scenario_with, **changes), runs=tmp_path / "runs", device="cpu", workers=1)
    metrics = (record.path / "metrics.csv").read_text()
    assert "accuracy,video" in metrics
    assert "nan" not in metrics
    assert json.loads((record.path / "run.json").read_text())["samples_dropped"] == 1


def test_two_processes_train_on_mapped_files_as_one_does(root, tmp_path, scenario_with):
    prepared()
    changes = {"model": {"encoder": "mlp", "width": 8}, "until": {"versions": 2}}
    files = []
    for workers in (1, 2):
        runs = tmp_path / f"runs{workers}"
        (record,) = run_scenario(scenario(scenario_with, **changes), runs=runs, device="cpu", workers=workers)
        files.append((record.path / "metrics.csv").read_bytes())
    assert files[0] == files[1]
