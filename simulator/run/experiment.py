"""A scenario becomes run directories: one run for each method, the same world for all."""

from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path

from interlude.simulator.errors import BadInputError, InterludeError, RecordError
from interlude.simulator.record.checkpoint import Checkpoints
from interlude.simulator.record.claim import CHECKPOINTS, claim
from interlude.simulator.record.reader import RunRecord
from interlude.simulator.record.writer import RunWriter
from interlude.simulator.run.build import Ingredients, Testbed, build_testbed, choose_device, files_of, how_trained
from interlude.simulator.run.checkpointer import Checkpointer, decisions_of, restore
from interlude.simulator.run.estimate import check_limits
from interlude.simulator.run.interruption import Interrupted, ResumePolicy
from interlude.simulator.run.loop import Run
from interlude.simulator.run.observer import Watcher
from interlude.simulator.run.spec import RunSpec, run_specs
from interlude.simulator.run.totals import accounts, totals
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.training.host import keep_freed_memory, num_cores, one_thread
from interlude.simulator.training.workers.pool import WorkerPool


def run_scenario(
    scenario: Scenario | Testbed,
    *,
    runs: str | Path = "runs",
    device: str = "auto",
    workers: int | WorkerPool | None = None,
    timing_only: bool = False,
    overwrite: bool = False,
    policy: ResumePolicy | None = None,
    watch: Watcher | None = None,
) -> list[RunRecord]:
    """Run every method of a scenario, one after the other, on the same world.

    Args:
        scenario: the scenario; or its testbed, if that is built already.
        runs: where run directories go, as ``runs/<scenario>/<method>-s<seed>``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        workers: processes of one thread each that train on a CPU, this one included; None: one per core. Or a pool of
            processes beside this one that is kept for several calls. Changes no result.
        timing_only: run the clock without any training.
        overwrite: replace existing runs; without it a finished identical run is reused.
        policy: whether unfinished runs are resumed, and how often runs are saved; unset: unfinished ones are refused,
            checkpoints every minute.
        watch: receives the progress at every evaluation.

    Returns:
        The records, in the order of methods.

    Raises:
        BadInputError: if the scenario, the device or a run directory cannot be used.
        TrainingError: if training fails; the record so far is kept.
        RecordError: if a record cannot be written; everything written so far is consistent.
        Interrupted: if the end was requested.
    """
    policy = policy or ResumePolicy()
    chosen = choose_device(device)
    testbed = scenario if isinstance(scenario, Testbed) else build_testbed(scenario)
    specs = run_specs(testbed.scenario, Path(runs), chosen, timing_only)
    files = files_of(testbed.scenario, testbed.dataset)
    found = [None if overwrite else claim(s.path, s.identity(files), policy.resume, policy.force) for s in specs]
    if not all(record is not None and record.is_complete for record in found):
        check_limits(testbed, chosen, timing_only=timing_only)
    with nullcontext(workers) if isinstance(workers, WorkerPool) else worker_pool(workers) as pool:
        return [
            record if record is not None and record.is_complete else _run(spec, testbed, pool, policy, watch, record)
            for spec, record in zip(specs, found, strict=True)
        ]


def worker_pool(workers: int | None) -> WorkerPool:
    """Return the worker processes besides this one, of a total; None for one per core."""
    if workers is not None and workers < 1:
        raise BadInputError(f"workers: must be at least 1, this process; given {workers}")
    return WorkerPool((workers or num_cores()) - 1)


def _run(
    spec: RunSpec,
    testbed: Testbed,
    workers: WorkerPool,
    policy: ResumePolicy,
    watch: Watcher | None,
    unfinished: RunRecord | None,
) -> RunRecord:
    """Execute a run, from the beginning or from where it is saved."""
    policy.interruption.obey()
    ingredients = testbed.ingredients(spec.options)
    checkpoints = Checkpoints(spec.path / CHECKPOINTS)
    checkpoint = None
    if unfinished is not None:
        checkpoint = checkpoints.newest(spec.device, policy.say)
        where = "begins again: no checkpoint of it is intact" if checkpoint is None else "is resumed where it was saved"
        policy.say(f"{spec.path}: {where}")
    writer = RunWriter(
        spec.path, spec.identity(files_of(testbed.scenario, testbed.dataset)), resumes=checkpoint is not None
    )
    checkpointer = Checkpointer(checkpoints, policy, writer)
    run: Run | None = None
    with one_thread():
        keep_freed_memory()
        try:
            _add_facts(writer, spec, ingredients)
            run = Run(spec, ingredients, writer, workers, None if checkpoint is None else decisions_of(checkpoint))
            with checkpointer.watching(run.clock):
                if checkpoint is not None:
                    restore(run, checkpoint, writer)
                checkpointer.begin()
                run.play(watch, partial(checkpointer.act, run))
            if run.trainer is not None:
                writer.add_model(run.server.model)
            came_to = totals(run, checkpointer.why_not)
            came_to |= accounts(run, ingredients.world, RunRecord(spec.path).timeline_parts(), writer)
        except BaseException as error:
            came_to = {}
            if run is not None:
                run.salvage(may_compute=isinstance(error, InterludeError))
                with suppress(RecordError):
                    came_to = totals(run, checkpointer.why_not)
            status = "failed" if isinstance(error, Exception) else "interrupted"
            message = str(error) if isinstance(error, InterludeError | Interrupted) else repr(error)
            with suppress(RecordError):  # the error that broke the run off is the one to report
                writer.close(status, came_to, message)
            raise
        finally:
            if run is not None:
                run.close()
    record = writer.close("complete", came_to)
    checkpoints.clear()
    return record


def _add_facts(writer: RunWriter, spec: RunSpec, ingredients: Ingredients) -> None:
    """Write the partition, and how the run is trained."""
    dataset, population = ingredients.dataset, ingredients.population
    labels = dataset.train[1].numpy()
    writer.add_partition(population.modalities, [labels[shard] for shard in population.shards])
    label, reason = "none", "timing only"
    if not spec.timing_only:
        executor, batch_size = spec.scenario.executor, spec.scenario.training.batch_size
        label, reason = how_trained(executor, ingredients.network, spec.device, batch_size)
    writer.add_facts({"executor": {"label": label, "reason": reason}})
    if dataset.num_dropped:
        writer.add_facts({"samples_dropped": dataset.num_dropped})
