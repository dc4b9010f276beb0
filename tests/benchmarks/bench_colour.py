# ruff: noqa: T201
"""Do generated colours mislead as much as the published ones? A network learns from coloured images alone.

"Learning Not to Learn" (Kim et al., CVPR 2019) reports how accurate its plain network is on its coloured test images,
where colour tells nothing, by the variance of the noise: the noisier the colour, the more of the shape is learned. An
acceptance band for cg-mnist's palette, not a test: minutes for each variance.

Example:
    python tests/benchmarks/bench_colour.py --data-dir DIR --variances 0.02 0.03 0.05
"""

import argparse
import time
from pathlib import Path

import torch

from models.network import ModelSpec, Network
from simulator.assembly import choose_device
from simulator.data import load_dataset
from simulator.data.cg_mnist import CgMnistSpec
from simulator.data_directory import data_directory, set_data_directory
from simulator.randomness import Stream, torch_seed

PUBLISHED = {0.02: 0.406, 0.025: 0.481, 0.03: 0.600, 0.035: 0.663, 0.04: 0.733, 0.045: 0.797, 0.05: 0.845}
"""Accuracy on the coloured test images, by variance."""

BATCH, MOMENTUM, WEIGHT_DECAY = 128, 0.9, 5e-4


def main() -> None:
    """Print a line per variance and epoch."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--data-dir", type=Path)
    given.add_argument("--variances", type=float, nargs="+", default=list(PUBLISHED))
    given.add_argument("--epochs", type=int, default=4)
    given.add_argument("--learning-rate", type=float, default=0.01)
    given.add_argument("--norm", choices=["group", "batch"], default="batch")
    given.add_argument("--device", default="auto")
    options = given.parse_args()
    if options.data_dir is not None:
        set_data_directory(options.data_dir)
    device = choose_device(options.device)
    print(f"data {data_directory()}, device {device}, {torch.get_num_threads()} threads, norm {options.norm}")
    for variance in options.variances:
        started = time.perf_counter()
        for epoch, (train, test) in enumerate(accuracies(variance, options, device), start=1):
            published = f"{PUBLISHED[variance]:.3f}" if variance in PUBLISHED else "none"
            print(
                f"variance {variance}, epoch {epoch}: train {train:.3f}, test {test:.3f}, published {published}, "
                f"{time.perf_counter() - started:.0f} s",
                flush=True,
            )


def accuracies(variance, options, device):
    """Yield the accuracies on training and test images after every epoch of training on colour alone."""
    data = load_dataset(CgMnistSpec(colour_variance=variance))
    network = Network(ModelSpec(encoder="conv4", norm=options.norm), {"color": data.inputs["color"]}, data.num_classes)
    generator = torch.Generator().manual_seed(torch_seed(Stream(0, "bench-colour")))
    parameters = {n: p.requires_grad_() for n, p in network.initial_parameters(generator, device).items()}
    images, labels = data.train[0]["color"].to(device), data.train[1].to(device)
    steps = options.epochs * -(-len(labels) // BATCH)
    sgd = torch.optim.SGD(parameters.values(), lr=options.learning_rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, steps)
    for _ in range(options.epochs):
        correct = 0
        for index in torch.randperm(len(labels), generator=generator).to(device).split(BATCH):
            logits = network(parameters, {"color": images[index]}).logits
            sgd.zero_grad()
            torch.nn.functional.cross_entropy(logits, labels[index]).backward()
            sgd.step()
            schedule.step()
            correct += int((logits.argmax(dim=1) == labels[index]).sum())
        yield correct / len(labels), accuracy(network, parameters, data.test, device)


@torch.no_grad()
def accuracy(network, parameters, samples, device):
    """Return the share of samples whose class is told."""
    inputs, labels = samples
    right = [
        network(parameters, {"color": images.to(device)}).logits.argmax(dim=1).cpu() == classes
        for images, classes in zip(inputs["color"].split(1000), labels.split(1000), strict=True)
    ]
    return torch.cat(right).double().mean().item()


if __name__ == "__main__":
    main()
