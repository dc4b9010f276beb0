# ruff: noqa: T201
"""The estimate of `interlude check` against the run itself, without training: counts as ratios, and the CPU it takes.

Run: python tests/benchmarks/bench_estimate.py [WORLD ...]; it needs the data sets of the scenarios, and skips those
that lack theirs. Worlds are the shipped scenarios (of a sweep the first and the last point) and some whose clients
start late. A ratio outside 0.7 to 1.3 is marked.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from interlude import BadInputError, Scenario, load_scenarios
from interlude.simulator.record.sink import TimelineInMemory
from interlude.simulator.run.build import Testbed, build_testbed
from interlude.simulator.run.estimate import estimate
from interlude.simulator.run.loop import Run
from interlude.simulator.run.spec import run_specs
from interlude.simulator.scenario.documents import load_documents
from interlude.simulator.sweep import Flags, load_sweep

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
QUICKSTART = ROOT / "scenarios" / "quickstart.yaml"
LATE = {
    "csv-600": (
        "clients.count=600",
        "data.partition={kind: iid}",
        "world.availability={kind: intervals, file: FILE}",
        "until.simulated_s=300",
    ),
    "join-200": (
        "clients.count=200",
        "world.availability={kind: always, join_s: {distribution: uniform, low: 0, high: 300}}",
        "until.simulated_s=300",
    ),
    "markov-100": ("clients.count=100", "world.availability={kind: markov, mean_on_s: 50, mean_off_s: 50}"),
    "stragglers": ("world.compute.stragglers={probability: 0.05, persistence: 0.7, slowdown: 20}",),
}
SMOKE = ("smoke", ("clients.count=4", "until.simulated_s=60"))


class Counts(NamedTuple):
    """What a run comes to, or is estimated to."""

    events: float
    local_rounds: float
    evaluations: float
    versions: float
    num_bytes: float


def worlds(names: list[str], folder: Path) -> Iterator[tuple[str, Path, tuple[str, ...]]]:
    """Yield name, file and overrides of the worlds whose names hold one of some words; of all without any."""
    intervals = folder / "intervals.csv"
    draw = np.random.default_rng(0)
    rows = ((c, on, on + draw.uniform(20, 200)) for c in range(300) for on in [draw.uniform(0, 400)])
    intervals.write_text("device,on_s,off_s\n" + "".join(f"{c},{on},{off}\n" for c, on, off in rows), encoding="utf-8")
    files = {path.stem: (path, ()) for path in sorted((ROOT / "scenarios").rglob("*.yaml"))}
    late = {
        name: (QUICKSTART, tuple(change.replace("FILE", str(intervals)) for change in changes))
        for name, changes in LATE.items()
    }
    for name, (path, changes) in (files | late).items():
        if not names or any(word in name for word in names):
            yield name, path, changes


def scenarios_of(path: Path, changes: tuple[str, ...]) -> list[Scenario]:
    """Return the scenarios of a file; of a sweep the first and the last point."""
    if load_documents(path, changes).sweep is None:
        return load_scenarios(path, changes)
    points = load_sweep(path, changes, Flags(seeds=None)).scenarios
    return [points[0], *points[1:][-1:]]


def compare(name: str, testbed: Testbed) -> None:
    """Print a line for each method of a scenario."""
    for spec in run_specs(testbed.scenario, Path(), CPU, timing_only=True):
        one = replace(testbed, scenario=spec.scenario)
        started = time.process_time()
        (found,) = estimate(one, CPU, timing_only=True)
        estimate_s = time.process_time() - started
        needs = found.needs
        estimated = Counts(needs.events, found.local_rounds, needs.evaluations, found.versions, found.num_bytes)
        sink = TimelineInMemory()
        started = time.process_time()
        run = Run(spec, testbed.ingredients(spec.options), sink)
        run.play()
        run_s = time.process_time() - started
        num_bytes = sum(int(part.column("bytes").to_numpy().sum()) for part in sink.parts)
        server, evaluations = run.server, math.ceil(run.end_s / spec.scenario.evaluate.every_s) + 1
        came_to = Counts(run.clock.num_events, server.fleet.num_returned, evaluations, server.version, num_bytes)
        ratios = [a / b if b else float(a == b) for a, b in zip(estimated, came_to, strict=True)]
        marked = "" if all(0.7 <= ratio <= 1.3 for ratio in ratios) else "  <- outside"
        shown = " ".join(f"{ratio:11.2f}" for ratio in ratios)
        print(f"{name:24.24} {spec.options.run_label:18.18} {shown} {run_s:8.2f} {estimate_s:8.2f}{marked}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worlds", nargs="*", help="words of the names of worlds; none: all")
    parser.add_argument("--smoke", action="store_true", help="one tiny world")
    arguments = parser.parse_args()
    print(f"{'world':24} {'method':18} " + " ".join(f"{field:>11}" for field in Counts._fields) + "    run s    est. s")
    with tempfile.TemporaryDirectory() as folder:
        chosen = worlds(arguments.worlds, Path(folder))
        for name, path, changes in [(SMOKE[0], QUICKSTART, SMOKE[1])] if arguments.smoke else chosen:
            try:
                for scenario in scenarios_of(path, (*changes, "limits.events=1000000000")):
                    compare(name, build_testbed(scenario))
            except BadInputError as error:
                print(f"{name:24.24} skipped: {error}")


if __name__ == "__main__":
    main()
