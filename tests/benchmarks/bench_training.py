# ruff: noqa: T201
"""Client-trainings per host second against a plain PyTorch loop. Run: python tests/benchmarks/bench_training.py

For each workload, in turns within outer rounds, one thread per process:

* the plain loop (the reference) and a tuned loop;
* the executor alone: the tasks of FedAvg rounds, submitted and merged without clock, network or record;
* whole simulated runs through `run_scenario`: clock, network, merges and record included. Their speed is the slope
  between a short and a long run, so that start-up and the two evaluations of a run, which do not depend on its length,
  are not in it.

Before anything is timed, results are checked: the executor's merged model against the plain loop's on the same batches,
and each whole run's final loss against a replay of its recorded merges with the plain loop.
"""

import argparse
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from workloads import (
    KNOWN,
    SEED,
    SMOKE,
    Contenders,
    Measured,
    PlainLoop,
    State,
    TunedLoop,
    Workload,
    alternate,
    check,
    distance,
    fix_process,
    measured_loop,
    rates,
    ratios,
    register,
    scenario,
    spread,
)

from interlude import RunRecord, Scenario, parse_scenario, run_scenario
from interlude.models.network import Network, Parameters
from interlude.simulator.arrays import Indices
from interlude.simulator.run.build import build_testbed, executor_and_model
from interlude.simulator.run.spec import RunSpec
from interlude.simulator.training.batches import BatchOrders
from interlude.simulator.training.executors.executor import Executor
from interlude.simulator.training.merge import ClientUpdate, weighted_mean
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.task import LocalSteps, Task
from interlude.simulator.training.workers.pool import WorkerPool


class Configuration(NamedTuple):
    """One way to train."""

    changes: dict[str, Any]
    """What is merged into the scenario."""
    processes: int = 1


EXECUTORS = {
    "sequential": Configuration({"executor": {"kind": "sequential"}}),
    "batched": Configuration({}),
    "batched, 2 processes": Configuration({}, 2),
    "batched, 2 processes, bfloat16": Configuration({"executor": {"precision": "bfloat16"}}, 2),
    "batched, 2 processes, compiled": Configuration({"executor": {"compile": True}}, 2),
}
CHOSEN = {
    "W1": ("sequential", "batched", "batched, 2 processes"),
    "W2": tuple(EXECUTORS)[:4],
    "S1": ("sequential", "batched"),
    "S2": ("batched",),
}
"""Which of them are measured of each workload; ``--executors`` chooses others."""

RUNS = {"W1": ("sync", "async"), "W2": ("sync",), "S1": ("sync", "async"), "S2": ("sync",)}
"""Which whole runs are measured of each workload; W2 can have ``async`` too, for as much time again."""


class Rounds(NamedTuple):
    """How much of each is run at once."""

    checked_run: int
    warm_up: int
    loop: int
    executor: int
    short_run: int
    """0 where start-up may be counted with the long run, as a smoke test does."""
    long_run: int


ROUNDS = {
    "W1": Rounds(2, 60, 10, 40, 60, 160),
    "W2": Rounds(1, 2, 1, 3, 6, 11),
    "S1": Rounds(2, 1, 1, 1, 0, 3),
    "S2": Rounds(2, 1, 1, 1, 0, 2),
}

UPDATE_TOLERANCE = 1e-2  # of the update; single precision alone moves a convolutional update by 1e-3
LOSS_TOLERANCE = 1e-2  # of the change of the test loss; a step less of two or four changes it by far more


# The executor alone


class Parts(NamedTuple):
    """What a run trains with."""

    executor: Executor
    network: Network
    model: Parameters
    """Version 0."""
    shards: Sequence[Indices]
    """Each client's samples."""


