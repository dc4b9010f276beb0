"""A scenario becomes run directories: one run for each method, the same world for all."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path

import torch

from interlude.simulator.arrays import Indices
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.errors import BadInputError, DivergedError, InterludeError, RecordError
from interlude.simulator.federation.setting import Population
from interlude.simulator.own_code.errors import sentence_of
from interlude.simulator.record.checkpoint import Checkpoints
from interlude.simulator.record.claim import CHECKPOINTS, check_replaceable, claim, foreign_entries
from interlude.simulator.record.lock import check_free, owned
from interlude.simulator.record.reader import RunRecord
from interlude.simulator.record.writer import RunWriter
from interlude.simulator.run.build import Ingredients, Testbed, build_testbed, files_of, how_trained
from interlude.simulator.run.callbacks import Callback, on_evaluation_of
from interlude.simulator.run.checkpointer import Checkpointer, restored, usable
from interlude.simulator.run.devices import choose_device, description
from interlude.simulator.run.estimate import estimate
from interlude.simulator.run.interruption import Interrupted, ResumePolicy
from interlude.simulator.run.loop import Run
from interlude.simulator.run.observer import OnEvaluation, Watcher
from interlude.simulator.run.spec import RunSpec, run_specs
from interlude.simulator.run.totals import totals
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.training.host import few_collections, keep_freed_memory, num_cores, one_thread
from interlude.simulator.training.workers.pool import WorkerPool

_MOST_DRAWN = 10_000
"""Clients whose labels are drawn for partition.csv where the scenario does not say whose rounds are recorded."""


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
    on_evaluation: OnEvaluation | None = None,
    callbacks: Sequence[Callback] = (),
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
        watch: receives the progress about every second of host time, and at the end of each run.
        on_evaluation: receives every evaluation, in the order of simulated time; a run ends as complete at the first
            for which it returns a true value. Every evaluation then waits for the training that it needs.
        callbacks: are told of evaluations, likewise, and of merges.

    Returns:
        The records, in the order of methods.

    Raises:
        BadInputError: if the scenario, the device or a run directory cannot be used, as when another process writes
            there.
        TrainingError: if training fails; the record so far is kept. If it is a `DivergedError`, the first of several,
            the other methods were run nevertheless.
        RecordError: if a record cannot be written; everything written so far is consistent.
        Interrupted: if the end was requested.
    """
    policy = policy or ResumePolicy()
    on_evaluation = on_evaluation_of(on_evaluation, callbacks)
    chosen = choose_device(device)
    testbed = scenario if isinstance(scenario, Testbed) else build_testbed(scenario, timing_only=timing_only)
    if testbed.note is not None:
        policy.say(testbed.note)
    specs = run_specs(testbed.scenario, Path(runs), chosen, timing_only)
    files = files_of(testbed.scenario, testbed.dataset)
    claimed = partial(
        _claimed, files=files, policy=policy, overwrite=overwrite, may_end_early=on_evaluation is not None
    )
    for spec in specs:
        check_free(spec.path)
    finished = {spec.path: record for spec in specs if (record := claimed(spec)) is not None and record.is_complete}
    to_do = [spec for spec in specs if spec.path not in finished]
    if to_do:
        estimate(testbed, chosen, timing_only=timing_only)  # refuses what is beyond the limits
        policy.interruption.obey()  # a request within the estimate may be lost in its clock
    diverged: list[DivergedError] = []
    with (
        ExitStack() as all_owned,
        nullcontext(workers) if isinstance(workers, WorkerPool) else worker_pool(workers) as pool,
    ):
        ownerships = {spec.path: all_owned.enter_context(ExitStack()) for spec in to_do}
        for path, ownership in ownerships.items():
            ownership.enter_context(owned(path))
        for spec in to_do:
            with ownerships[spec.path]:
                record = claimed(spec)  # now that no other process can change it
                if record is None or not record.is_complete:
                    try:
                        record = _run(spec, testbed, pool, policy, watch, on_evaluation, callbacks, record)
                    except DivergedError as error:
                        diverged.append(error)
                        continue
                finished[spec.path] = record
    if diverged:
        raise diverged[0]
    return [finished[spec.path] for spec in specs]


def check_claims(
    testbed: Testbed, runs: Path, device: torch.device, *, timing_only: bool, overwrite: bool, policy: ResumePolicy
) -> None:
    """Check that a scenario's runs may be written, before the first run of several scenarios begins.

    Raises:
        BadInputError: if a run directory holds another run or other files, or another process writes there.
    """
    files = files_of(testbed.scenario, testbed.dataset)
    for spec in run_specs(testbed.scenario, runs, device, timing_only):
        check_free(spec.path)
        _claimed(spec, files=files, policy=policy, overwrite=overwrite)


