# ruff: noqa: T201
"""How far do cg-mnist's colours mislead? conv4 on colour alone and on gray + colour, accuracy by step, by palette.

A palette stands in for the published colours, which are not known, if both of these are met on test images whose colour
says nothing: a network that sees colour alone comes to 0.600 ("Learning Not to Learn", variance 0.03), and FedAvg on
gray + colour to 0.423 (BMSFed's Table 2). Accuracy on both rises with the steps, so here one SGD sequence is watched
step by step. Of gray + colour, the accuracies on one modality with the other zero-filled are told, too.

    python tests/benchmarks/bench_palette.py --data-dir DIR --palettes drawn 0.25 0.5 0.75 biased-mnist --steps 3000

A number t is the palette {between: t}; ten colours are given as JSON, '[[255, 0, 0], ...]'. All palettes meet the same
noise, batches and initial values. ``--restart 16`` empties the momentum every 16 steps, as clients of FedAvg do;
``--falls-to 0.001 --constant 0.44`` is the course of the rate in scenarios/paper. LNTL's own network and training
are in `bench_colour.py`; FedAvg itself is ``interlude run scenarios/paper/bmsfed_cgmnist.yaml --set data.palette=...``.

``--smoke`` trains on a few images of noise.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from bench_colour import images, nearest_is_right
from torch import Tensor
from torch.nn import functional

from interlude.models.inputs import Samples
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.data.cg_mnist import CgMnistSpec
from interlude.simulator.data.dataset import Dataset, to_device
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.run.devices import choose_device
from interlude.simulator.training.evaluation import evaluation_subset
from interlude.simulator.training.host import keep_freed_memory
from interlude.simulator.training.spec import LinearDecay

TARGETS = {"color": 0.600, "gray+color": 0.423}
"""Published accuracy by what the network sees."""

_EVALUATED_TOGETHER = 500


class Reached(NamedTuple):
    """Test accuracies after some steps."""

    step: int
    accuracy: dict[str, float]
    """By the modalities that are not zero-filled, e.g. ``gray`` and ``gray+color``."""


def main() -> None:
    """Read the options and measure."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--data-dir", type=Path)
    given.add_argument("--palettes", nargs="+", default=["drawn", "0.25", "0.5", "0.75", "biased-mnist"])
    given.add_argument("--sees", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    given.add_argument("--variance", type=float, default=0.03)
    given.add_argument("--steps", type=int, default=3000)
    given.add_argument("--every", type=int, default=300, help="steps between two evaluations")
    given.add_argument("--batch", type=int, default=32)
    given.add_argument("--rate", type=float, default=0.01)
    given.add_argument("--falls-to", type=float, help="rate after all steps, falling on a line; unset: constant")
    given.add_argument("--constant", type=float, default=0.0, help="share of the steps before the rate falls")
    given.add_argument("--momentum", type=float, default=0.9)
    given.add_argument("--restart", type=int, default=0, help="steps after which the momentum is emptied; 0: never")
    given.add_argument("--weight-decay", type=float, default=1e-4)
    given.add_argument("--width", type=int, default=512)
    given.add_argument("--test-images", type=int, default=2000)
    given.add_argument("--seed", type=int, default=0)
    given.add_argument("--threads", type=int, default=1)
    given.add_argument("--device", default="auto")
    given.add_argument("--smoke", action="store_true", help="four steps on noise: only shows that it runs")
    options = given.parse_args()
    if options.smoke:
        options.palettes, options.steps, options.every, options.width = ["0.5"], 4, 2, 16
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    with images(options):
        report(options)


def report(options: argparse.Namespace) -> None:
    """Print a line per evaluation, then a table of where each palette ends."""
    device = choose_device(options.device)
    ends = []
    for palette in options.palettes:
        spec = spec_of(palette, options)
        data = load_dataset(spec, options.seed)
        train, test = data.train, evaluation_subset(data.test, options.test_images, options.seed)
        on_device = to_device(train, device), to_device(test, device)
        end = {}
        for sees in options.sees:
            started = time.perf_counter()
            for step, accuracy in trained(sees.split("+"), data, *on_device, options):
                told = ", ".join(f"{modalities} {value:.3f}" for modalities, value in accuracy.items())
                print(f"{palette}, step {step}: {told}, {time.perf_counter() - started:.0f} s", flush=True)
                end[sees] = accuracy[sees]
        ends.append((palette, nearest_is_right(spec), end))
    print(f"\nafter {options.steps} steps {'nearest':>16} {' '.join(f'{sees:>11}' for sees in options.sees)}")
    for palette, nearest, end in ends:
        print(f"{palette:<24.24} {nearest:>11.3f} {' '.join(f'{end[sees]:>11.3f}' for sees in options.sees)}")
    print(f"{'published':<36} {' '.join(f'{TARGETS[sees]:>11.3f}' for sees in options.sees)}")


def spec_of(palette: str, options: argparse.Namespace) -> CgMnistSpec:
    """Return the data set with a palette: its name, a share between the two named ones, or ten colours."""
    given = yaml.safe_load(palette)
    given = {"between": given} if isinstance(given, int | float) else given
    return CgMnistSpec(colour_variance=options.variance, palette=given, verify=not options.smoke)


def trained(
    modalities: list[str], data: Dataset, train: Samples, test: Samples, options: argparse.Namespace
) -> Iterator[Reached]:
    """Yield the test accuracies of one SGD sequence, every so many steps."""
    spec = ModelSpec(encoder="conv4", width=options.width, fusion="concat")
    network = Network(spec, {m: data.inputs[m] for m in modalities}, data.num_classes)
    inputs, labels = {m: train[0][m] for m in modalities}, train[1]
    draws = torch.Generator().manual_seed(options.seed)
    initial = network.initial_parameters(draws, labels.device)
    parameters = {name: value.requires_grad_() for name, value in initial.items()}
    sgd = torch.optim.SGD(
        parameters.values(), options.rate, options.momentum, weight_decay=options.weight_decay, foreach=True
    )
    for step, batch in enumerate(batches(len(labels), options, draws), start=1):
        for group in sgd.param_groups:
            group["lr"] = rate_at(step - 1, options)
        if options.restart and (step - 1) % options.restart == 0:
            sgd.state.clear()
        index = batch.to(labels.device)
        logits = network(parameters, {m: x[index] for m, x in inputs.items()}).logits
        sgd.zero_grad()
        functional.cross_entropy(logits, labels[index]).backward()
        sgd.step()
        if step % options.every == 0 or step == options.steps:
            yield Reached(step, accuracies(network, parameters, test))


def batches(num_samples: int, options: argparse.Namespace, draws: torch.Generator) -> Iterator[Tensor]:
    """Yield the samples of each step, epoch by epoch; the same ones for every network."""
    draws = draws.manual_seed(options.seed + 1)
    left = options.steps
    while left > 0:
        drawn = torch.randperm(num_samples, generator=draws).split(options.batch)[:left]
        left -= len(drawn)
        yield from drawn


def rate_at(step: int, options: argparse.Namespace) -> float:
    """Return the learning rate of a step, counted from 0."""
    if options.falls_to is None:
        return float(options.rate)
    constant = round(options.constant * options.steps)
    fall = LinearDecay(kind="linear", to=options.falls_to, over_versions=options.steps, constant_versions=constant)
    return fall.rate(options.rate, step)


@torch.no_grad()
def accuracies(network: Network, parameters: dict[str, Tensor], test: Samples) -> dict[str, float]:
    """Return the accuracy on all modalities, and on each with the others zero-filled."""
    inputs, labels = test
    names = tuple(network.modalities)
    choices = [names] if len(names) == 1 else [names, *((name,) for name in names)]
    right = dict.fromkeys(choices, 0)
    for index in torch.arange(len(labels), device=labels.device).split(_EVALUATED_TOGETHER):
        features = network.features(parameters, {m: inputs[m][index] for m in names})
        for chosen in choices:
            logits = network.classify(parameters, {m: features[m] for m in chosen})
            right[chosen] += int((logits.argmax(dim=1) == labels[index]).sum())
    return {"+".join(chosen): count / len(labels) for chosen, count in right.items()}


if __name__ == "__main__":
    main()
