# ruff: noqa: T201
"""The simulator against a real federation on this machine: a server and client processes over TCP.

Run: python tests/validation/run.py [--seconds 75] [--clients 16] [--out validation]
Without an installed Interlude, put the repository's root in front: PYTHONPATH=. python ...

Writes tables.md, comparison.json, merges.png, merges.csv, and for a closer look spans.csv and trainings.csv into OUT;
docs/validation.md says what is compared.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from compare import Outcome, compare, merge_times_s
from federation import SEQUENTIAL, federation, with_devices_of
from figure import draw
from host import Host, host_facts
from processes import Clients
from real_run import Played, play
from table import markdown

from interlude import RunRecord, Scenario, load_scenario, run_scenario
from interlude.simulator.calibrate.measure import calibrate
from interlude.simulator.calibrate.speed import Speed
from interlude.simulator.run.build import build_testbed
from interlude.simulator.training.host import keep_freed_memory, one_thread

_SCENARIO = Path(__file__).parent / "scenario.yaml"
_SMOKE = ("clients.count=2", "until.simulated_s=8", "evaluate.every_s=1", "methods=[{name: mba}]")
_SMOKE_HOST = Host(Speed(1e-10, 2e-5, 1e-3), joint_gflops=2.0)


def simulated(scenario: Scenario, hosts: Sequence[Host]) -> list[Outcome]:
    """Return what the simulated runs come to, each on devices that are its host, slowed down."""
    outcomes = []
    for method, host in zip(scenario.methods, hosts, strict=True):
        one = with_devices_of(scenario, host).model_copy(update={"methods": (method,)})
        with tempfile.TemporaryDirectory() as runs:
            (record,) = run_scenario(one, runs=runs, device="cpu", workers=1)
            outcomes.append(Outcome(record.timeline, accuracy_of(record)))
    return outcomes


async def played(
    path: Path,
    overrides: Sequence[str],
    scenario: Scenario,
    host: Host,
    rehearsal_s: float,
    clients_of: type[Clients] = Clients,
) -> list[Played]:
    """Run all methods of a scenario for real, one after the other."""
    seconds = scenario.until.simulated_s
    assert seconds is not None, "the scenario ends at a moment"
    testbed, runs = build_testbed(scenario), []
    async with clients_of(path, overrides, host, scenario.clients.count) as clients:
        for position, method in enumerate(scenario.methods):
            run = await play(federation(testbed, position), clients, seconds, host, rehearsal_s)
            print(f"{method.run_label}: {seconds:g} s, {said(run.host)}", file=sys.stderr, flush=True)
            runs.append(run)
    return runs


def accuracy_of(record: RunRecord) -> pd.Series:
    """Return a simulated run's fused test accuracy by moment."""
    metrics = record.metrics
    rows = metrics[(metrics["metric"] == "accuracy") & (metrics["modality"] == "fused")]
    series: pd.Series = rows.set_index("time_s")["value"]
    return series


def report(out: Path, scenario: Scenario, host: Host, predicted: Sequence[Outcome], runs: Sequence[Played]) -> str:
    """Write the comparison of all methods; returns its tables."""
    seconds = scenario.until.simulated_s or 0.0
    labels = [method.run_label for method in scenario.methods]
    pairs = {label: (one, run.outcome) for label, one, run in zip(labels, predicted, runs, strict=True)}
    if idle := [label for label, pair in pairs.items() if not all(len(merge_times_s(one.timeline)) for one in pair)]:
        sys.exit(f"{', '.join(idle)}: nothing was merged within {seconds:g} s; give more --seconds")
    comparisons = {label: compare(*pair, seconds) for label, pair in pairs.items()}
    hosts = {label: host_facts(run.computed, run.waits, seconds) for label, run in zip(labels, runs, strict=True)}
    out.mkdir(parents=True, exist_ok=True)
    both = ("predicted", "real")
    merges = {
        (label, run): pd.DataFrame({"time_s": merge_times_s(one.timeline)})
        for label, pair in pairs.items()
        for run, one in zip(both, pair, strict=True)
    }
    pd.concat(merges, names=["method", "run", "merge"]).to_csv(out / "merges.csv", float_format="%.4f")
    spans = {(label, run): one.timeline for label, pair in pairs.items() for run, one in zip(both, pair, strict=True)}
    pd.concat(spans, names=["method", "run", "row"]).to_csv(out / "spans.csv", float_format="%.6f")
    trainings = {label: run.computed for label, run in zip(labels, runs, strict=True)}
    pd.concat(trainings, names=["method", "row"]).to_csv(out / "trainings.csv", float_format="%.6f")
    draw(pairs, out / "merges.png")
    methods = {
        label: {**asdict(comparisons[label]), "host": {**asdict(run.host), **asdict(hosts[label])}}
        for label, run in zip(labels, runs, strict=True)
    }
    whole = {"host_before": asdict(host), "methods": methods, "scenario": scenario.resolved()}
    (out / "comparison.json").write_text(json.dumps(whole, indent=1), encoding="utf-8")
    tables = markdown(comparisons, hosts)
    (out / "tables.md").write_text(tables, encoding="utf-8")
    return tables


def main() -> None:
    """Calibrate, simulate, play for real, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", type=Path, default=_SCENARIO, help="a scenario without faults")
    parser.add_argument("--seconds", type=float, help="of each method's run; unset: the scenario's")
    parser.add_argument("--clients", type=int, help="client processes; unset: the scenario's")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="changes the scenario")
    parser.add_argument(
        "--rehearsal-seconds", type=float, default=15.0, help="of every method, to measure the speed in place; 0: not"
    )
    parser.add_argument("--calibrate-seconds", type=float, default=20.0, help="to measure it for")
    parser.add_argument("--out", type=Path, default=Path("validation"), help="folder for what is written")
    parser.add_argument("--smoke", action="store_true", help="two clients and eight seconds; shows only that it runs")
    given = parser.parse_args()
    overrides = [*(_SMOKE if given.smoke else ()), *given.set]
    overrides += [f"clients.count={given.clients}"] if given.clients else []
    overrides += [f"until.simulated_s={given.seconds}"] if given.seconds else []
    scenario = load_scenario(given.scenario, [*overrides, SEQUENTIAL])
    host = _SMOKE_HOST
    if not given.smoke:
        print("calibrating", file=sys.stderr, flush=True)
        found = calibrate(scenario, device="cpu", workers=1, seconds=given.calibrate_seconds)
        host = Host(found.speed, found.measured[0].median_gflops)
        print(f"this host, back to back: {said(host)}", file=sys.stderr, flush=True)
    keep_freed_memory()
    rehearsal_s = 1.0 if given.smoke else given.rehearsal_seconds
    with one_thread():
        runs = asyncio.run(played(given.scenario.resolve(), overrides, scenario, host, rehearsal_s))
        predicted = simulated(scenario, [run.host for run in runs])
    print(report(given.out, scenario, host, predicted, runs))


def said(host: Host) -> str:
    """Return the speed of a host in words."""
    speed = host.speed
    return (
        f"{host.joint_gflops:.2f} GFLOP/s jointly; {speed.gflops:.1f} GFLOP/s and {1e6 * speed.s_per_operation:.1f} us "
        f"an operation, {1e3 * speed.s_per_task:.2f} ms a task"
    )


if __name__ == "__main__":
    main()