def _claimed(
    spec: RunSpec, *, files: Mapping[str, Path], policy: ResumePolicy, overwrite: bool, may_end_early: bool = False
) -> RunRecord | None:
    """Return the run that is there already, to be reused or resumed; None if this one begins.

    Raises:
        BadInputError: if the directory holds another run or other files.
    """
    if overwrite:
        check_replaceable(spec.path)
        return None
    record = claim(spec.path, spec.identity(files), policy.resume, policy.force)
    if record is not None and not may_end_early and record.info.get("totals", {}).get("ended_by") == "callback":
        raise BadInputError(f"{record.path}: a run that on_evaluation ended early; pass --overwrite to replace it")
    return record


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
    on_evaluation: OnEvaluation | None,
    callbacks: Sequence[Callback],
    unfinished: RunRecord | None,
) -> RunRecord:
    """Execute a run, from the beginning or from where it is saved."""
    policy.interruption.obey()
    ingredients = testbed.ingredients(spec.options)
    checkpoints = Checkpoints(spec.path / CHECKPOINTS)
    saved = usable(checkpoints, spec.device, policy.say) if unfinished is not None else iter(())
    checkpoint = next(saved, None)
    if unfinished is not None:
        where = "begins again: no checkpoint of it is usable" if checkpoint is None else "is resumed where it was saved"
        policy.say(f"{spec.path}: {where}")
    if checkpoint is None and spec.path.is_dir() and (others := foreign_entries(spec.path)):
        named = ", ".join(entry.relative_to(spec.path).as_posix() for entry in others[:3])
        policy.say(f"{spec.path}: leaves alone what is not the run's: {named}{', ...' if others[3:] else ''}")
    identity = spec.identity(files_of(testbed.scenario, testbed.dataset))
    collections = few_collections() if spec.timing_only else nullcontext()
    with policy.interruption.deferred(), one_thread(), collections:
        writer = RunWriter(spec.path, identity, resumes=checkpoint is not None)
        checkpointer = Checkpointer(checkpoints, policy, writer)
        run: Run | None = None
        keep_freed_memory()
        try:
            _add_facts(writer, spec, ingredients)
            start = partial(
                Run,
                spec,
                ingredients,
                writer,
                workers,
                watch=watch,
                on_evaluation=on_evaluation,
                callbacks=callbacks,
                is_accounted=True,
            )
            run = start() if checkpoint is None else restored(start, checkpoint, saved, writer, policy)
            with checkpointer.watching(run.clock):
                checkpointer.begin()
                run.play(partial(checkpointer.act, run))
            if run.trainer is not None:
                writer.add_model(run.server.model)
            came_to = totals(run, checkpointer.why_not)
            if run.accounts is not None:
                came_to |= run.accounts.totals(writer)
        except BaseException as error:
            came_to = {}
            if run is not None:
                run.salvage(may_compute=isinstance(error, InterludeError))
                with suppress(RecordError):
                    came_to = totals(run, checkpointer.why_not, error=error)
            status = "failed" if isinstance(error, Exception) else "interrupted"
            message = str(error) if isinstance(error, InterludeError | Interrupted) else sentence_of(error)
            with suppress(RecordError):  # the error that broke the run off is the one to report
                writer.close(status, came_to, message)
            raise
        finally:
            if run is not None:
                run.close()
        record = writer.close("complete", came_to)
        checkpoints.tidy_up()  # afterwards, so that a run killed in between loses nothing; `claim` finishes it
    policy.interruption.obey()
    return record


def _labels(dataset: Dataset, population: Population, spec: RunSpec) -> Sequence[Indices]:
    """Return the labels of each client's samples; of drawn ones only of the first clients, of none without training."""
    if dataset.drawn is not None:
        recorded = spec.scenario.record.clients
        wanted = 0 if spec.timing_only else _MOST_DRAWN if recorded is None else recorded
        return [*map(dataset.drawn.labels, range(min(wanted, population.num_clients)))]
    labels = dataset.train[1].numpy()
    return [labels[shard] for shard in population.shards]


def _add_facts(writer: RunWriter, spec: RunSpec, ingredients: Ingredients) -> None:
    """Write the partition, and how the run is trained."""
    dataset, population = ingredients.dataset, ingredients.population
    writer.add_partition(population.modalities, _labels(dataset, population, spec))
    label, reason = "none", "timing only"
    if not spec.timing_only:
        executor, batch_size = spec.scenario.executor, spec.training.batch_size
        label, reason = how_trained(executor, ingredients.network, spec.device, batch_size)
    facts = {**spec.facts, "executor": {"label": label, "reason": reason}}
    writer.add_facts(facts if spec.device.type == "cpu" else {**facts, "accelerator": description(spec.device)})
    if dataset.num_dropped:
        writer.add_facts({"samples_dropped": dataset.num_dropped})
