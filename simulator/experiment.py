"""One run: a scenario with one method and one seed becomes a run directory."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from models.network import Network, Parameters
from simulator.checkpoint import Checkpoint, Checkpoints
from simulator.data import load_dataset
from simulator.data.dataset import Dataset, to_device
from simulator.data.partition import hold_modalities, partition, partition_files
from simulator.errors import BadInputError, CannotRunError, InterludeError, RecordError, TooManyEventsError
from simulator.federation import invariants
from simulator.federation.clock import Clock
from simulator.federation.energy import energy_j
from simulator.federation.rules import Barrier
from simulator.federation.server import Population, Server
from simulator.federation.timeline import Timeline
from simulator.limits import Needs, extrapolated, population_bytes, training_bytes
from simulator.methods.base import MethodOptions
from simulator.randomness import Stream, torch_seed
from simulator.record import CHECKPOINTS, RunRecord, RunWriter, claim, code_digest, file_digest
from simulator.scenario import Scenario, method_class
from simulator.survival import Interrupted, Keeper, Survival
from simulator.training.batched import BatchedExecutor
from simulator.training.cost import joint_flops_per_sample
from simulator.training.crew import Crew
from simulator.training.evaluation import FUSED, Evaluated, Evaluation, PendingEvaluation, evaluation_subset
from simulator.training.executor import Executor, SequentialExecutor, TimingOnlyExecutor
from simulator.training.host import keep_freed_memory, num_cores, one_thread
from simulator.training.objective import Values
from simulator.training.promise import TrainingExecutor
from simulator.training.replay import ReplayingExecutor
from simulator.training.strategy import ExecutorSpec, choose_strategy
from simulator.world.compute import ComputePerSampleSpec
from simulator.world.world import World


@dataclass(frozen=True, slots=True)
class Moment:
    """What a run tells those who watch it."""

    label: str
    time_s: float
    """Simulated seconds so far."""
    version: int
    done: float
    """Share of the run that is over, in [0, 1]."""
    accuracy: float | None
    """Fused test accuracy of the latest model that is evaluated; None before the first, and in a timing-only run."""


SEQUENTIAL = "one client after the other"
"""What training by the reference is called."""

_MOST_OBSERVATIONS = 16
"""Moments whose evaluations may be under way; each keeps a version of the model alive."""

_REHEARSED_EVENTS = 1_000
_REHEARSED_PER_CLIENT = 20
"""Events that tell what a run needs: a few rounds of a few clients; of each client, where those tell too much."""

Watcher = Callable[[Moment], None]


def run_scenario(
    scenario: Scenario,
    *,
    runs: str | Path = "runs",
    device: str = "auto",
    workers: int | Crew | None = None,
    timing_only: bool = False,
    overwrite: bool = False,
    survival: Survival | None = None,
    watch: Watcher | None = None,
) -> list[RunRecord]:
    """Run every method of a scenario, one after the other, on the same world.

    Args:
        scenario: what to run.
        runs: where run directories go, as ``runs/<scenario>/<method>-s<seed>``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        workers: processes of one thread each that train on a CPU, this one included; None: one per core. Or a crew of
            processes beside this one that is kept for several calls. Changes no result.
        timing_only: run the clock without any training.
        overwrite: replace runs that are there; without it a finished identical run is reused.
        survival: whether unfinished runs are gone on with, and how often runs are saved; unset: begun ones are refused,
            checkpoints every minute.
        watch: told of every evaluation.

    Returns:
        The records, in the order of methods.

    Raises:
        BadInputError: if the scenario, the device or a run directory cannot be used.
        TrainingError: if training breaks down; the record up to there is kept.
        RecordError: if a record cannot be written; what is there of it is whole.
        Interrupted: if somebody asked for it.
    """
    survival = survival or Survival()
    chosen = choose_device(device)
    parts = [
        Part(scenario.for_run(method, scenario.seed), Path(runs), chosen, timing_only) for method in scenario.methods
    ]
    check_limits(scenario, chosen, timing_only=timing_only)
    there = [None if overwrite else claim(part.path, part.identity, survival.resume, survival.force) for part in parts]
    with nullcontext(workers) if isinstance(workers, Crew) else crew_of(workers) as crew:
        return [
            record if record is not None and record.is_complete else _run(part, watch, crew, survival, record)
            for part, record in zip(parts, there, strict=True)
        ]


def crew_of(workers: int | None) -> Crew:
    """Return the processes beside this one, of so many in all; None for one per core."""
    if workers is not None and workers < 1:
        raise BadInputError(f"workers: must be at least 1, this process; given {workers}")
    return Crew((workers or num_cores()) - 1)


@dataclass(frozen=True)
class Part:
    """One run of a scenario: one method, one seed."""

    scenario: Scenario
    """A scenario of exactly one method."""
    runs: Path
    device: torch.device
    timing_only: bool

    @property
    def options(self) -> MethodOptions:
        """The method's options."""
        return self.scenario.methods[0]

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.runs / self.scenario.name / f"{self.options.run_label}-s{self.scenario.seed}"

    @property
    def identity(self) -> dict[str, Any]:
        """What makes two runs the same run."""
        return {
            "label": self.options.run_label,
            "seed": self.scenario.seed,
            "device": str(self.device),
            "timing_only": self.timing_only,
            "digest": self.scenario.digest(),
            "code": code_digest(method_class(self.options.name)),
            "files": {given: file_digest(path) for given, path in self._files().items()},
            "scenario": self.scenario.resolved(),
        }

    def _files(self) -> dict[str, Path]:
        """Return every file that decides what the run comes to: as it is named, and where it lies."""
        scenario = self.scenario
        read = (*load_dataset(scenario.data).files, *partition_files(scenario.data.partition, scenario.clients.count))
        return {str(given): path for given, path in (*scenario.files().items(), *((file, file) for file in read))}


