"""What the training benchmarks train: two workloads, and the plain loops that everything is compared with.

* `W1`, small multi-layer perceptrons: limited by the cost of a call.
* `W2`, convolutions: limited by arithmetic.

Needs PyTorch and the folder ``models`` only, so that `bench_peers.py` runs in a peer's own environment. The functions
about scenarios import the simulator when they are called.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from interlude.models.encoders import ENCODERS
from interlude.models.inputs import InputSpec

NUM_CLASSES = 10
LEARNING_RATE = 0.05
SEED = 0

FIXED_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
    "OMP_NUM_THREADS": "1",
}
"""Set before Python starts, or the benchmark compares heaps and thread pools."""

State = dict[str, Tensor]
Samples = tuple[dict[str, Tensor], Tensor]


@dataclass(frozen=True)
class Workload:
    """A federation of equal clients."""

    name: str
    about: str
    shapes: Mapping[str, tuple[int, ...]]
    encoder: str
    width: int
    batch_size: int
    num_clients: int
    samples_per_client: int
    clients_per_round: int
    num_test_samples: int
    median_gflops: float
    """Of the simulated devices: a local round computes for some simulated seconds."""

    @property
    def num_steps(self) -> int:
        """Optimiser steps of one client-training: one epoch."""
        return self.samples_per_client // self.batch_size


W1 = Workload(
    name="W1",
    about="small MLPs, limited by calls: 2 steps of 32 samples a client, 100 clients a round",
    shapes={"a": (64,), "b": (32,)},
    encoder="mlp",
    width=64,
    batch_size=32,
    num_clients=100,
    samples_per_client=64,
    clients_per_round=100,
    num_test_samples=256,
    median_gflops=0.002,
)
W2 = Workload(
    name="W2",
    about="convolutions, limited by arithmetic: 4 steps of 64 samples a client, 6 of 30 clients a round",
    shapes={"a": (1, 28, 28), "b": (3, 28, 28)},
    encoder="conv4",
    width=128,
    batch_size=64,
    num_clients=30,
    samples_per_client=256,
    clients_per_round=6,
    num_test_samples=64,
    median_gflops=5.0,
)
R18 = Workload(
    name="R18",
    about="pairs of ResNet-18: 2 steps of 32 samples a client, 32 clients a round",
    shapes={"a": (3, 32, 32), "b": (3, 32, 32)},
    encoder="resnet18",
    width=64,
    batch_size=32,
    num_clients=32,
    samples_per_client=64,
    clients_per_round=32,
    num_test_samples=64,
    median_gflops=50.0,
)
"""For a GPU: `tests/gpu/measure.py` trains it in groups of several sizes."""
WORKLOADS = {workload.name: workload for workload in (W1, W2)}
SMOKE = {
    "S1": replace(W1, name="S1", about="W1 for a moment", num_clients=4, clients_per_round=4),
    "S2": replace(
        W2,
        name="S2",
        about="W2 for a moment",
        shapes={"a": (1, 8, 8), "b": (3, 8, 8)},
        width=16,
        batch_size=8,
        num_clients=4,
        samples_per_client=16,
        clients_per_round=2,
    ),
}
"""What `--smoke` runs, to show that a script still works; nothing is learned from their speed."""
KNOWN = WORKLOADS | SMOKE | {R18.name: R18}


# Data


@lru_cache(maxsize=len(KNOWN))
def samples(name: str) -> tuple[Samples, Samples]:
    """Return training and test samples: a mean of each class and modality, plus noise."""
    workload = KNOWN[name]
    generator = torch.Generator().manual_seed(SEED)
    means = {m: torch.randn(NUM_CLASSES, *shape, generator=generator) for m, shape in workload.shapes.items()}

    def draw(num_samples: int) -> Samples:
        labels = torch.randint(NUM_CLASSES, (num_samples,), generator=generator)
        noise = {m: torch.randn(num_samples, *shape, generator=generator) for m, shape in workload.shapes.items()}
        return {m: noise[m] + 0.5 * means[m][labels] for m in workload.shapes}, labels

    return draw(workload.num_clients * workload.samples_per_client), draw(workload.num_test_samples)


# The plain loops


class PlainModel(nn.Module):
    """The network as one would write it without a simulator: encoders, concatenation, one linear layer."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        encoder = ENCODERS[workload.encoder]
        self.encoders = nn.ModuleDict(
            {m: encoder(InputSpec(shape), workload.width, "group") for m, shape in workload.shapes.items()}
        )
        self.head = nn.Linear(workload.width * len(workload.shapes), NUM_CLASSES)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the logits."""
        return self.head(torch.cat([encoder(inputs[m]) for m, encoder in self.encoders.items()], dim=1))


class TrainedClient(NamedTuple):
    """What one client-training made."""

    state: State
    num_steps: int


class PlainLoop:
    """One module, `load_state_dict`, a fresh `torch.optim.SGD` per client, tensors in memory: the reference."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        torch.manual_seed(SEED)
        self.model = PlainModel(workload)
        self.state = copied(self.model.state_dict())
        self._inputs, self._labels = samples(workload.name)[0]
        self._generator = torch.Generator().manual_seed(SEED)

    def train(self, start: State, batches: Iterable[Tensor]) -> TrainedClient:
        """Return a client's model after one step on each batch of sample indices."""
        self.model.load_state_dict(start)
        optimizer = torch.optim.SGD(self.model.parameters(), lr=LEARNING_RATE)
        num_steps = 0
        for index in batches:
            optimizer.zero_grad()
            loss = functional.cross_entropy(self.model(self.inputs(index)), self._labels[index])
            loss.backward()
            optimizer.step()
            num_steps += 1
        return TrainedClient(copied(self.model.state_dict()), num_steps)

    def run_round(self) -> int:
        """Train the clients of one round, average their models, return the optimiser steps taken."""
        mean: State = {}
        num_steps = 0
        for client in self.clients():
            trained = self.train(self.state, self.batches(client))
            num_steps += trained.num_steps
            for name, value in trained.state.items():
                share = value / self.workload.clients_per_round
                mean[name] = mean[name] + share if name in mean else share
        self.state = mean
        return num_steps

    def clients(self) -> list[int]:
        """Return the clients of a round: drawn, or all."""
        workload = self.workload
        return torch.randperm(workload.num_clients, generator=self._generator)[: workload.clients_per_round].tolist()

    def batches(self, client: int) -> Sequence[Tensor]:
        """Return the sample indices of one epoch at a client, in a new order."""
        first, size = client * self.workload.samples_per_client, self.workload.samples_per_client
        order = first + torch.randperm(size, generator=self._generator)
        return order.split(self.workload.batch_size)

    def inputs(self, index: Tensor) -> dict[str, Tensor]:
        """Return the samples of a batch."""
        return {modality: x[index] for modality, x in self._inputs.items()}

    def labels(self, index: Tensor) -> Tensor:
        """Return the labels of a batch."""
        return self._labels[index]

    @torch.no_grad()
    def test_loss(self, state: State) -> float:
        """Return the test cross-entropy of a model."""
        self.model.load_state_dict(state)
        inputs, labels = samples(self.workload.name)[1]
        return float(functional.cross_entropy(self.model(inputs), labels))