def parts_of(given: Scenario, pool: WorkerPool) -> Parts:
    """Return what a run of a scenario trains with, made as `run_scenario` makes it."""
    spec = RunSpec(given.for_run(given.methods[0], given.seed), Path(), torch.device("cpu"), timing_only=False)
    ingredients = build_testbed(spec.scenario).ingredients(spec.options)
    executor, model = executor_and_model(spec, ingredients, pool)
    return Parts(executor, ingredients.network, model, ingredients.population.shards)


class ExecutorAlone:
    """Submits the tasks of FedAvg rounds and merges their results, and does nothing else.

    Args:
        workload: what is trained.
        parts: what trains it.
    """

    def __init__(self, workload: Workload, parts: Parts) -> None:
        self.workload = workload
        self.model = parts.model
        self._parts = parts
        self._windows: Counter[int] = Counter()
        self._draws = torch.Generator().manual_seed(SEED)

    def tasks(self) -> list[Task]:
        """Return the tasks of the next round."""
        workload, network = self.workload, self._parts.network
        drawn = torch.randperm(workload.num_clients, generator=self._draws)[: workload.clients_per_round]
        tasks = []
        for client in drawn.tolist():
            shard = self._parts.shards[client]
            check(len(shard) == workload.samples_per_client, "every client holds the same number of samples")
            tasks.append(joint_task(workload, network, client, self._windows[client], shard, self.model))
            self._windows[client] += 1
        return tasks

    def merge(self, tasks: list[Task]) -> None:
        """Train and merge, as the barrier does: everything submitted before anything is asked for."""
        groups = tuple(self._parts.network.groups)
        executor = self._parts.executor
        results = executor.results([executor.submit(task) for task in tasks])
        arrived = [
            ClientUpdate(task.client, groups, len(task.samples), 0, trained.parameters, self.model, {})
            for task, trained in zip(tasks, results or (), strict=True)
        ]
        self.model = weighted_mean(self.model, arrived)

    def measured(self, rounds: int) -> Measured:
        """Time some rounds, up to the moment when the last model's values are there."""
        start = self.model
        started = time.perf_counter()
        for _ in range(rounds):
            self.merge(self.tasks())
        moved = distance(self.model, start)
        seconds = time.perf_counter() - started
        check(moved > 0.0, "the executor moves the model")
        return Measured(rounds * self.workload.clients_per_round, seconds)


def joint_task(
    workload: Workload, network: Network, client: int, window: int, shard: Indices, start: Parameters
) -> Task:
    """Return the training of one local round from a model."""
    steps = LocalSteps(CrossEntropy(network.modalities), workload.num_steps, "joint")
    return Task(client, window, 0, (steps,), shard, start, start)


# Whole runs


def whole_run(given: Scenario, pool: WorkerPool) -> tuple[RunRecord, Measured, tuple[float, float]]:
    """Return the record of a run, what it took, and its first and last test loss."""
    with tempfile.TemporaryDirectory() as runs:
        started = time.perf_counter()
        (record,) = run_scenario(given, runs=runs, device="cpu", workers=pool)
        seconds = time.perf_counter() - started
        _ = record.timeline  # read before the directory goes
        losses = record.metrics.query("metric == 'loss' and modality == 'fused'")["value"]
    return record, Measured(record.info["totals"]["local_rounds"], seconds), (losses.iloc[0], losses.iloc[-1])


def slope(workload: Workload, kind: str, executor: Mapping[str, Any], pool: WorkerPool, rounds: Rounds) -> Measured:
    """Return what a long run took more than a short one."""
    took = []
    for length in filter(None, (rounds.short_run, rounds.long_run)):
        record, measured, _ = whole_run(parse_scenario({**scenario(workload, kind, length), **executor}), pool)
        check(len(merges_of(record)) == measured.trainings, "every local round that is counted is merged")
        took.append(measured)
    if not rounds.short_run:
        return took[0]
    short, long = took
    check(long.seconds > short.seconds, "a long run takes longer than a short one; measure more rounds")
    return Measured(long.trainings - short.trainings, long.seconds - short.seconds)


