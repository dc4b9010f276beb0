"""Sounds: decoded, resampled, and turned into the spectrogram of the papers' code."""

import numpy as np
import pytest
from media_files import tone, write_video, write_wav
from scipy.signal.windows import tukey

from interlude.simulator.data.audio import log_spectrogram, num_columns, read_sound, repeated
from interlude.simulator.errors import BadInputError


def test_spectrograms_have_the_shapes_of_the_papers():
    assert (num_columns(3), num_columns(10)) == (299, 1004)
    for seconds, columns in ((3, 299), (10, 1004)):
        assert log_spectrogram(np.float32(tone(seconds))).shape == (257, columns)


def test_a_sines_spectrogram_by_hand():
    sound = np.float32(tone(3))
    window = tukey(512, 0.25, sym=False)
    levels = np.empty((257, 299))
    for column in range(299):
        part = sound[159 * column : 159 * column + 512].astype(np.float64)
        power = np.abs(np.fft.rfft((part - part.mean()) * window)) ** 2 / (16_000 * (window**2).sum())
        power[1:-1] *= 2  # one-sided
        levels[:, column] = np.log(power + 1e-7)
    found = log_spectrogram(sound)
    assert found.dtype == np.float32
    assert np.allclose(found, (levels - levels.mean()) / (levels.std() + 1e-9), atol=2e-3)
    assert (found.argmax(axis=0) == 32).all()  # 1000 Hz / (16000 Hz / 512)


def test_silence_is_finite():
    assert np.abs(log_spectrogram(np.zeros(48_000, np.float32))).max() < 1e-4


def test_short_sounds_are_repeated_and_long_ones_cut():
    sound = np.arange(20_000, dtype=np.float32)
    assert np.array_equal(repeated(sound, 3), np.tile(sound, 3)[:48_000])
    assert np.array_equal(repeated(sound[:100], 1), np.tile(sound[:100], 160))
    assert np.array_equal(repeated(sound, 1), sound[:16_000])


def test_a_wav_file_is_read_as_it_is(tmp_path):
    write_wav(tmp_path / "a.wav", tone(0.5))
    assert np.allclose(read_sound(tmp_path / "a.wav"), tone(0.5), atol=1e-4)


def test_channels_are_averaged_and_another_rate_is_resampled(tmp_path):
    both = np.stack([tone(1, rate_hz=44_100), np.zeros(44_100)], axis=1)
    write_wav(tmp_path / "a.wav", both, 44_100)
    sound = read_sound(tmp_path / "a.wav")
    assert len(sound) == 16_000
    assert np.allclose(sound[500:-500], 0.5 * tone(1)[500:-500], atol=5e-3)  # edges: the filter's


def test_the_sound_of_a_video_is_decoded(tmp_path):
    write_video(tmp_path / "a.mp4", [(0, 0, 0)] * 2, sound=tone(2))
    sound = read_sound(tmp_path / "a.mp4")
    assert len(sound) == pytest.approx(32_000, abs=2100)  # AAC: a frame of 1024 samples before and after
    assert (log_spectrogram(sound)[:, 20:-20].argmax(axis=0) == 32).all()


def test_sounds_that_cannot_be_used_are_named(tmp_path):
    write_wav(tmp_path / "a.wav", tone(1))
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "truncated.wav").write_bytes(whole[:5000])
    (tmp_path / "text.wav").write_text("no sound at all")
    (tmp_path / "header.wav").write_bytes(b"RIFF\x04\x00\x00\x00WAVE")
    (tmp_path / "text.mp4").write_text("no video at all")
    write_wav(tmp_path / "nothing.wav", np.zeros(0))
    write_video(tmp_path / "silent.mp4", [(0, 0, 0)])
    for name, sentence in {
        "truncated.wav": "is truncated: its header says 32044 bytes, it has 5000",
        "text.wav": "does not begin with RIFF",
        "header.wav": "is damaged or not a sound file",
        "nothing.wav": "holds no sound",
        "text.mp4": "is damaged or not a video",
        "silent.mp4": "has no sound track",
    }.items():
        with pytest.raises(BadInputError, match=sentence) as caught:
            read_sound(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_a_rate_that_would_make_a_small_file_hours_long_is_named(tmp_path):
    write_wav(tmp_path / "slow.wav", tone(1), rate_hz=1)
    with pytest.raises(BadInputError, match=r"slow\.wav: has 1 samples a second, expected 1000 to 768000"):
        read_sound(tmp_path / "slow.wav")


def test_a_package_that_is_not_there_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    (tmp_path / "a.wav").touch()
    with pytest.raises(BadInputError, match=r"soundfile; install it with: pip install 'interlude\[media\]'"):
        read_sound(tmp_path / "a.wav")
