# ruff: noqa: T201
"""Time and memory of runs by the number of clients. Run: python tests/benchmarks/bench_scale.py [--train]

The data set is synthetic, so nothing is stored for a client; each run is in a process of its own, whose peak memory is
read from the operating system. FedAsync and MBA keep 1,000 clients in flight, FedAvg takes 1,000 a round (all where
there are fewer). `estimate` is what `interlude check` says of the peak, marked outside 0.7 to 1.3 of it; `growth` is
the peak above that of a tiny run. `once` is the same run with hardly a local round: what clients cost that never act.
The exponent is that of a power law through the numbers of clients, by least squares of logarithms.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any, NamedTuple

import numpy as np
from bench_clock import ARRIVAL, COMPUTE, NETWORK, lognormal

METHODS = ("fedasync", "fedavg", "mba")


class Workload(NamedTuple):
    """What clients do."""

    at_work: int
    width: int
    """Of the model."""
    trains: bool


def scenario(method: str, num_clients: int, local_rounds: int, load: Workload) -> dict[str, Any]:
    """Return the mapping of a scenario that ends after about so many local rounds."""
    at_work = min(load.at_work, num_clients)
    is_by_rounds = method == "fedavg"
    server = (
        {"rule": "barrier", "clients_per_round": at_work}
        if is_by_rounds
        else {"rule": "on_arrival", "concurrency": at_work}
    )
    return {
        "name": "scale",
        "data": {
            "dataset": "synthetic",
            "modalities": {"audio": {"shape": [64]}, "video": {"shape": [32]}},
            "samples_per_client": lognormal(60.0, 0.8),
            "test_samples": 100,
        },
        "model": {"encoder": "mlp", "width": load.width},
        "clients": {"count": num_clients},
        "world": {
            "arrival": {"audio": ARRIVAL, "video": ARRIVAL},
            "compute": COMPUTE,
            "network": NETWORK,
        },
        "training": {"batch_size": 32, "window_samples": 32, "optimizer": {"learning_rate": 0.05}},
        "methods": [{"name": method, "server": server}],
        "until": {"versions": max(1, local_rounds // at_work) if is_by_rounds else local_rounds},
        "evaluate": {"every_s": 1e9},
        "limits": {"events": 1_000_000_000, "memory_gb": 64},
    }


def run_here(method: str, num_clients: int, local_rounds: int, load: Workload) -> dict[str, float]:
    """Run one scenario in this process after a tiny one, and return what it took."""
    import torch

    from interlude import parse_scenario, run_scenario
    from interlude.simulator.run.build import build_testbed
    from interlude.simulator.run.estimate import estimate
    from interlude.simulator.run.limits import PROGRAM_BYTES

    timing_only = not load.trains

    def run(num_clients: int, local_rounds: int) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as runs:
            given = parse_scenario(scenario(method, num_clients, local_rounds, load))
            (record,) = run_scenario(given, runs=runs, device="cpu", workers=1, timing_only=timing_only)
            totals: dict[str, Any] = record.info["totals"]
        return totals

    run(2, 2)  # imports what a run needs
    before, started = _peak_bytes(), time.process_time()
    totals = run(num_clients, local_rounds)
    cpu_s, peak = time.process_time() - started, _peak_bytes()
    given = parse_scenario(scenario(method, num_clients, local_rounds, load))
    (estimated,) = estimate(build_testbed(given, timing_only=timing_only), torch.device("cpu"), timing_only=timing_only)
    return {
        "local_rounds": totals["local_rounds"],
        "cpu_s": cpu_s,
        "clock_s": totals["host_s"],
        "peak": peak,
        "growth": peak - before,
        "estimate": PROGRAM_BYTES + estimated.needs.memory_bytes,
    }


def _peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measured(method: str, num_clients: int, local_rounds: int, load: Workload) -> dict[str, float]:
    """Run one scenario in a process of its own."""
    flags = ["--at-work", str(load.at_work), "--width", str(load.width), *(["--train"] if load.trains else [])]
    answer = subprocess.run(
        [sys.executable, __file__, *flags, "--here", method, str(num_clients), str(local_rounds)],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise SystemExit(f"benchmark check failed: a run ended with {answer.returncode}\n{answer.stderr}")
    took: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return took


def exponent(num_clients: list[int], values: list[float]) -> float:
    """Return b of the power law a N^b through some values."""
    slope, _ = np.polyfit(np.log(num_clients), np.log(np.maximum(values, 1e-3)), 1)
    return float(slope)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated; default: %(default)s")
    parser.add_argument("--clients", default="100,1000,10000,100000,1000000", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=100_000, help="local rounds of a run; default: %(default)s")
    parser.add_argument("--at-work", type=int, default=1_000, help="most clients in flight; default: %(default)s")
    parser.add_argument("--width", type=int, default=32, help="of the model; default: %(default)s")
    parser.add_argument("--train", action="store_true", help="train, instead of the clock alone")
    parser.add_argument("--smoke", action="store_true", help="few clients and rounds: only shows that it runs")
    parser.add_argument("--here", nargs=3, metavar=("METHOD", "CLIENTS", "ROUNDS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    load = Workload(given.at_work, given.width, given.train)
    if given.here is not None:
        method, num_clients, local_rounds = given.here
        print(json.dumps(run_here(method, int(num_clients), int(local_rounds), load)))
        return
    counts = [20, 60] if given.smoke else [int(count) for count in given.clients.split(",")]
    local_rounds = 60 if given.smoke else given.rounds
    methods = ["fedasync"] if given.smoke else given.methods.split(",")
    print(
        f"{'method':<10}{'clients':>10}{'rounds':>10}{'CPU s':>9}{'once':>8}{'rounds/s':>10}{'peak MB':>9}"
        f"{'growth MB':>11}{'estimate MB':>13}{'ratio':>7}"
    )
    for method in methods:
        runs = []
        for num_clients in counts:
            run = run_here if given.smoke else measured
            took, once = run(method, num_clients, local_rounds, load), run(method, num_clients, 1, load)
            ratio = took["estimate"] / took["peak"]
            runs.append((took, once))
            print(
                f"{method:<10}{num_clients:>10,}{took['local_rounds']:>10,}{took['cpu_s']:>9.1f}{once['cpu_s']:>8.1f}"
                f"{took['local_rounds'] / took['clock_s']:>10,.0f}{took['peak'] / 1e6:>9,.0f}"
                f"{took['growth'] / 1e6:>11,.0f}{took['estimate'] / 1e6:>13,.0f}{ratio:>7.2f}"
                f"{'' if 0.7 <= ratio <= 1.3 else ' !'}",
                flush=True,
            )
        if len(counts) < 2:
            continue  # one point has no exponent
        fits = {
            "time": [took["cpu_s"] for took, _ in runs],
            "once": [once["cpu_s"] for _, once in runs],
            "growth of memory": [took["growth"] / 1e6 for took, _ in runs],
        }
        print(f"{method:<10}exponents: " + ", ".join(f"{name} {exponent(counts, fits[name]):.2f}" for name in fits))


if __name__ == "__main__":
    main()