def merges_of(record: RunRecord) -> pd.DataFrame:
    """Return client, version and staleness of every update that a run merged, in order."""
    merges = record.timeline.query("activity == 'merge'")
    return merges[["client", "version", "staleness"]].astype(int)


# Checks


def check_tuned_loop(workload: Workload) -> None:
    """Compare one round of the tuned loop with the plain loop's; both draw the same clients and batches."""
    plain, tuned = PlainLoop(workload), TunedLoop(workload)
    start = plain.state
    plain.run_round()
    tuned.run_round()
    difference = distance(tuned.state, plain.state) / distance(plain.state, start)
    check(difference < UPDATE_TOLERANCE, f"the tuned loop's update is the plain loop's (off by {difference:.1e} of it)")


def check_executor(workload: Workload, parts: Parts) -> float:
    """Compare one round with the plain loop on the same batches; return the difference as a share of the update."""
    alone, loop = ExecutorAlone(workload, parts), PlainLoop(workload)
    start, tasks = alone.model, alone.tasks()
    alone.merge(tasks)
    trained = [plain_result(loop, task, start) for task in tasks]
    expected = {name: torch.stack([one[name] for one in trained]).mean(dim=0) for name in start}
    update = distance(expected, start)
    difference = distance(alone.model, expected) / update
    check(update > 0.0, "the plain loop moves the model")
    check(difference < UPDATE_TOLERANCE, f"the executor's update is the plain loop's (off by {difference:.1e} of it)")
    return difference


def check_run(workload: Workload, kind: str, executor: Mapping[str, Any], pool: WorkerPool, rounds: int) -> float:
    """Replay a run's recorded merges with the plain loop; return the loss's difference as a share of its change."""
    given = parse_scenario({**scenario(workload, kind, rounds), **executor})
    record, _, (first, last) = whole_run(given, pool)
    loop = PlainLoop(workload)
    expected = loop.test_loss(to_plain(loop, replayed(given, record, loop)))
    change = abs(expected - first)
    difference = abs(last - expected) / change
    check(change > 1e-3, "the run moves the model")
    check(difference < LOSS_TOLERANCE, f"a run ends where its replay ends (off by {difference:.1e} of the way)")
    return difference


def replayed(given: Scenario, record: RunRecord, loop: PlainLoop) -> State:
    """Return the last model of a run, trained anew with the plain loop along the merges in its timeline."""
    parts, rule = parts_of(given, WorkerPool(0)), given.methods[0].server
    models, windows = [parts.model], Counter[int]()
    for version, merged in merges_of(record).groupby("version"):
        updates = []
        for client, staleness in zip(merged["client"].tolist(), merged["staleness"].tolist(), strict=True):
            start = models[version - 1 - staleness]
            task = joint_task(loop.workload, parts.network, client, windows[client], parts.shards[client], start)
            windows[client] += 1
            updates.append(plain_result(loop, task, start))
        if rule.rule == "barrier":  # shards are of one size, so the mean by samples is the mean
            models.append({name: torch.stack([one[name] for one in updates]).mean(dim=0) for name in parts.model})
        else:
            alpha = rule.mixing * rule.staleness.weight(staleness)
            models.append({name: value.lerp(updates[0][name], alpha) for name, value in models[-1].items()})
    return models[-1]


def plain_result(loop: PlainLoop, task: Task, start: State) -> State:
    """Return a task's result by the plain loop, on the batches that the simulator gives the task."""
    positions = BatchOrders(SEED, loop.workload.batch_size).batches(task, task.local_steps[0]).each()
    batches = [torch.from_numpy(task.samples[batch]) for batch in positions]
    trained = loop.train(to_plain(loop, start), batches)
    check(trained.num_steps == loop.workload.num_steps, "the plain loop takes the steps it claims")
    return from_plain(loop, trained.state)


