"""Measures the ways of training on this machine and reports them. Nothing is written, and no run uses the result.

Candidates take turns within rounds, so that a machine that slows down slows all of them; ratios are taken inside a
round. The measured work is joint training on cross-entropy through the executors that runs use: tasks submitted,
results requested. The clock, merges and evaluations are not included. One process, one thread; worker processes are
measured last, with the fastest candidate. From Python:

    from interlude.simulator.calibrate.measure import calibrate

    calibrate(load_scenario("scenarios/quickstart.yaml")).advice
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import yaml

from interlude.simulator.calibrate.bench import MOST_ROUNDS, Bench, Candidate, Contender, Measured, Size, take_turns
from interlude.simulator.calibrate.cases import Case, case_of
from interlude.simulator.calibrate.speed import Speed
from interlude.simulator.calibrate.speed import measured as measured_speed
from interlude.simulator.errors import BadInputError, one_line
from interlude.simulator.run.build import build_testbed, how_trained
from interlude.simulator.run.devices import choose_device
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.training.executors.strategy import choose_strategy
from interlude.simulator.training.host import has_bfloat16, keep_freed_memory, num_cores, one_thread
from interlude.simulator.training.spec import ExecutorSpec
from interlude.simulator.training.workers.pool import WorkerPool, is_supported

CLEARLY = 1.1
"""A candidate is clearly faster if its median ratio is at least this, and it is faster in every round."""
FEWEST_ROUNDS = 3
"""Fewer say nothing about the spread."""
_CPU_GROUPS = (4, 16, 64)
_GPU_GROUPS = (16, 64, 128, 256)
_EXTRAS_GROUP = 16
"""Group size of compiled and bfloat16 stacks where the rule makes none."""
_LONGEST_MESSAGE = 120
_WORKERS_SHARE = 0.3
"""Of the time, for worker processes."""
_SPEED_SHARE = 0.1
"""Of the time, for what FLOPs, operations and tasks take."""
_LONGEST_PLAYS_S = (1.0, 10.0)
"""A stack may always take the first, and never more than the second: a longer one may not fit into memory."""

LeftOut = tuple[str, str]
"""Candidates that could not be measured, and why."""


@dataclass(frozen=True)
class Calibration:
    """How fast this machine trains one case."""

    case: str
    device: str
    current: Candidate
    """The candidate that a run uses now: by the fixed rule, or as the scenario says."""
    reason: str
    measured: tuple[Measured, ...]
    """In one process; the first is the reference, one client after the other."""
    with_workers: Measured | None
    """The fastest batched candidate with worker processes; None where there are none."""
    workers_gain: float
    """Ratio of its speed with them to that without; 1 where there are none."""
    left_out: tuple[LeftOut, ...]
    """Candidates that were not measured."""
    speed: Speed
    """How fast this host trains one client after the other, as a device trains."""
    speed_error: float
    """Median relative error of that on the trainings it was fitted to."""

    @property
    def num_rounds(self) -> int:
        """Rounds that were measured."""
        return len(self.measured[0].steps_per_s)

    @property
    def faster(self) -> Measured | None:
        """The fastest candidate that is clearly faster than the current one; None where there is none."""
        now = next(one for one in self.measured if one.candidate == self.current)
        if self.num_rounds < FEWEST_ROUNDS:
            return None
        clearly = [one for one in self.measured if _is_clearly_faster(one, now)]
        return max(clearly, key=lambda one: one.median_steps_per_s, default=None)

    @property
    def advice(self) -> str:
        """The line of YAML that selects the clearly faster candidate; empty where there is none."""
        return "" if self.faster is None else yaml_of(self.faster.candidate.spec)


def calibrate(
    given: Scenario | Case,
    *,
    device: str = "auto",
    workers: int | None = None,
    seconds: float = 30.0,
    compiles: bool = False,
    bfloat16: bool = False,
) -> Calibration:
    """Measure how fast this machine trains.

    Args:
        given: its model, data shapes, batch size and clients are used.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        workers: processes that train on a CPU, this one included; None: one per core.
        seconds: host seconds to measure for. Starting workers, recording and compiling come on top, and so does the
            excess of one round of a slow network.
        compiles: measure a compiled stack, too.
        bfloat16: measure bfloat16, too.

    Raises:
        BadInputError: if the device is not available, or a number is out of range.
        TrainingError: if training fails.
    """
    if not 0.0 < seconds < math.inf:
        raise BadInputError(f"--seconds: must be a number of seconds above 0; given {seconds:g}")
    if workers is not None and workers < 1:
        raise BadInputError(f"--workers: must be at least 1; given {workers}")
    chosen = choose_device(device)
    num_processes = (workers or num_cores()) if chosen.type == "cpu" and is_supported else 1
    with one_thread():
        keep_freed_memory()
        bench = Bench(given if isinstance(given, Case) else case_of(build_testbed(given)), chosen)
        return _calibration(bench, compiles, bfloat16, num_processes, seconds)


def yaml_of(spec: ExecutorSpec) -> str:
    """Return the line of a scenario that says this."""
    said = {"executor": spec.model_dump(exclude_defaults=True)}
    return yaml.safe_dump(said, default_flow_style=None, sort_keys=False, width=math.inf).strip()


def _calibration(bench: Bench, compiles: bool, bfloat16: bool, num_processes: int, seconds: float) -> Calibration:
    candidates, current, left_out = _candidates(bench, compiles, bfloat16)
    speed_s = seconds * _SPEED_SHARE
    seconds -= speed_s
    alone_s = seconds if num_processes == 1 else seconds * (1.0 - _WORKERS_SHARE)
    turn_s = alone_s / (len(candidates) * (MOST_ROUNDS + 1))
    steps_per_s = _first_impression(bench, candidates[0], turn_s)
    size = bench.size(steps_per_s, max(_groups(bench.device)), turn_s)
    shortest_s, longest_s = _LONGEST_PLAYS_S
    contenders = []
    for contender in (Contender(bench, candidate, size) for candidate in candidates):
        play_s = contender.num_steps / steps_per_s
        is_long = contender.stacks and play_s > min(max(shortest_s, 3 * turn_s), longest_s)
        why_not = ""
        if contender.candidate == current:
            contender.warm_up()
        else:
            why_not = f"two stacks take {play_s:.1f} s or more" if is_long else _try_out(contender)
        if why_not:
            left_out.append((contender.candidate.label, why_not))
        else:
            contenders.append(contender)
    take_turns(contenders, turn_s, alone_s)
    measured = tuple(contender.measured(contenders[0]) for contender in contenders)
    with_workers, workers_gain = None, 1.0
    if num_processes > 1:
        with_workers, workers_gain = _with_workers(bench, measured, size, num_processes, seconds - alone_s)
        if with_workers is None:
            left_out.append((f"{num_processes} processes", "a round of all clients is one stack: nothing to share"))
    speed, speed_error = measured_speed(bench, size.most_steps, speed_s)
    return Calibration(
        case=bench.case.name,
        device=str(bench.device),
        current=current,
        reason=how_trained(bench.case.executor, bench.network, bench.device, bench.case.training.batch_size)[1],
        measured=measured,
        with_workers=with_workers,
        workers_gain=workers_gain,
        left_out=tuple(left_out),
        speed=speed,
        speed_error=speed_error,
    )


def _candidates(bench: Bench, compiles: bool, bfloat16: bool) -> tuple[list[Candidate], Candidate, list[LeftOut]]:
    """Return the candidates, the reference first; the one that a run uses now; and those left out."""
    network, device, batch_size = bench.network, bench.device, bench.case.training.batch_size
    left_out = []
    compiled = choose_strategy(ExecutorSpec(strategy="stacked", compile=True), network, device, batch_size)
    if compiles and not compiled.records:
        left_out.append(
            ("compiled", f"steps are not compiled on {device.type}" if compiled.stacks else compiled.reason)
        )
        compiles = False
    now = bench.case.executor
    if now.compile and not compiles:
        left_out.append(
            (how_trained(now, network, device, batch_size)[0], "measured without compiling; --compile measures it")
        )
        now = now.model_copy(update={"compile": False})
    strategy = choose_strategy(now, network, device, batch_size)
    own_size = strategy.group_size if strategy.stacks else None
    extras_size = own_size or _EXTRAS_GROUP
    sizes = _distinct(_groups(device), len(bench.case.windows), own_size)
    specs = [ExecutorSpec(kind="sequential"), ExecutorSpec(strategy="looped")]
    specs += [ExecutorSpec(strategy="stacked", group_size=size) for size in sizes]
    if bfloat16 and device.type == "cpu" and not has_bfloat16():
        left_out.append(("bfloat16", "this machine's CPU does not compute in it"))
        bfloat16 = False
    if bfloat16:
        specs.append(ExecutorSpec(strategy="looped", precision="bfloat16"))
        specs.append(ExecutorSpec(strategy="stacked", group_size=extras_size, precision="bfloat16"))
    if compiles:
        specs.append(ExecutorSpec(strategy="stacked", group_size=extras_size, compile=True))
    by_label: dict[str, Candidate] = {}
    for spec in [*specs, now]:
        label, _ = how_trained(spec, network, device, batch_size)
        by_label.setdefault(label, Candidate(label, spec))  # a network that cannot be stacked is looped
    return list(by_label.values()), by_label[how_trained(now, network, device, batch_size)[0]], left_out


def _groups(device: torch.device) -> tuple[int, ...]:
    return _CPU_GROUPS if device.type == "cpu" else _GPU_GROUPS


def _distinct(sizes: Sequence[int], num_clients: int, own_size: int | None) -> list[int]:
    """Return the group sizes that make different groups of so many clients, ascending; a run's own is one of them."""
    by_rows = {min(size, num_clients): size for size in reversed(sizes)}  # the smallest that holds all of them
    if own_size is not None:
        by_rows[min(own_size, num_clients)] = own_size
    return sorted(by_rows.values())


