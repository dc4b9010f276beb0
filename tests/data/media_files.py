"""Small sounds and videos in the formats of the publishers."""

from fractions import Fraction

import av
import numpy as np
import soundfile

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255), (255, 255, 255)]
COLOURS += [(0, 0, 0), (255, 128, 0), (128, 128, 128)]


def tone(seconds, frequency_hz=1000.0, rate_hz=16_000):
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz)


def write_wav(path, sound, rate_hz=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate_hz, subtype="PCM_16")


def write_video(path, colours, frames_per_second=4, sound=None, length_s=None):
    """Write a video that shows one colour for each second, 32 x 24 pixels; the last for ever until `length_s`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    num_frames = round((len(colours) if length_s is None else length_s) * frames_per_second)
    with av.open(str(path), "w") as container:
        shown = container.add_stream("flv" if path.suffix == ".flv" else "mpeg4", rate=frames_per_second)
        shown.width, shown.height, shown.pix_fmt, shown.bit_rate = 32, 24, "yuv420p", 1_000_000
        shown.time_base = Fraction(1, frames_per_second)
        heard = None
        if sound is not None:
            heard = container.add_stream("aac", rate=16_000, layout="mono")
        for index in range(num_frames):
            colour = colours[min(index // frames_per_second, len(colours) - 1)]
            frame = av.VideoFrame.from_ndarray(np.full((24, 32, 3), colour, dtype=np.uint8), format="rgb24")
            frame.pts = index
            container.mux(shown.encode(frame))
        container.mux(shown.encode())
        if heard is not None:
            for start in range(0, len(sound), 1024):
                part = np.float32(sound[start : start + 1024])[None]
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 16_000, start
                container.mux(heard.encode(frame))
            container.mux(heard.encode())


def colour_numbers(frames):
    """Return which of `COLOURS` each image shows."""
    shown = np.array([np.asarray(frame).reshape(-1, 3).mean(axis=0) for frame in frames])
    distance = np.abs(shown[:, None] - np.array(COLOURS)).max(axis=2)
    assert distance.min(axis=1).max() < 30  # a codec that loses something
    return distance.argmin(axis=1).tolist()
