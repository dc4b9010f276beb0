"""`interlude run`: every method of a scenario, on the same world."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from interlude.simulator.cli.console import console, inform, naming, say
from interlude.simulator.cli.options import (
    CheckpointEvery,
    DataDir,
    Device,
    Overrides,
    Overwrite,
    Runs,
    ScenarioFile,
    Seed,
    TimingOnly,
    Workers,
    path_of,
)
from interlude.simulator.errors import BadInputError, DivergedError
from interlude.simulator.run.interruption import CHECKPOINT_EVERY_S, ResumePolicy


def run(
    context: typer.Context,
    scenario: ScenarioFile,
    runs: Runs = Path("runs"),
    overrides: Overrides = None,
    seed: Seed = None,
    device: Device = "auto",
    workers: Workers = None,
    timing_only: TimingOnly = False,
    overwrite: Overwrite = False,
    data_dir: DataDir = None,
    resume: Annotated[bool, typer.Option("--resume", help="resume runs that were not finished")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="with --resume: even if the code or packages have changed since")
    ] = False,
    checkpoint_every: CheckpointEvery = CHECKPOINT_EVERY_S,
    track: Annotated[
        str | None,
        typer.Option(metavar="TRACKER", help="also write to tensorboard, wandb, mlflow, trackio or csv, meanwhile"),
    ] = None,
    track_to: Annotated[
        Path | None, typer.Option(parser=path_of, metavar="DIR", help="with --track; unset: tracked/TRACKER")
    ] = None,
) -> None:
    """Run every method of a scenario on the same world, draw the curves and print a summary."""
    from interlude.simulator.scenario.documents import load_documents

    if (resume and overwrite) or (force and not resume):
        raise BadInputError("--resume, --overwrite, --force: --force goes with --resume, and --overwrite with neither")
    if track_to is not None and track is None:
        raise BadInputError("--track-to: goes with --track")
    load_documents(scenario, overrides or ())  # before PyTorch is loaded, so that a mistake is told at once

    from interlude.simulator.cli.conclusions import conclude_run
    from interlude.simulator.cli.progress import ProgressDisplay
    from interlude.simulator.cli.tracking import tracking
    from interlude.simulator.record.reader import RunRecord
    from interlude.simulator.run.build import build_testbed
    from interlude.simulator.run.devices import choose_device
    from interlude.simulator.run.estimate import estimate
    from interlude.simulator.run.experiment import check_claims, run_scenario, worker_pool
    from interlude.simulator.run.spec import run_specs
    from interlude.simulator.scenario.loading import load_scenarios

    tracker = None
    if track is not None:
        from interlude.analysis.trackers.registry import tracker_of

        tracker = tracker_of(track, track_to, "--track")
    variants = load_scenarios(scenario, overrides or (), seed)
    chosen = choose_device(device)
    diverged: list[RunRecord] = []
    with naming(scenario), worker_pool(workers) as pool:
        testbeds = [build_testbed(variant, timing_only=timing_only) for variant in variants]
        policy = ResumePolicy(resume, force, checkpoint_every, context.obj, inform)
        if len(testbeds) > 1:  # none starts if another one is refused
            for testbed in testbeds:
                check_claims(testbed, runs, chosen, timing_only=timing_only, overwrite=overwrite, policy=policy)
                estimate(testbed, chosen, timing_only=timing_only)
        for testbed in testbeds:
            specs = run_specs(testbed.scenario, runs, chosen, timing_only)
            with (
                ProgressDisplay(console) as display,
                tracking(tracker, specs, display) as watch,
                suppress(DivergedError),  # the records say which, and so is told
            ):
                run_scenario(
                    testbed,
                    runs=runs,
                    device=device,
                    workers=pool,
                    timing_only=timing_only,
                    overwrite=overwrite,
                    policy=policy,
                    watch=watch,
                )
            records = [RunRecord(spec.path) for spec in specs]
            reused = [record.label for record in records if record.is_complete and record.label not in display.shown]
            if reused:
                say(f"Reused, as they were finished before: {', '.join(reused)}")
            conclude_run(testbed.scenario, records, runs / testbed.scenario.name)
            diverged += [record for record in records if not record.is_complete]
    for record in diverged:
        inform(f"{record.path}: diverged: {record.info['error']}")
    if diverged:
        raise typer.Exit(1)
