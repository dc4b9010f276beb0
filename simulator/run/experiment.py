"""A scenario becomes run directories: one run for each method, the same world for all."""

from contextlib import nullcontext, suppress
from pathlib import Path

from interlude.simulator.data import load_dataset
from interlude.simulator.errors import BadInputError, InterludeError, RecordError
from interlude.simulator.federation.accounting import invariants
from interlude.simulator.record.checkpoint import Checkpoints
from interlude.simulator.record.writer import CHECKPOINTS, RunRecord, RunWriter, claim
from interlude.simulator.run.build import choose_device, populate
from interlude.simulator.run.checkpointer import Checkpointer, Interrupted, ResumePolicy
from interlude.simulator.run.estimate import check_limits
from interlude.simulator.run.loop import Run, Watcher
from interlude.simulator.run.spec import RunSpec
from interlude.simulator.scenario.loading import Scenario
from interlude.simulator.training.host import keep_freed_memory, num_cores, one_thread
from interlude.simulator.training.workers.pool import WorkerPool


def run_scenario(
    scenario: Scenario,
    *,
    runs: str | Path = "runs",
    device: str = "auto",
    workers: int | WorkerPool | None = None,
    timing_only: bool = False,
    overwrite: bool = False,
    survival: ResumePolicy | None = None,
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
    survival = survival or ResumePolicy()
    chosen = choose_device(device)
    parts = [
        RunSpec(scenario.for_run(method, scenario.seed), Path(runs), chosen, timing_only) for method in scenario.methods
    ]
    there = [None if overwrite else claim(part.path, part.identity, survival.resume, survival.force) for part in parts]
    if not all(record is not None and record.is_complete for record in there):
        check_limits(scenario, chosen, timing_only=timing_only)
    with nullcontext(workers) if isinstance(workers, WorkerPool) else worker_pool(workers) as crew:
        return [
            record if record is not None and record.is_complete else _run(part, watch, crew, survival, record)
            for part, record in zip(parts, there, strict=True)
        ]


def worker_pool(workers: int | None) -> WorkerPool:
    """Return the processes beside this one, of so many in all; None for one per core."""
    if workers is not None and workers < 1:
        raise BadInputError(f"workers: must be at least 1, this process; given {workers}")
    return WorkerPool((workers or num_cores()) - 1)


def _run(
    part: RunSpec, watch: Watcher | None, crew: WorkerPool, survival: ResumePolicy, unfinished: RunRecord | None
) -> RunRecord:
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
    keeper = Checkpointer(checkpoints, survival)
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
