"""ave: events of videos, from files as their publishers lay them out."""

import shutil

import numpy as np
import pytest
import torch
from media_files import COLOURS, colour_numbers, tone, write_video, write_wav
from PIL import Image

from interlude.simulator.data import DATASETS
from interlude.simulator.data.audio import log_spectrogram
from interlude.simulator.data.ave import AveSpec, preparation
from interlude.simulator.data.directory import cache_directory
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.data.prepare import prepare
from interlude.simulator.errors import BadInputError

HEADER = "Category&VideoID&Quality&StartTime&EndTime\n"
TRAIN = ["Bus&a-1&good&2&5", "Church bell&b_2&good&0&10", "Bark&a-1&good&6&8", "Bark&c3&good&0&0"]
TEST = ["Church bell&d4&good&0&1", "Bark&e5&bad&3&10", "Bus&f6&good&9&10", "Bark&g7&good&0&10"]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Seven videos that show a colour a second; in each, 1000 Hz until second 5 and 3000 Hz from then on."""
    root = tmp_path_factory.mktemp("published") / "ave"
    sound = np.concatenate([tone(5), tone(5, 3000.0)])
    write_video(root / "AVE" / "a-1.mp4", COLOURS, frames_per_second=2, sound=sound)
    for video in ("b_2", "c3", "d4", "e5", "f6", "g7"):
        shutil.copy(root / "AVE" / "a-1.mp4", root / "AVE" / f"{video}.mp4")
    for name, lines in (("trainSet.txt", TRAIN), ("testSet.txt", TEST), ("valSet.txt", TEST[:1])):
        (root / name).write_text("\n".join(lines) + "\n")
    (root / "Annotations.txt").write_text(HEADER + "\n".join(TRAIN + TEST) + "\n")
    return root


@pytest.fixture
def root(tmp_path, published, monkeypatch):
    """Return a copy of the small data set, below the data directory."""
    monkeypatch.setenv("INTERLUDE_DATA", str(tmp_path))
    monkeypatch.delenv("INTERLUDE_CACHE", raising=False)
    return shutil.copytree(published, tmp_path / "ave")


def spec(**options):
    return AveSpec(image_size=16, **options)


def prepared(**options):
    prepare(preparation(spec(**options)), cache_directory("ave"), 0)
    return load_dataset(spec(**options), seed=0)


def frames_of(samples, sample):
    return colour_numbers(samples[0]["video"][sample].numpy().transpose(1, 2, 3, 0))


def loudest_bins(samples, sample):
    return set(samples[0]["audio"][sample, 0, :, 20:-20].argmax(dim=0).tolist())


def test_events_become_spectrograms_and_frames(root):
    dataset = prepared()
    inputs, labels = dataset.train
    assert dataset.names == ("a-1", "b_2", "c3")  # the second event of a-1 is left out
    assert labels.tolist() == [2, 0, 1]  # Church bell, Bark, Bus: as the test set first names them
    assert dataset.num_classes == 3
    assert dataset.test[1].tolist() == [0, 1, 2, 1]
    assert (inputs["audio"].shape, inputs["audio"].dtype) == ((3, 1, 257, 1004), torch.float32)
    assert (inputs["video"].shape, inputs["video"].dtype) == ((3, 3, 4, 16, 16), torch.uint8)
    assert frames_of(dataset.train, 0) == [2, 3, 4, 5]  # seconds 2 to 5, both ends
    assert frames_of(dataset.train, 1) == [1, 3, 6, 8]
    assert frames_of(dataset.train, 2) == [1, 3, 6, 8]  # 0 to 0: the whole clip
    assert frames_of(dataset.test, 0) == [0, 0, 1, 1]
    assert frames_of(dataset.test, 2) == [9, 9, 9, 9]
    assert loudest_bins(dataset.train, 0) == {32}  # before second 5
    assert loudest_bins(dataset.train, 1) == {32, 96}  # 3000 / 31.25
    assert loudest_bins(dataset.test, 2) == {96}


def test_the_first_frames_are_those_of_the_papers_code(root):
    assert frames_of(prepared(frames="first").train, 1) == [0, 1, 2, 3]


def test_every_event_of_a_video_is_a_sample_where_an_option_says_so(root):
    dataset = prepared(repeated="keep", num_frames=3)
    assert dataset.names == ("a-1/Bus", "b_2/Church bell", "a-1/Bark", "c3/Bark")
    assert dataset.train[1].tolist() == [2, 0, 1, 1]
    assert frames_of(dataset.train, 0) == [2, 4, 5]
    assert frames_of(dataset.train, 2) == [6, 7, 8]


def test_repeated_videos_are_left_out_as_in_the_published_split(root):
    lines = [f"Bark&id{min(i, 3310)}&good&0&10" for i in range(3338)]  # 3,338 lines, 3,311 videos
    (root / "trainSet.txt").write_text(HEADER + "\n".join(lines))
    for repeated, count in (("first", 3311), ("keep", 3338)):
        items = preparation(spec(repeated=repeated)).items()
        assert sum(item.split == "train" for item in items) == count


def test_sounds_and_frames_that_somebody_has_made_are_read_instead(root):
    for video in ("a-1", "b_2", "c3", "d4", "e5", "f6", "g7"):
        write_wav(root / "Audios" / f"{video}.wav", tone(10, 500.0))
        folder = root / "Image-01-FPS-SE" / video
        folder.mkdir(parents=True)
        for k in range(4):
            Image.new("RGB", (40, 30), COLOURS[k]).save(folder / f"{k:05d}.jpg", quality=95)
    dataset = prepared()
    assert frames_of(dataset.train, 0) == [0, 1, 2, 3]  # the event's frames already
    expected = log_spectrogram(np.float32(np.tile(tone(3, 500.0), 4)[:160_000]))
    assert np.allclose(dataset.train[0]["audio"][0, 0], expected, atol=0.1)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("Barking&c3&good&0&10", r"trainSet\.txt, line 5: unknown category 'Barking'; .*did you mean 'Bark'"),
        ("Bark&c3&good&0", r"trainSet\.txt, line 5: must be Category&VideoID&Quality&Start&End"),
        ("Bark&c3&good&x&10", r"trainSet\.txt, line 5: must be Category&VideoID&Quality&Start&End"),
        ("Bark&c3&good&5&3", r"trainSet\.txt, line 5: an event lies within 0 to 10 s, given 5 to 3"),
        ("Bark&h8&good&0&3", r"h8\.mp4: is missing, which sample 'h8' needs \(1 of 8 samples"),
    ],
)
def test_split_files_that_cannot_be_used_are_named(root, line, sentence):
    (root / "trainSet.txt").write_text("\n".join([*TRAIN, line]))
    with pytest.raises(BadInputError, match=sentence) as caught:
        prepared()
    assert "\n" not in str(caught.value)


def test_a_video_that_ends_before_its_event_is_named(root):
    write_video(root / "AVE" / "a-1.mp4", COLOURS[:1], sound=tone(1))
    with pytest.raises(BadInputError, match=r"a-1\.mp4: ends before second 2"):
        prepared()


def test_a_missing_split_file_is_named(root):
    (root / "testSet.txt").unlink()
    with pytest.raises(BadInputError, match=r"testSet\.txt: is missing"):
        prepared()
    found = DATASETS["ave"].find(root.parent)
    assert (found.state, found.lacks) == ("incomplete", str(root / "testSet.txt"))