def _run(part: Part, watch: Watcher | None, crew: Crew, survival: Survival, unfinished: RunRecord | None) -> RunRecord:
    """Carry out a run, from the beginning or from where it is saved."""
    survival.interruption.obey()
    dataset = load_dataset(part.scenario.data)
    population = populate(part.scenario, dataset)
    checkpoints = Checkpoints(part.path / CHECKPOINTS)
    checkpoint = None
    if unfinished is not None:
        checkpoint = checkpoints.newest(part.device, survival.say)
        where = "from the beginning: no checkpoint of it is whole" if checkpoint is None else "where it was saved"
        survival.say(f"{part.path}: goes on {where}")
    writer = RunWriter(part.path, part.identity, goes_on=checkpoint is not None)
    keeper = Keeper(checkpoints, survival)
    labels = dataset.train[1].numpy()
    run: Run | None = None
    with one_thread():
        keep_freed_memory()
        try:
            writer.add_partition(population.modalities, [labels[shard] for shard in population.shards])
            run = Run(part, dataset, population, writer, crew, checkpoint)
            run.play(watch, keeper)
            run.write_model()
            totals = run.totals()
            timeline = RunRecord(part.path).timeline
            invariants.check(timeline, population.num_clients, run.end_s, run.server.world.availability)
            totals |= run.accounts(timeline)
        except BaseException as error:
            totals = {}
            if run is not None:
                run.salvage(may_compute=isinstance(error, InterludeError))
                with suppress(RecordError):
                    totals = run.totals()
            is_failure = isinstance(error, Exception)
            message = str(error) if isinstance(error, InterludeError | Interrupted) else repr(error)
            with suppress(RecordError):  # the error that broke the run off is the one to report
                writer.close("failed" if is_failure else "interrupted", totals, message)
            raise
        finally:
            if run is not None:
                run.close()
    record = writer.close("complete", totals)
    checkpoints.clear()
    return record