def _first_impression(bench: Bench, reference: Candidate, turn_s: float) -> float:
    """Return the client-steps per second of the reference, roughly."""
    contender = Contender(bench, reference, Size(most_steps=1, looped_tasks=2))
    contender.warm_up()
    contender.take_turn(turn_s / 2)
    return contender.rates[0][0]


def _try_out(contender: Contender) -> str:
    """Warm a contender up; returns why it cannot be measured, or an empty string."""
    try:
        contender.warm_up()
    except torch.OutOfMemoryError:
        return "does not fit into the device's memory"
    except RuntimeError as error:  # of PyTorch: no compiler there, an operation that a device lacks
        return f"fails here: {one_line(error)[:_LONGEST_MESSAGE]}"
    return ""


def _with_workers(
    bench: Bench, measured: Sequence[Measured], size: Size, num_processes: int, seconds: float
) -> tuple[Measured | None, float]:
    """Measure the fastest batched candidate with worker processes and without; returns the gain, too.

    None if workers would not take part.
    """
    batched = [one for one in measured if one.candidate.spec.kind != "sequential"]
    best = max(batched, key=lambda one: one.median_steps_per_s)
    helped = Candidate(best.candidate.label, best.candidate.spec, num_processes)
    with WorkerPool(num_processes - 1) as pool:
        pool.wait()
        contenders = [Contender(bench, best.candidate, size), Contender(bench, helped, size, pool)]
        for contender in contenders:
            contender.warm_up()
        if not contenders[1].has_help:
            return None, 1.0
        take_turns(contenders, seconds / (2 * MOST_ROUNDS), seconds)
    alone = statistics.median(best.ratios)
    with_workers = contenders[1].measured(contenders[0], alone)
    return with_workers, statistics.median(with_workers.ratios) / alone


def _is_clearly_faster(one: Measured, other: Measured) -> bool:
    ratios = [mine / theirs for mine, theirs in zip(one.steps_per_s, other.steps_per_s, strict=True)]
    return statistics.median(ratios) > CLEARLY and min(ratios) > 1.0
