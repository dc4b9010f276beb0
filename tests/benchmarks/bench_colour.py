# ruff: noqa: T201
"""Do generated colours mislead as much as the published ones? A network learns from coloured images alone.

"Learning Not to Learn" (Kim et al., CVPR 2019) reports how accurate its plain network is on its coloured test images,
where colour tells nothing, by the variance of the noise: the noisier the colour, the more of the shape is learned. This
is its network and its training: batches of 128, momentum 0.9, weight decay 5e-4, a rate of 0.01 that falls to a tenth
after 40 and after 80 of 100 epochs. With fewer epochs the rate falls after the same shares of them. An acceptance band
for cg-mnist's palette, not a test: half a minute an epoch on one core, so that this takes ten minutes or so:

    python tests/benchmarks/bench_colour.py --data-dir DIR --palette drawn --variances 0.03 --epochs 8

``--smoke`` trains on a few images of noise that it writes itself.
"""

import argparse
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from interlude.models.inputs import Reader
from interlude.simulator.data.cg_mnist import CgMnistSpec
from interlude.simulator.data.colouring import PALETTES, drawn_colours
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.files import data_directory, set_data_directory
from interlude.simulator.run.devices import choose_device

PUBLISHED = {0.02: 0.406, 0.025: 0.481, 0.03: 0.600, 0.035: 0.663, 0.04: 0.733, 0.045: 0.797, 0.05: 0.845}
"""Accuracy on the coloured test images, by variance."""

BATCH = 128
EPOCHS = 100
RATE, RATE_FALLS_AFTER = 0.01, (0.4, 0.8)


def main() -> None:
    """Read the options and measure."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--data-dir", type=Path)
    given.add_argument("--variances", type=float, nargs="+", default=list(PUBLISHED))
    given.add_argument("--epochs", type=int, default=EPOCHS)
    given.add_argument("--palette", choices=list(PALETTES), default="biased-mnist")
    given.add_argument("--seed", type=int, default=0)
    given.add_argument("--device", default="auto")
    given.add_argument("--smoke", action="store_true", help="one epoch on noise: only shows that it runs")
    options = given.parse_args()
    if options.smoke:
        options.variances, options.epochs = [0.03], 1
    with images(options):
        measure(options)


@contextmanager
def images(options: argparse.Namespace) -> Iterator[None]:
    """Have images where data sets are looked for: noise with --smoke, else those of --data-dir or INTERLUDE_DATA."""
    with TemporaryDirectory() as folder:
        if options.smoke:
            write_noise(Path(folder) / "mnist")
            set_data_directory(Path(folder))
        elif options.data_dir is not None:
            set_data_directory(options.data_dir)
        yield


def measure(options):
    """Print a line per variance and epoch."""
    device = choose_device(options.device)
    torch.set_num_threads(1)
    print(
        f"data {data_directory()}, device {device}, {options.epochs} epochs of {EPOCHS}, "
        f"palette {options.palette}, seed {options.seed}"
    )
    for variance in options.variances:
        spec = CgMnistSpec(colour_variance=variance, palette=options.palette, verify=not options.smoke)
        print(f"variance {variance}: the nearest mean colour is the digit's for {nearest_is_right(spec):.3f} of all")
        started = time.perf_counter()
        for epoch, (train, test) in enumerate(accuracies(spec, options, device), start=1):
            published = f"{PUBLISHED[variance]:.3f}" if variance in PUBLISHED else "none"
            print(
                f"variance {variance}, epoch {epoch}: train {train:.3f}, test {test:.3f}, published {published}, "
                f"{time.perf_counter() - started:.0f} s",
                flush=True,
            )


def write_noise(folder):
    """Write the four files of MNIST with a few images of noise."""
    folder.mkdir()
    draws = np.random.default_rng(0)
    for name, num_images in (("train", 256), ("t10k", 64)):
        for kind, array in (
            ("images-idx3", draws.integers(256, size=(num_images, 28, 28), dtype=np.uint8)),
            ("labels-idx1", draws.integers(10, size=num_images, dtype=np.uint8)),
        ):
            header = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
            (folder / f"{name}-{kind}-ubyte").write_bytes(header + array.tobytes())


def nearest_is_right(spec):
    """Return the share of 100,000 drawn colours whose nearest mean colour is the one they were drawn around."""
    palette = spec.mean_colours
    classes = np.arange(100_000) % len(palette)
    colours = drawn_colours(classes, spec.colour_variance, np.random.default_rng(0), palette)
    distances = np.linalg.norm(colours[:, None] - palette, axis=2)
    return float((distances.argmin(axis=1) == classes).mean())


def plain_network():
    """Return the paper's network for [B, 3, 28, 28], with its initial values: no norm but the input's."""
    network = nn.Sequential(
        nn.BatchNorm2d(3),
        *(nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()),
        *(nn.AvgPool2d(7), nn.Flatten(), nn.Linear(64, 10)),
    )
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return network.to(memory_format=torch.channels_last)


def accuracies(spec, options, device):
    """Yield the accuracies on training and test images after every epoch of training on colour alone."""
    torch.manual_seed(options.seed)
    data = load_dataset(spec, options.seed)
    reader = Reader(data.inputs["color"])
    network = plain_network().to(device)
    images, labels = data.train[0]["color"].to(device), data.train[1].to(device)
    sgd = torch.optim.SGD(network.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)
    falls = [round(share * options.epochs) for share in RATE_FALLS_AFTER]
    schedule = torch.optim.lr_scheduler.MultiStepLR(sgd, falls, gamma=0.1)
    for _ in range(options.epochs):
        correct = 0
        network.train()
        for index in torch.randperm(len(labels)).to(device).split(BATCH):
            logits = network(reader(images[index]))
            sgd.zero_grad()
            nn.functional.cross_entropy(logits, labels[index]).backward()
            sgd.step()
            correct += int((logits.argmax(dim=1) == labels[index]).sum())
        schedule.step()
        network.eval()
        yield correct / len(labels), accuracy(lambda given: network(reader(given)), data.test, device)


@torch.no_grad()
def accuracy(classify, samples, device):
    """Return the share of samples whose class is told."""
    inputs, labels = samples
    right = [
        classify(images.to(device)).argmax(dim=1).cpu() == classes
        for images, classes in zip(inputs["color"].split(1000), labels.split(1000), strict=True)
    ]
    return torch.cat(right).double().mean().item()


if __name__ == "__main__":
    main()