@lru_cache(maxsize=1)
def shared_loop(name: str) -> PlainLoop:
    """Return this process's loop of a workload; other processes import it from here."""
    torch.set_num_threads(1)
    return PlainLoop(KNOWN[name])


class TunedLoop(PlainLoop):
    """The same mathematics without `state_dict` or optimiser objects: `torch.autograd.grad` and `torch._foreach`."""

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        self._names = [name for name, _ in self.model.named_parameters()]
        self._parameters = list(self.model.parameters())
        self._start = [parameter.detach().clone() for parameter in self._parameters]

    def run_round(self) -> int:
        """Train the clients of one round, average their models, return the optimiser steps taken."""
        total = [torch.zeros_like(value) for value in self._start]
        num_steps = 0
        for client in self.clients():
            num_steps += self._train_in_place(self.batches(client))
            with torch.no_grad():
                torch._foreach_add_(total, self._parameters)
        torch._foreach_div_(total, float(self.workload.clients_per_round))
        self._start = total
        self.state = dict(zip(self._names, total, strict=True))
        return num_steps

    def _train_in_place(self, batches: Iterable[Tensor]) -> int:
        num_steps = 0
        with torch.no_grad():
            torch._foreach_copy_(self._parameters, self._start)
        for index in batches:
            loss = functional.cross_entropy(self.model(self.inputs(index)), self.labels(index))
            gradients = torch.autograd.grad(loss, self._parameters)
            with torch.no_grad():
                torch._foreach_add_(self._parameters, gradients, alpha=-LEARNING_RATE)
            num_steps += 1
        return num_steps


