# ruff: noqa: T201
"""Events per host second of the clock, side by side with raw SimPy. Run by hand: python tests/benchmarks/bench_clock.py

100 clients for 1,000 rounds (100,000 local rounds where there is no barrier), timing-only, in a lognormal world with
jitters. Raw SimPy is 100 processes that sleep in a loop, as many events in all. One warm-up, then both in turns.
"""

import statistics
import tempfile
import time

import simpy

from interlude import parse_scenario, run_scenario

CLIENTS, ROUNDS, REPEATS = 100, 1_000, 5


def lognormal(median: float, sigma: float, unit: str = "") -> dict[str, object]:
    return {"distribution": "lognormal", f"median{unit}": median, "sigma": sigma}


ARRIVAL = {"per_client": lognormal(4.0, 1.0, "_s"), "jitter_sigma": 0.3}
SCENARIO = {
    "name": "bench",
    "data": {"dataset": "cg-digits", "partition": {"kind": "iid"}},
    "model": {"encoder": "mlp", "width": 64},
    "clients": {"count": CLIENTS},
    "world": {
        "arrival": {"gray": ARRIVAL, "color": ARRIVAL},
        "compute": {"throughput_gflops": lognormal(0.05, 0.8), "jitter_sigma": 0.1},
        "network": {
            "uplink_mbps": lognormal(2.0, 0.7),
            "downlink_mbps": lognormal(8.0, 0.7),
            "latency_ms": lognormal(50, 0.5),
            "jitter_sigma": 0.2,
        },
        "faults": {"dropout_probability": 0.05},
    },
    "training": {"batch_size": 32, "optimizer": {"learning_rate": 0.05}},
    "evaluate": {"every_s": 1e6},
}


def interlude(method: str, versions: int) -> tuple[int, float]:
    """Return events and host seconds of one run."""
    scenario = parse_scenario({**SCENARIO, "methods": [{"name": method}], "until": {"versions": versions}})
    with tempfile.TemporaryDirectory() as runs:
        (record,) = run_scenario(scenario, runs=runs, device="cpu", timing_only=True)
    totals = record.info["totals"]
    return totals["events"], totals["host_s"]


def raw_simpy(num_events: int) -> float:
    """Return the host seconds that SimPy alone takes for as many events."""
    environment = simpy.Environment()

    def sleeper(delay_s: float):
        for _ in range(num_events // CLIENTS):
            yield environment.timeout(delay_s)

    for client in range(CLIENTS):
        environment.process(sleeper(1.0 + client / CLIENTS))
    started = time.perf_counter()
    environment.run()
    return time.perf_counter() - started


def main() -> None:
    print(f"{'method':<10}{'events':>10}{'events/s':>12}{'raw SimPy':>12}{'ratio':>8}")
    for method, versions in (("fedavg", ROUNDS), ("fedasync", ROUNDS * CLIENTS), ("mba", ROUNDS * CLIENTS)):
        num_events, _ = interlude(method, versions)
        raw_simpy(num_events)
        ours, theirs = [], []
        for _ in range(REPEATS):
            ours.append(num_events / interlude(method, versions)[1])
            theirs.append(num_events / raw_simpy(num_events))
        speed, raw = statistics.median(ours), statistics.median(theirs)
        print(f"{method:<10}{num_events:>10,}{speed:>12,.0f}{raw:>12,.0f}{speed / raw:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
