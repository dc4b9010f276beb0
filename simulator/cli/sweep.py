"""`interlude sweep`: a scenario for many values of its fields."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from interlude.simulator.cli.console import console, inform, naming, say
from interlude.simulator.cli.options import (
    MOST_PROCESSES,
    CheckpointEvery,
    DataDir,
    Devices,
    Overrides,
    Overwrite,
    Runs,
    ScenarioFile,
    TimingOnly,
    finite,
)
from interlude.simulator.errors import BadInputError
from interlude.simulator.run.interruption import CHECKPOINT_EVERY_S


def sweep(
    scenario: ScenarioFile,
    clients: Annotated[str | None, typer.Option(metavar="N,N,...", help="numbers of clients")] = None,
    seeds: Annotated[str | None, typer.Option(metavar="N,N,...", help="seeds")] = None,
    methods: Annotated[str | None, typer.Option(metavar="NAME,...", help="methods, by label or name")] = None,
    runs: Runs = Path("runs"),
    overrides: Overrides = None,
    device: Devices = "auto",
    timing_only: TimingOnly = False,
    overwrite: Overwrite = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_PROCESSES, help="runs at a time; unset: what cores and memory, or the cluster, allow"
        ),
    ] = None,
    executor: Annotated[Literal["local", "ray"], typer.Option(help="processes on this machine, or Ray")] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="host:port, ray://host:port, auto; unset: a Ray started here"),
    ] = None,
    cpus_per_run: Annotated[
        float, typer.Option(min=0, max=MOST_PROCESSES, callback=finite, help="CPUs that Ray sets aside for a run")
    ] = 1.0,
    gpus_per_run: Annotated[
        float, typer.Option(min=0, max=MOST_PROCESSES, callback=finite, help="GPUs that Ray sets aside for a run")
    ] = 0.0,
    tune: Annotated[
        bool,
        typer.Option("--tune", help="choose each method's settings first, on the validation part, as 'tune' says"),
    ] = False,
    data_dir: DataDir = None,
    checkpoint_every: CheckpointEvery = CHECKPOINT_EVERY_S,
) -> None:
    """Run a scenario for many values of its fields, several runs at a time; finished runs are not run again."""
    from interlude.simulator.scenario.documents import load_documents

    if tune and timing_only:
        raise BadInputError("--timing-only: nothing is trained, so --tune has no accuracies to choose by")
    load_documents(scenario, overrides or ())  # before PyTorch is loaded, so that a mistake is told at once

    from interlude.simulator.cli.conclusions import conclude_sweep, conclude_tuning
    from interlude.simulator.cli.sweep_progress import SweepDisplay
    from interlude.simulator.sweep import load_sweep, parse_flags, run_sweep
    from interlude.simulator.sweep.executors import executor_for
    from interlude.simulator.sweep.trials import plan_trials
    from interlude.simulator.sweep.tuning import run_trials, tuned

    given = load_sweep(scenario, overrides or (), parse_flags(clients, seeds, methods), may_be_one=tune)
    chosen = executor_for(executor, jobs, ray_address, cpus_per_run, gpus_per_run, checkpoint_every)
    are_all_tuned = True
    if tune:
        trials = plan_trials(given, scenario)
        say(f"Tuning: {sum(len(tried.scenarios) for tried in trials)} runs, then {given.num_runs} with what is chosen")
        with naming(scenario), SweepDisplay(console) as display:
            found = run_trials(given, trials, chosen, runs=runs, device=device, overwrite=overwrite, watch=display)
        choices = conclude_tuning(found, given.directory(runs))
        given, are_all_tuned = tuned(given, choices), len(choices) == len(found)
    with naming(scenario), SweepDisplay(console) as display:
        outcomes = run_sweep(
            given, chosen, runs=runs, device=device, timing_only=timing_only, overwrite=overwrite, watch=display
        )
    conclude_sweep(given, outcomes, given.directory(runs))
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in failed:
        inform(f"{outcome.path}: failed: {outcome.error}")
    if failed:
        inform(f"{len(failed)} of {len(outcomes)} runs failed")
    if failed or not are_all_tuned:
        raise typer.Exit(1)
