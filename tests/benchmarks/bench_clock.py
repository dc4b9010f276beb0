# ruff: noqa: T201
"""Local rounds and events per host second of the clock, without training. Run: python tests/benchmarks/bench_clock.py

100 clients in a lognormal world with jitters, 500 rounds at a barrier or 50,000 local rounds without one. Raw SimPy is
100 processes that sleep in a loop, as many events in all. ``--against`` measures another checkout, an older commit for
example, in turns with this one: only numbers of one run of this script are comparable.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import simpy

ROOT = Path(__file__).parents[2]
CLIENTS = 100
METHODS = ("fedavg", "fedasync", "mba")
AT_A_BARRIER = {"fedavg"}


def lognormal(median: float, sigma: float, unit: str = "") -> dict[str, object]:
    """Return a lognormal distribution as a scenario writes it."""
    return {"distribution": "lognormal", f"median{unit}": median, "sigma": sigma}


ARRIVAL = {"per_client": lognormal(4.0, 1.0, "_s"), "jitter_sigma": 0.3}
COMPUTE = {"throughput_gflops": lognormal(0.05, 0.8), "jitter_sigma": 0.1}
NETWORK = {
    "uplink_mbps": lognormal(2.0, 0.7),
    "downlink_mbps": lognormal(8.0, 0.7),
    "latency_ms": lognormal(50, 0.5),
    "jitter_sigma": 0.2,
}
SCENARIO = {
    "name": "bench",
    "data": {"dataset": "cg-digits", "partition": {"kind": "iid"}},
    "model": {"encoder": "mlp", "width": 64},
    "clients": {"count": CLIENTS},
    "world": {
        "arrival": {"gray": ARRIVAL, "color": ARRIVAL},
        "compute": COMPUTE,
        "network": NETWORK,
        "faults": {"dropout_probability": 0.05},
    },
    "training": {"batch_size": 32, "optimizer": {"learning_rate": 0.05}},
    "evaluate": {"every_s": 1e6},
}


class Took(NamedTuple):
    """What one run came to."""

    events: int
    local_rounds: int
    host_s: float
    cpu_s: float
    """Of the whole call, start-up included: what a busy machine disturbs least."""


class Checkout:
    """A process that runs scenarios with the simulator of one checkout.

    Args:
        root: the checkout.
        python: an interpreter that has what the checkout needs.
    """

    def __init__(self, root: Path, python: Path) -> None:
        self._process = subprocess.Popen(
            [python, Path(__file__).with_name("clock_worker.py"), root],
            env={**os.environ, "PYTHONPATH": str(root)},
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Checkout":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, method: str, num_rounds: int) -> Took:
        """Run so many rounds of all clients, or as many local rounds where there is no barrier."""
        versions = num_rounds if method in AT_A_BARRIER else num_rounds * CLIENTS
        given: dict[str, Any] = {**SCENARIO, "methods": [{"name": method}], "until": {"versions": versions}}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(given) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("benchmark check failed: the checkout's process ended; see above")
        return Took(**json.loads(answer))


def raw_simpy(num_events: int) -> float:
    """Return the events per host second of SimPy alone, over so many events."""
    environment = simpy.Environment()
    per_client = max(1, num_events // CLIENTS)

    def sleeper(delay_s: float):
        for _ in range(per_client):
            yield environment.timeout(delay_s)

    for client in range(CLIENTS):
        environment.process(sleeper(1.0 + client / CLIENTS))
    started = time.perf_counter()
    environment.run()
    return CLIENTS * per_client / (time.perf_counter() - started)


def measure(method: str, checkouts: dict[str, Checkout], num_rounds: int, repeats: int) -> None:
    """Measure one method in turns, and print a line for each checkout."""
    took: dict[str, list[Took]] = {name: [] for name in checkouts}
    raw: list[float] = []
    for repeat in range(repeats):
        for name, checkout in checkouts.items():
            took[name].append(checkout.run(method, num_rounds))
        raw.append(raw_simpy(next(iter(took.values()))[0].events))
        seconds = ", ".join(
            f"{name} {runs[-1].host_s:.2f} s, CPU {runs[-1].cpu_s:.2f} s" for name, runs in took.items()
        )
        print(f"  {method}, repeat {repeat + 1} of {repeats}: {seconds}", file=sys.stderr, flush=True)
    rates = {name: [run.local_rounds / run.host_s for run in runs] for name, runs in took.items()}
    by_cpu = {name: [run.local_rounds / run.cpu_s for run in runs] for name, runs in took.items()}
    this = next(iter(rates))
    for name, runs in took.items():
        events = statistics.median(run.events / run.host_s for run in runs)
        ratio = f"{spread(rates[this], rates[name])}, by CPU time {spread(by_cpu[this], by_cpu[name])}"
        print(
            f"{method:<10}{name:<8}{statistics.median(rates[name]):>16,.0f}{events:>12,.0f}"
            f"{statistics.median(raw):>12,.0f}   {'' if name == this else f'{this} / {name}: {ratio}'}",
            flush=True,
        )


def spread(ours: list[float], theirs: list[float]) -> str:
    """Return the median ratio of rates that were measured one after the other, with its range."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}]"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=500, help="rounds of the 100 clients; default: %(default)s")
    parser.add_argument(
        "--repeats", type=int, default=5, help="default: %(default)s, less than ten minutes on two cores"
    )
    parser.add_argument("--against", type=Path, help="another checkout, measured in turns with this one")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the other checkout's interpreter")
    parser.add_argument("--smoke", action="store_true", help="a few rounds: only shows that it runs")
    given = parser.parse_args()
    num_rounds, repeats = (3, 1) if given.smoke else (given.rounds, given.repeats)
    with ExitStack() as stack:
        checkouts = {"this": stack.enter_context(Checkout(ROOT, Path(sys.executable)))}
        if given.against is not None:
            checkouts["other"] = stack.enter_context(Checkout(given.against.absolute(), given.python.absolute()))
        for checkout in checkouts.values():
            checkout.run("fedavg", 2)  # warm-up
        print(f"{'method':<10}{'':<8}{'local rounds/s':>16}{'events/s':>12}{'raw SimPy':>12}")
        for method in given.methods.split(","):
            measure(method, checkouts, num_rounds, repeats)


if __name__ == "__main__":
    main()
