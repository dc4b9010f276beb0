"""Videos: one frame a second, chosen by index, told by its colour."""

import numpy as np
import pytest
from media_files import COLOURS, colour_numbers, tone, write_video, write_wav

from interlude.simulator.data import video
from interlude.simulator.data.images import read_rgb
from interlude.simulator.data.video import chosen, frame_each_second, stacked
from interlude.simulator.errors import BadInputError


@pytest.mark.parametrize("suffix", ["flv", "mp4"])
def test_each_second_gives_its_frame(tmp_path, suffix):
    write_video(tmp_path / f"a.{suffix}", COLOURS, frames_per_second=5)
    assert colour_numbers(frame_each_second(tmp_path / f"a.{suffix}", 3)) == list(range(10))


def test_the_frame_nearest_to_the_middle_of_a_second_counts(tmp_path):
    # five frames a second, each another: 0.5 s lies between frames 2 (0.4 s) and 3 (0.6 s), the later one counts;
    # three a second: 0.5 s lies between frames 1 (0.33 s) and 2 (0.67 s)
    write_video(tmp_path / "a.mp4", COLOURS[:4], frames_per_second=1)
    assert colour_numbers(frame_each_second(tmp_path / "a.mp4", 1)) == [1, 2, 3, 3]  # 0.5 s: frame 0 or 1, the later


@pytest.mark.parametrize(("length_s", "expected"), [(1.25, [0, 1, 1]), (2.25, [0, 1, 2]), (2.75, [0, 1, 2])])
def test_a_short_video_repeats_its_last_frame(tmp_path, length_s, expected):
    write_video(tmp_path / "a.flv", COLOURS[:3], length_s=length_s)
    assert colour_numbers(frame_each_second(tmp_path / "a.flv", 3)) == expected


def test_which_frames_are_chosen():
    assert chosen(10, 4, "first") == [0, 1, 2, 3]
    assert chosen(10, 4, "spread") == [1, 3, 6, 8]  # 1.25, 3.75, 6.25, 8.75
    assert chosen(3, 3, "spread") == chosen(3, 3, "first") == [0, 1, 2]
    assert chosen(2, 4, "spread") == [0, 0, 1, 1]
    assert chosen(2, 4, "first") == [0, 1, 1, 1]
    assert chosen(10, 1, "spread") == [5]


def test_frames_are_stacked_as_channels_time_height_width(tmp_path):
    write_video(tmp_path / "a.mp4", COLOURS[:2])
    frames = stacked(frame_each_second(tmp_path / "a.mp4", 2), 8)
    assert (frames.shape, frames.dtype) == ((3, 2, 8, 8), np.uint8)
    assert colour_numbers(frames.transpose(1, 2, 3, 0)) == [0, 1]


def test_videos_that_cannot_be_used_are_named(tmp_path):
    write_wav(tmp_path / "sound.wav", tone(1))
    (tmp_path / "sound.flv").write_bytes((tmp_path / "sound.wav").read_bytes())
    (tmp_path / "text.flv").write_text("no video at all")
    write_video(tmp_path / "whole.mp4", COLOURS)
    whole = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    for name, sentence in {
        "sound.flv": "is damaged or has no pictures",
        "text.flv": "is damaged or not a video",
        "truncated.mp4": "is damaged or (has no pictures|no video)",
    }.items():
        with pytest.raises(BadInputError, match=sentence) as caught:
            frame_each_second(tmp_path / name, 3)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_a_frame_at_a_damaged_time_is_not_waited_for(tmp_path, monkeypatch):
    write_video(tmp_path / "a.mp4", COLOURS[:3])
    monkeypatch.setattr(video, "_LONGEST_S", 2)
    with pytest.raises(BadInputError, match=r"a\.mp4: is a clip, but has a frame at 2\.25 s, after 2 s"):
        frame_each_second(tmp_path / "a.mp4", 3)


def test_an_image_that_is_truncated_is_named(tmp_path):
    write_video(tmp_path / "a.mp4", COLOURS[:1])
    frame_each_second(tmp_path / "a.mp4", 1)[0].save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:400])
    with pytest.raises(BadInputError, match=r"a\.jpg: is damaged"):
        read_rgb(tmp_path / "a.jpg")