def copied(state: Mapping[str, Tensor]) -> State:
    """Return a state that later training leaves alone."""
    return {name: value.detach().clone() for name, value in state.items()}


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Return the Euclidean distance of two models."""
    return sum(float((one[name] - other[name]).double().square().sum()) for name in one) ** 0.5


# Scenarios


def register() -> None:
    """Name the workloads' data in the simulator's table of data sets, as ``bench-W1`` and so on."""
    from interlude.simulator.data import DATASETS
    from interlude.simulator.data.dataset import Dataset
    from interlude.simulator.data.source import Source
    from interlude.simulator.data.spec import DataSpec

    def load(spec: DataSpec) -> Dataset:
        train, test = samples(spec.dataset.removeprefix("bench-"))
        return Dataset(train, test, NUM_CLASSES)

    for workload in KNOWN.values():
        DATASETS[f"bench-{workload.name}"] = Source(DataSpec, load)


def scenario(workload: Workload, kind: str, rounds: int) -> dict[str, Any]:
    """Return a scenario mapping of so many rounds' client-trainings.

    Args:
        workload: what is trained.
        kind: ``sync``, FedAvg at a barrier, or ``async``, FedAsync with a round's clients always in flight.
        rounds: rounds, or as many client-trainings without rounds.
    """
    per_round = workload.clients_per_round
    sync = {"name": "fedavg", "server": {"rule": "barrier", "clients_per_round": per_round}}
    asynchronous = {
        "name": "fedasync",
        "waiting": "all",
        "proximal": 0.0,  # the same arithmetic as in the plain loop
        "server": {"rule": "on_arrival", "concurrency": per_round},
    }
    arrival = {"per_client": _lognormal(0.5, 1.0, "_s"), "jitter_sigma": 0.3}
    return {
        "name": f"bench-{workload.name}-{kind}",
        "seed": SEED,
        "data": {"dataset": f"bench-{workload.name}", "partition": {"kind": "iid"}},
        "model": {"encoder": workload.encoder, "width": workload.width, "fusion": "concat"},
        "clients": {"count": workload.num_clients},
        "world": {
            "arrival": dict.fromkeys(workload.shapes, arrival),
            "compute": {"throughput_gflops": _lognormal(workload.median_gflops, 0.7), "jitter_sigma": 0.1},
            "network": {
                "uplink_mbps": _lognormal(10.0, 0.7),
                "downlink_mbps": _lognormal(40.0, 0.7),
                "latency_ms": _lognormal(50, 0.5),
                "jitter_sigma": 0.2,
            },
        },
        "training": {"batch_size": workload.batch_size, "optimizer": {"learning_rate": LEARNING_RATE}},
        "methods": [sync if kind == "sync" else asynchronous],
        "until": {"versions": rounds if kind == "sync" else rounds * per_round},
        "evaluate": {"every_s": 1e9},  # at the start and at the end only: evaluation is not what is measured
    }


def _lognormal(median: float, sigma: float, unit: str = "") -> dict[str, object]:
    return {"distribution": "lognormal", f"median{unit}": median, "sigma": sigma}


# Measuring side by side


class Measured(NamedTuple):
    """Client-trainings and the host seconds they took."""

    trainings: int
    seconds: float


Contenders = Mapping[str, Callable[[], Measured]]


def fix_process(*, is_timed: bool) -> None:
    """Take one thread and, where speed matters, start this script again with `FIXED_ENVIRONMENT`; print what holds."""
    if is_timed and any(os.environ.get(name) != value for name, value in FIXED_ENVIRONMENT.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **FIXED_ENVIRONMENT})
    torch.set_num_threads(1)
    settings = " ".join(f"{name}={os.environ.get(name, 'unset')}" for name in FIXED_ENVIRONMENT)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread, {settings}", flush=True)  # noqa: T201


def measured_loop(loop: PlainLoop, rounds: int) -> Measured:
    """Run rounds of a loop, and check that it took its steps."""
    started = time.perf_counter()
    num_steps = sum(loop.run_round() for _ in range(rounds))
    seconds = time.perf_counter() - started
    trainings = rounds * loop.workload.clients_per_round
    check(num_steps == trainings * loop.workload.num_steps, "the loop takes the steps it claims")
    return Measured(trainings, seconds)


def alternate(reference: Callable[[], Measured], contenders: Contenders, repeats: int) -> dict[str, list[Measured]]:
    """Run all contenders once in each outer round, the reference before and after them, each round.

    Returns:
        What each took in each round; under ``""`` the reference, its two runs together.
    """
    results: dict[str, list[Measured]] = {"": [], **{name: [] for name in contenders}}
    for repeat in range(repeats):
        before = reference()
        for name, contender in contenders.items():
            started = time.perf_counter()
            results[name].append(contender())
            seconds = time.perf_counter() - started
            print(f"  repeat {repeat + 1} of {repeats}, {name}: {seconds:.1f} s", file=sys.stderr, flush=True)  # noqa: T201
        after = reference()
        results[""].append(Measured(before.trainings + after.trainings, before.seconds + after.seconds))
    return results


def rates(measured: Sequence[Measured]) -> list[float]:
    """Return client-trainings per second."""
    return [each.trainings / each.seconds for each in measured]


def spread(values: Sequence[float]) -> str:
    """Return the median with its range."""
    return f"{statistics.median(values):.2f} [{min(values):.2f}-{max(values):.2f}]"


def ratios(measured: Sequence[Measured], reference: Sequence[Measured]) -> list[float]:
    """Return each round's rate over that of the reference in the same round."""
    return [one / other for one, other in zip(rates(measured), rates(reference), strict=True)]


def check(holds: bool, claim: str) -> None:
    """Stop the benchmark where a claim does not hold."""
    if not holds:
        raise SystemExit(f"benchmark check failed: {claim}")