def to_plain(loop: PlainLoop, parameters: State) -> State:
    """Return parameters under the names of the plain model; its head is one matrix, not a slice per modality."""
    modalities = loop.workload.shapes
    state = {f"encoders{name[7:]}": value for name, value in parameters.items() if name.startswith("encoder.")}
    state["head.weight"] = torch.cat([parameters[f"head.{modality}.weight"] for modality in modalities], dim=1)
    state["head.bias"] = parameters["head.bias"]
    return state


def from_plain(loop: PlainLoop, state: State) -> State:
    """Return the plain model's state under the simulator's names."""
    parameters = {f"encoder{name[8:]}": value for name, value in state.items() if name.startswith("encoders.")}
    slices = state["head.weight"].split(loop.workload.width, dim=1)
    for modality, weight in zip(loop.workload.shapes, slices, strict=True):
        parameters[f"head.{modality}.weight"] = weight
    parameters["head.bias"] = state["head.bias"]
    return parameters


# The table


def contenders(workload: Workload, rounds: Rounds, executors: Sequence[str], pools: ExitStack) -> Contenders:
    """Return everything that is compared with the plain loop, checked."""
    check_tuned_loop(workload)
    chosen: dict[str, Any] = {"tuned loop": partial(measured_loop, TunedLoop(workload), rounds.loop)}
    for name in executors:
        changes, processes = EXECUTORS[name]
        pool = pools.enter_context(WorkerPool(processes - 1))
        pool.wait()
        given = parse_scenario({**scenario(workload, "sync", 1), **changes})
        differences = [f"executor alone {check_executor(workload, parts_of(given, pool)):.0e} of the update"]
        alone = ExecutorAlone(workload, parts_of(given, pools.enter_context(alone_crew := WorkerPool(processes - 1))))
        alone_crew.wait()
        alone.measured(rounds.warm_up)
        chosen[f"executor alone, {name}"] = partial(alone.measured, rounds.executor)
        for kind in RUNS[workload.name]:
            difference = check_run(workload, kind, changes, pool, rounds.checked_run)
            differences.append(f"{kind} run {difference:.0e} of the loss's change")
            chosen[f"{kind} run, {name}"] = partial(slope, workload, kind, changes, pool, rounds)
        print(f"checked: {name} against the plain loop: {', '.join(differences)}", flush=True)
    return chosen


def report(results: Mapping[str, list[Measured]]) -> None:
    """Print the table of one workload."""
    reference = results[""]
    print(f"{'':<32}{'trainings/s':>12}   ratio to the plain loop")
    for name, measured in results.items():
        speed = statistics.median(rates(measured))
        print(f"{name or 'plain loop':<32}{speed:>12,.1f}   {spread(ratios(measured, reference))}")
    for name in results:
        kind, _, executor = name.partition(" run, ")
        if executor:
            share = spread(ratios(results[name], results[f"executor alone, {executor}"]))
            print(f"{f'{kind} run / executor alone, {executor}':<44}   {share}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Training speed against a plain PyTorch loop.")
    parser.add_argument("--workloads", default="W1", help="of W1,W2: comma-separated; default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="outer rounds; default: %(default)s")
    parser.add_argument("--executors", help=f"of {'; '.join(EXECUTORS)}: several by ';'; default: see CHOSEN")
    parser.add_argument("--smoke", action="store_true", help="a moment of each: only shows that it runs")
    arguments = parser.parse_args()
    fix_process(is_timed=not arguments.smoke)
    register()
    repeats = 1 if arguments.smoke else arguments.repeats
    for name in SMOKE if arguments.smoke else arguments.workloads.split(","):
        workload, rounds = KNOWN[name], ROUNDS[name]
        print(f"\n{name}: {workload.about}; median [min-max] of {repeats}")
        loop = PlainLoop(workload)
        loop.run_round()
        executors = arguments.executors.split(";") if arguments.executors else CHOSEN[name]
        with ExitStack() as pools:
            chosen = contenders(workload, rounds, executors, pools)
            report(alternate(partial(measured_loop, loop, rounds.loop), chosen, repeats))


if __name__ == "__main__":
    main()