class Run:
    """Everything that makes up one run.

    Args:
        part: what to run.
        dataset: what is learned from.
        population: who holds what.
        writer: receives the record.
        crew: worker processes that help to train.
        checkpoint: where to go on from; None for the beginning.
    """

    def __init__(
        self,
        part: Part,
        dataset: Dataset,
        population: Population,
        writer: RunWriter,
        crew: Crew | None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        scenario, options = part.scenario, part.options
        self._scenario = scenario
        self._writer = writer
        self._label = options.run_label
        self._checkpoint = checkpoint
        self._keeper: Keeper | None = None
        self._host_s_before = 0.0
        self._started_host_s = time.perf_counter()
        self._next_moment = 0
        self._evaluated: tuple[int, PendingEvaluation | None] | None = None
        self._observations: deque[_Observation] = deque()
        self._accuracy: float | None = None
        self.end_s = 0.0
        self.clock = Clock()
        self.timeline = Timeline(writer.add_timeline)
        method = method_class(options.name)(options)
        network = method.network(scenario.model, dataset.inputs, dataset.num_classes)
        self._executor, model = executor_and_model(part, network, dataset, crew)
        executor: Executor = self._executor
        if checkpoint is not None and isinstance(self._executor, TrainingExecutor):
            executor = ReplayingExecutor(checkpoint.state["executor"]["decisions"])
        label, reason = (
            ("none", "timing only")
            if part.timing_only
            else how_trained(scenario.executor, network, part.device, scenario.training.batch_size)
        )
        writer.add_facts({"executor": {"label": label, "reason": reason}})
        if dataset.num_dropped:
            writer.add_facts({"samples_dropped": dataset.num_dropped})
        self.server = Server(
            clock=self.clock,
            world=world_of(scenario, dataset, population.num_clients),
            method=method,
            network=network,
            model=model,
            executor=executor,
            training=scenario.training,
            population=population,
            timeline=self.timeline,
            seed=scenario.seed,
            max_versions=scenario.until.versions,
        )

    def play(self, watch: Watcher | None, keeper: Keeper | None = None) -> None:
        """Let simulated time pass until the scenario's end, evaluating on the way.

        Args:
            watch: told of every evaluation.
            keeper: saves the run now and then.

        Raises:
            Interrupted: if somebody asked for the end.
        """
        self._keeper = keeper
        with nullcontext() if keeper is None else keeper.watching(self.clock):
            if self._checkpoint is not None:
                self._replay(self._checkpoint)
            if keeper is not None:
                keeper.begin()
            self._go_on(watch)

    def _go_on(self, watch: Watcher | None) -> None:
        until = self._scenario.until
        limit_s = float("inf") if until.simulated_s is None else until.simulated_s
        most_events = self._scenario.limits.events
        for moment_s in islice(_moments(self._scenario.evaluate.every_s, limit_s), self._next_moment, None):
            while not self.clock.advance(moment_s, most_events):
                if self.clock.num_events >= most_events:
                    raise TooManyEventsError(
                        f"{most_events:,} events, the most that limits.events allows, are over after "
                        f"{self.clock.now:g} simulated seconds"
                    )
                self.clock.go_on()
                if self._keeper is not None:
                    self._keeper.act(self.clock.num_events, self._state)
            if self._is_over():
                break
            self._observe(moment_s, watch)
            self._next_moment += 1
        self.end_s = self.clock.now if self._is_over() else limit_s
        self.server.finish(self.end_s)
        self.timeline.flush()
        if self._is_over():
            self._observe(self.end_s, watch)
        self._write_observations(0)

    def accounts(self, timeline: pd.DataFrame) -> dict[str, Any]:
        """Return what the run lost and, where the world says what devices draw, the energy it took.

        Joules by the moments of evaluation are added to the metrics, for all clients together.

        Args:
            timeline: all rows of the run.
        """
        accounts: dict[str, Any] = {"lost": self.server.losses.totals(timeline)}
        spec = self._scenario.world.energy
        if spec is not None:
            moments_s = [*_moments(self._scenario.evaluate.every_s, self.end_s)]
            watts = spec.watts(self._scenario.seed, self.server.num_clients)
            joules = energy_j(timeline, watts, moments_s)
            accounts["energy_j"] = {purpose: float(values[-1]) for purpose, values in joules.items()}
            made_s = timeline.loc[timeline["kind"] == "merge"].groupby("version")["end_s"].min()
            versions = np.searchsorted(made_s.to_numpy(), moments_s, side="right")
            totals = np.sum(list(joules.values()), axis=0).tolist()
            for moment_s, version, total in zip(moments_s, versions.tolist(), totals, strict=True):
                self._writer.add_metrics(moment_s, version, [("energy_j", FUSED, total)])
        return accounts

    def _is_over(self) -> bool:
        """Return whether the run is over early: by its versions, or as nobody will be there again."""
        nobody_comes = self.clock.is_at_rest and self._scenario.until.simulated_s is None
        return self.clock.is_stopped or nobody_comes

    def _replay(self, checkpoint: Checkpoint) -> None:
        """Play up to a checkpoint without training, and take up what it holds.

        Raises:
            InterludeError: if that leads elsewhere.
        """
        state = checkpoint.state
        has_ended = self.clock.advance(math.inf, checkpoint.num_events)
        is_there = self.clock.num_events == checkpoint.num_events
        if not is_there and not has_ended:
            return  # somebody asked for the end
        if not is_there or self._whereabouts() != state["whereabouts"]:
            raise InterludeError("the run played again does not lead to its checkpoint; begin it with --overwrite")
        self._next_moment = state["moment"]
        self._host_s_before = state["host_s"]
        self._accuracy = state["accuracy"]
        self._writer.cut_metrics(state["metrics_bytes"])
        if not isinstance(self._executor, TrainingExecutor):
            return
        replaying = self.server.executor
        assert isinstance(replaying, ReplayingExecutor)
        self._executor.restore(state["executor"], replaying.promises)
        self.server.restore(state["server"], self._executor)
        pending = [
            Evaluated(kept) if isinstance(kept, Evaluation) else self._executor.evaluate(kept)
            for kept in state["evaluations"]
        ]
        self._observations.extend(
            _Observation(time_s, version, pending[index], memory)
            for time_s, version, index, memory in state["observations"]
        )
        if state["evaluated"] is not None:
            version, index = state["evaluated"]
            self._evaluated = (version, pending[index])

    def _state(self) -> dict[str, Any]:
        """Return what a checkpoint needs to know, at a moment between two events."""
        state: dict[str, Any] = {"whereabouts": self._whereabouts(), "moment": self._next_moment}
        if isinstance(self._executor, TrainingExecutor):
            self._executor.settle()
            self._write_observations(_MOST_OBSERVATIONS)
            state |= {"server": self.server.state(), "executor": self._executor.state(), **self._evaluations()}
        state["metrics_bytes"] = self._writer.sync_metrics()
        state["host_s"] = self._host_s()
        state["accuracy"] = self._accuracy
        return state

    def _evaluations(self) -> dict[str, Any]:
        """Return the observations that are not written yet, and the models that wait to be evaluated for them."""
        pending: dict[int, PendingEvaluation] = {id(o.pending): o.pending for o in self._observations}
        evaluated = None
        if self._evaluated is not None and (latest := self._evaluated[1]) is not None:
            pending[id(latest)] = latest
            evaluated = (self._evaluated[0], list(pending).index(id(latest)))
        numbers = {key: number for number, key in enumerate(pending)}
        return {
            "evaluations": [p.result() if p.is_ready else p.model for p in pending.values()],
            "observations": [(o.time_s, o.version, numbers[id(o.pending)], o.memory) for o in self._observations],
            "evaluated": evaluated,
        }

    def _whereabouts(self) -> tuple[float, int, int]:
        """Return what tells whether a replay has led to the same place."""
        return float(self.clock.now), self.server.version, self.server.num_returned

    def _host_s(self) -> float:
        return self._host_s_before + time.perf_counter() - self._started_host_s

    def write_model(self) -> None:
        """Write the last version of the global model, if anything was trained."""
        if isinstance(self._executor, TrainingExecutor):
            self._writer.add_model(self.server.model)

    def close(self) -> None:
        """Give back what the run holds."""
        self._executor.close()

    def salvage(self, may_compute: bool) -> None:
        """Write down what is known of a run that broke off, and what can still be computed where there is time."""
        with suppress(Exception):  # the error that broke the run off is the one to report
            self.timeline.flush()
            self._write_observations(0 if may_compute else _MOST_OBSERVATIONS)

    def totals(self) -> dict[str, Any]:
        """Return what the run came to."""
        notes = list(self._executor.notes) if isinstance(self._executor, TrainingExecutor) else []
        if self._keeper is not None and self._keeper.why_not is not None:
            notes.append(self._keeper.why_not)
        return {
            **({"notes": notes} if notes else {}),
            "simulated_s": self.end_s or self.clock.now,
            "host_s": self._host_s(),
            "events": self.clock.num_events,
            "versions": self.server.version,
            "local_rounds": self.server.num_returned,
            "rejected_updates": self.server.num_rejected,
            "order_sha256": self.timeline.order_digest(),
        }

    def _observe(self, time_s: float, watch: Watcher | None) -> None:
        version = self.server.version
        if self._evaluated is None or self._evaluated[0] != version:
            self._evaluated = (version, self.server.executor.evaluate(self.server.model))
        pending = self._evaluated[1]
        if pending is not None:
            self._observations.append(_Observation(time_s, version, pending, self.server.observe()))
            self._write_observations(_MOST_OBSERVATIONS)
        if watch is not None:
            watch(Moment(self._label, time_s, version, self._done(time_s), self._accuracy))

    def _write_observations(self, most_left: int) -> None:
        """Write what is evaluated, in the order of time; wait for evaluations only where too many are under way."""
        while self._observations and (len(self._observations) > most_left or self._observations[0].pending.is_ready):
            observation = self._observations.popleft()
            evaluation = observation.pending.result()
            self._accuracy = evaluation.accuracy[FUSED]
            rows = [("accuracy", modality, value) for modality, value in evaluation.accuracy.items()]
            rows.append(("loss", FUSED, evaluation.loss))
            rows += [
                (metric, modality, float(value))
                for metric, values in observation.memory.items()
                for modality, value in values.items()
            ]
            self._writer.add_metrics(observation.time_s, observation.version, rows)

    def _done(self, time_s: float) -> float:
        until = self._scenario.until
        shares = [0.0]
        if until.simulated_s is not None:
            shares.append(time_s / until.simulated_s)
        if until.versions is not None:
            shares.append(self.server.version / until.versions)
        return max(shares)


@dataclass(frozen=True, slots=True)
class _Observation:
    """A moment that is to be written down once its evaluation is there."""

    time_s: float
    version: int
    pending: PendingEvaluation
    memory: Values


class Rehearsal(RunWriter):
    """Takes what a run says of itself in its first moments, and writes nothing."""

    def __init__(self) -> None:
        self.path = Path()

    def add_facts(self, facts: Mapping[str, Any]) -> None:
        """Forget what is worth knowing of the run."""

    def add_metrics(self, time_s: float, version: int, rows: Iterable[tuple[str, str, float]]) -> None:
        """Forget what was measured."""

    def add_timeline(self, table: pa.Table) -> None:
        """Forget a part of the timeline."""


def check_limits(scenario: Scenario, device: torch.device, *, timing_only: bool = False) -> list[Needs]:
    """Return what each method of a scenario needs, by playing a little of its clock without training.

    Args:
        scenario: the scenario.
        device: where it would train.
        timing_only: whether it would not train at all.

    Raises:
        CannotRunError: with the numbers, if one needs more than the scenario's limits allow, or cannot be played.
    """
    dataset = load_dataset(scenario.data)
    num_samples = len(dataset.train[1])
    fixed_bytes = population_bytes(scenario.clients.count, num_samples)
    everything = Needs(scenario.name, 0.0, 0.0, 0.0, fixed_bytes)
    everything.check(scenario.limits)
    population = populate(scenario, dataset)
    found = []
    for method in scenario.methods:
        part = Part(scenario.for_run(method, scenario.seed), Path(), device, timing_only)
        num_bytes = fixed_bytes + (0 if timing_only else _training_bytes(part, dataset, population))
        Needs(method.run_label, 0.0, 0.0, 0.0, num_bytes).check(scenario.limits)
        needs = _rehearsed(part, dataset, population, _REHEARSED_EVENTS, num_bytes)
        if needs.events + needs.evaluations > scenario.limits.events:
            # The first moments, when everybody starts at once, tell little of many clients: look again, longer.
            longer = min(_REHEARSED_PER_CLIENT * population.num_clients, scenario.limits.events)
            if longer > _REHEARSED_EVENTS:
                needs = _rehearsed(part, dataset, population, longer, num_bytes)
        needs.check(scenario.limits)
        found.append(needs)
    return found


def _rehearsed(part: Part, dataset: Dataset, population: Population, num_events: int, num_bytes: float) -> Needs:
    until = part.scenario.until
    limit_s = math.inf if until.simulated_s is None else until.simulated_s
    run = Run(replace(part, timing_only=True), dataset, population, Rehearsal(), None)
    try:
        is_over = run.clock.advance(limit_s, num_events)
    except InterludeError as error:
        raise CannotRunError(f"'{part.options.run_label}' cannot run: {error}") from error
    ends_by_time = is_over and not run.clock.is_stopped and math.isfinite(limit_s)
    return extrapolated(
        part.options.run_label,
        run.clock.num_events,
        limit_s if ends_by_time else run.clock.now,
        run.server.version,
        simulated_s=until.simulated_s,
        versions=until.versions,
        is_over=is_over,
        every_s=part.scenario.evaluate.every_s,
        memory_bytes=num_bytes,
    )


def _training_bytes(part: Part, dataset: Dataset, population: Population) -> int:
    scenario, server = part.scenario, part.options.server
    network = method_class(part.options.name)(part.options).network(scenario.model, dataset.inputs, dataset.num_classes)
    largest = max(len(shard) for shard in population.shards)
    batch_size = min(scenario.training.batch_size, scenario.training.window_samples or largest, largest)
    strategy = choose_strategy(scenario.executor, network, part.device, batch_size)
    num_clients = population.num_clients
    if isinstance(server, Barrier):  # all of a round start from one version
        in_flight = math.ceil(min((server.clients_per_round or num_clients) * server.over_selection, num_clients))
        num_starts = 1
    else:
        in_flight = num_starts = min(server.concurrency or num_clients, num_clients)
    return training_bytes(network, strategy, batch_size, in_flight, num_starts, _MOST_OBSERVATIONS)


def executor_and_model(
    part: Part, network: Network, dataset: Dataset, crew: Crew | None
) -> tuple[Executor, Parameters]:
    """Return who computes a run's results, and version 0 of the model."""
    scenario, device = part.scenario, part.device
    if part.timing_only:
        return TimingOnlyExecutor(), network.shapes
    subset = evaluation_subset(dataset.test, scenario.evaluate.samples, scenario.seed)
    train, test = to_device(dataset.train, device), to_device(subset, device)
    generator = torch.Generator().manual_seed(torch_seed(Stream(scenario.seed, "model")))
    model = network.initial_parameters(generator, device)
    if scenario.executor.kind == "sequential":
        return SequentialExecutor(network, scenario.training, scenario.seed, train, test), model
    strategy = choose_strategy(scenario.executor, network, device, scenario.training.batch_size)
    help_here = crew if device.type == "cpu" else None
    executor = BatchedExecutor(network, scenario.training, scenario.seed, train, test, strategy, help_here)
    return executor, network.layout.pack(model)


def how_trained(spec: ExecutorSpec, network: Network, device: torch.device, batch_size: int) -> tuple[str, str]:
    """Return what training is called that a scenario gets on a device, and why it gets it."""
    if spec.kind == "sequential":
        return SEQUENTIAL, "as the scenario says"
    strategy = choose_strategy(spec, network, device, batch_size)
    return strategy.label, strategy.reason


def world_of(scenario: Scenario, dataset: Dataset, num_clients: int) -> World:
    """Return the world of a scenario, which is the same for all of its methods."""
    flops = None
    if isinstance(scenario.world.compute, ComputePerSampleSpec):
        network = Network(scenario.model, dataset.inputs, dataset.num_classes)
        flops = joint_flops_per_sample(network, scenario.training.batch_size)
    return World(scenario.world, scenario.seed, num_clients, dataset.modalities, flops)


def populate(scenario: Scenario, dataset: Dataset) -> Population:
    """Return who holds what."""
    shards = partition(scenario.data.partition, dataset, scenario.clients.count, scenario.seed)
    clients = scenario.clients
    held = hold_modalities(
        clients.multimodal_fraction, dataset.modalities, len(shards), scenario.seed, clients.modalities
    )
    return Population(shards, held)


def choose_device(name: str) -> torch.device:
    """Return the training device.

    Raises:
        BadInputError: if it is not one, or not here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    kind, colon, index = name.partition(":")
    if kind != "cuda" or (colon and not index.isdecimal()):
        raise BadInputError(f"--device: must be one of auto, cpu, cuda, cuda:N; given '{name}'")
    if not torch.cuda.is_available():
        raise BadInputError(f"--device: '{name}' asked for, but PyTorch finds no CUDA device here; use auto or cpu")
    if colon and int(index) >= torch.cuda.device_count():
        raise BadInputError(
            f"--device: '{name}' asked for, but there are only {torch.cuda.device_count()} CUDA devices"
        )
    return torch.device(name)


def _moments(every_s: float, limit_s: float) -> Iterator[float]:
    """Yield 0, every_s, 2 every_s, ... and the limit itself."""
    index = 0
    while (moment_s := index * every_s) < limit_s:
        yield moment_s
        index += 1
    yield limit_s
