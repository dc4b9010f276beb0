"""Sound files as spectrograms: decoded with soundfile (WAV) or PyAV (the sound of a video), analysed with SciPy."""

import math
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from interlude.simulator.data.extras import media
from interlude.simulator.errors import BadFileError
from interlude.simulator.files import need_regular, reading

Sound = npt.NDArray[np.float32]

RATE_HZ = 16_000
"""Sampling rate of every spectrogram, as in the papers' code."""
WINDOW, OVERLAP = 512, 353
"""Samples of one column of a spectrogram, and how many of them the next column shares."""
NUM_BINS = WINDOW // 2 + 1

_SLOWEST_HZ, _FASTEST_HZ = 1_000, 768_000
"""Sampling rates that sound has; by a slower one a small file would become hours of sound."""
_FLOOR = 1e-7
_TINY = 1e-9  # keeps silence, whose deviation is 0, finite
_UNKNOWN_SIZE = 0xFFFFFFFF  # the size in the header of a WAV file that was written into a pipe


def num_columns(length_s: int) -> int:
    """Return how many columns the spectrogram of a sound has: 299 for 3 s, 1004 for 10 s."""
    return (length_s * RATE_HZ - OVERLAP) // (WINDOW - OVERLAP)


def read_sound(path: Path) -> Sound:
    """Return the sound of a file, one channel (the mean of all) in [-1, 1] at 16 kHz, [N].

    Raises:
        BadInputError: if the file is truncated, holds no sound or is not a sound file, or a package is missing.
    """
    with reading(need_regular(path), "a sound file" if path.suffix.lower() == ".wav" else "a video"):
        samples, rate_hz = _read_wav(path) if path.suffix.lower() == ".wav" else _read_track(path)
    if not _SLOWEST_HZ <= rate_hz <= _FASTEST_HZ:
        raise BadFileError(f"{path}: has {rate_hz} samples a second, expected {_SLOWEST_HZ} to {_FASTEST_HZ}")
    if not len(samples):
        raise BadFileError(f"{path}: holds no sound")
    if rate_hz != RATE_HZ:
        from scipy import signal  # half a second of every command, needed for sounds only

        common = math.gcd(rate_hz, RATE_HZ)
        samples = signal.resample_poly(samples, RATE_HZ // common, rate_hz // common)
    clipped: Sound = np.clip(samples, -1.0, 1.0).astype(np.float32)
    return clipped


def repeated(sound: Sound, length_s: int) -> Sound:
    """Return a sound of exactly that length: repeated as often as needed, then cut."""
    return np.resize(sound, length_s * RATE_HZ)


def log_spectrogram(sound: Sound) -> Sound:
    """Return log(S + 1e-7) of a sound's power spectral density S, scaled to mean 0 and deviation 1, [257, T]."""
    from scipy import signal

    _, _, density = signal.spectrogram(sound, RATE_HZ, nperseg=WINDOW, noverlap=OVERLAP)
    levels = np.log(np.abs(density).astype(np.float64) + _FLOOR)
    scaled: Sound = ((levels - levels.mean()) / (levels.std() + _TINY)).astype(np.float32)
    return scaled


def _read_wav(path: Path) -> tuple[Sound, int]:
    soundfile = media("soundfile")
    _check_whole(path)
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.mean(axis=1), int(rate_hz)


def _check_whole(path: Path) -> None:
    """Refuse a file that is shorter than its header says; libsndfile would return the samples it finds."""
    with path.open("rb") as file:
        header = file.read(8)
    num_bytes = path.stat().st_size
    if len(header) < 8 or header[:4] != b"RIFF":
        raise BadFileError(f"{path}: is damaged or not a WAV file: it does not begin with RIFF and a size")
    said = struct.unpack("<I", header[4:])[0]
    if said != _UNKNOWN_SIZE and said + 8 > num_bytes:
        raise BadFileError(f"{path}: is truncated: its header says {said + 8} bytes, it has {num_bytes}")


def _read_track(path: Path) -> tuple[Sound, int]:
    """Return the first sound track of a video and its sampling rate."""
    av = media("av")
    with av.open(str(path)) as container:
        if not container.streams.audio:
            raise BadFileError(f"{path}: has no sound track")
        rate_hz = int(container.streams.audio[0].rate)
        to_floats = av.AudioResampler(format="fltp", rate=rate_hz)
        decoded = [*container.decode(audio=0), None]  # None: what the resampler still holds
        planes = [part.to_ndarray() for frame in decoded for part in to_floats.resample(frame)]
    if not planes:
        return np.empty(0, dtype=np.float32), rate_hz
    return np.concatenate(planes, axis=1).mean(axis=0, dtype=np.float32), rate_hz
