"""The commands, nothing else."""

import shlex
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from interlude.simulator.calibrate.cases import Case, built_in_cases, case_of, is_same_case
from interlude.simulator.calibrate.measure import calibrate as measure
from interlude.simulator.cli import calibration_tables as calibrate_table
from interlude.simulator.cli import tables as describe
from interlude.simulator.cli.check import plan
from interlude.simulator.cli.progress import ProgressDisplay
from interlude.simulator.data.directory import cache_directory
from interlude.simulator.data.prepare import prepare
from interlude.simulator.errors import BadInputError, CannotRunError, InterludeError, one_line
from interlude.simulator.files import set_data_directory
from interlude.simulator.record.writer import RunRecord, package_versions, with_other_seeds
from interlude.simulator.run.build import choose_device
from interlude.simulator.run.checkpointer import CHECKPOINT_EVERY_S, Interrupted, Interruption, ResumePolicy
from interlude.simulator.run.estimate import check_limits
from interlude.simulator.run.experiment import run_scenario, worker_pool
from interlude.simulator.scenario.loading import Scenario, load_documents, load_scenarios, method_class, preparation_of
from interlude.simulator.sweep import Flags, Outcome, Sweep, load_sweep, run_sweep
from interlude.simulator.sweep.grid import flags

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    epilog="--debug, anywhere on the line, adds the traceback to an error.",
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")
_console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
_messages = Console(stderr=True, highlight=False)

_command: ContextVar[str] = ContextVar("command", default="interlude")  # as it was given, for reports
_INTERRUPTED = 130  # what typer returns after Ctrl-C


def _say_version(is_wanted: bool) -> None:
    if is_wanted:
        _console.print(f"interlude {package_versions()['interlude']}")
        raise typer.Exit


@app.callback()
def _interlude(
    version: Annotated[
        bool, typer.Option("--version", help="print the version", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Simulates asynchronous multi-modal federated learning on a simulated wall clock."""


def _look_in(directory: Path | None) -> None:
    if directory is not None:
        set_data_directory(directory)


ScenarioFile = Annotated[Path, typer.Argument(metavar="SCENARIO.yaml", help="the scenario")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="change a field, e.g. clients.count=32; may be repeated"),
]
RunPaths = Annotated[
    list[Path], typer.Argument(metavar="RUNS...", help="run directories, scenario directories or parents of them")
]
Baseline = Annotated[str | None, typer.Option(metavar="LABEL", help="compare with it; unset: fedavg, or the first run")]
Target = Annotated[float | None, typer.Option(min=0, max=1, help="accuracy to reach; unset: the scenario's")]
Clients = Annotated[int, typer.Option(min=1, help="clients in the Gantt chart")]
Window = Annotated[str | None, typer.Option(metavar="START:END", help="simulated seconds in the Gantt chart")]
Device = Annotated[str, typer.Option("--device", help="where to train: auto, cpu, cuda or cuda:N")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="processes that train on a CPU; unset: one per core; changes no result")
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="the run's seed, instead of the scenario's")]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="where run directories go")]
TimingOnly = Annotated[bool, typer.Option("--timing-only", help="run the clock without any training")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="where data sets lie; unset: INTERLUDE_DATA", callback=_look_in, is_eager=True
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace runs that are already there")]
CheckpointEvery = Annotated[
    float,
    typer.Option("--checkpoint-every", metavar="SECONDS", min=0, help="host seconds between checkpoints; 0: none"),
]


@app.command()
def run(
    scenario: ScenarioFile,
    runs: Runs = Path("runs"),
    overrides: Overrides = None,
    seed: Seed = None,
    device: Device = "auto",
    workers: Workers = None,
    timing_only: TimingOnly = False,
    overwrite: Overwrite = False,
    data_dir: DataDir = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with runs that were not finished")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="with --resume: even if the code or packages have changed since")
    ] = False,
    checkpoint_every: CheckpointEvery = CHECKPOINT_EVERY_S,
) -> None:
    """Run every method of a scenario on the same world, draw the curves and print a summary."""
    if (resume and overwrite) or (force and not resume):
        raise BadInputError("--resume, --overwrite, --force: --force goes with --resume, and --overwrite with neither")
    loaded = _load(scenario, overrides, seed)
    chosen = choose_device(device)
    if len(loaded) > 1:  # none is begun where another one is refused
        for variant in loaded:
            with _naming(scenario):
                check_limits(variant, chosen, timing_only=timing_only)
    with _naming(scenario), Interruption().by_signals() as interruption, worker_pool(workers) as crew:
        survival = ResumePolicy(resume, force, checkpoint_every, interruption, _inform)
        for variant in loaded:
            with ProgressDisplay(_console) as display:
                records = run_scenario(
                    variant,
                    runs=runs,
                    device=device,
                    workers=crew,
                    timing_only=timing_only,
                    overwrite=overwrite,
                    survival=survival,
                    watch=display,
                )
            reused = [record.label for record in records if record.label not in display.shown]
            if reused:
                _console.print(f"Reused, as they were finished before: {', '.join(reused)}", soft_wrap=True)
            _conclude(variant, records, runs / variant.name)


@app.command()
def sweep(
    scenario: ScenarioFile,
    clients: Annotated[str | None, typer.Option(metavar="N,N,...", help="numbers of clients")] = None,
    seeds: Annotated[str | None, typer.Option(metavar="N,N,...", help="seeds")] = None,
    methods: Annotated[str | None, typer.Option(metavar="NAME,...", help="methods, by label or name")] = None,
    runs: Runs = Path("runs"),
    overrides: Overrides = None,
    device: Device = "auto",
    timing_only: TimingOnly = False,
    overwrite: Overwrite = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="runs at a time; unset: what cores and memory, or the cluster, allow"),
    ] = None,
    executor: Annotated[Literal["local", "ray"], typer.Option(help="processes on this machine, or Ray")] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="host:port, ray://host:port, auto; unset: a Ray started here"),
    ] = None,
    cpus_per_run: Annotated[float, typer.Option(min=0, help="CPUs that Ray sets aside for a run")] = 1.0,
    gpus_per_run: Annotated[float, typer.Option(min=0, help="GPUs that Ray sets aside for a run")] = 0.0,
    data_dir: DataDir = None,
    checkpoint_every: CheckpointEvery = CHECKPOINT_EVERY_S,
) -> None:
    """Run a scenario for many values of its fields, several runs at a time; what is finished is not run again."""
    from interlude.simulator.cli.sweep_progress import SweepDisplay
    from interlude.simulator.sweep.executors import executor_for

    given = load_sweep(scenario, overrides or (), flags(clients, seeds, methods))
    who = executor_for(executor, jobs, ray_address, cpus_per_run, gpus_per_run, checkpoint_every)
    with Interruption().by_signals(), SweepDisplay(_console) as display:
        outcomes = run_sweep(
            given, who, runs=runs, device=device, timing_only=timing_only, overwrite=overwrite, watch=display
        )
    _conclude_sweep(given, outcomes, given.directory(runs))
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in failed:
        _say(f"{outcome.path}: failed: {outcome.error}", 1)
    if failed:
        raise typer.Exit(_say(f"{len(failed)} of {len(outcomes)} runs failed", 1))


@app.command()
def check(
    scenario: ScenarioFile,
    overrides: Overrides = None,
    seed: Seed = None,
    device: Device = "auto",
    data_dir: DataDir = None,
) -> None:
    """Validate a scenario and say what would run and how, how many bytes travel and how long a local round takes."""
    if load_documents(scenario, overrides or ()).sweep is not None:
        given = load_sweep(scenario, overrides or (), Flags(seeds=None if seed is None else [seed]))
        _console.print(_table(f"{given.name}: a sweep of {given.num_runs} runs", describe.sweep_plan(given.scenarios)))
        checked = given.scenarios[:1]
    else:
        checked = tuple(_load(scenario, overrides, seed))
    chosen = choose_device(device)
    with _naming(scenario):
        needs = [check_limits(variant, chosen) for variant in checked]
    for variant, needed in zip(checked, needs, strict=True):
        for title, rows in plan(variant, chosen, needed):
            _console.print(_table(title, rows))


@app.command()
def calibrate(
    scenario: Annotated[
        Path | None, typer.Argument(metavar="SCENARIO.yaml", help="what to train; unset: two small built-in cases")
    ] = None,
    device: Device = "auto",
    workers: Workers = None,
    seconds: Annotated[float, typer.Option(help="how long to measure, start-up not counted")] = 30.0,
    compiles: Annotated[bool, typer.Option("--compile", help="also a compiled stack: takes a minute or more")] = False,
    bfloat16: Annotated[bool, typer.Option("--bfloat16", help="also forward and backward passes in bfloat16")] = False,
    overrides: Overrides = None,
    data_dir: DataDir = None,
) -> None:
    """Measure the ways to train on this machine and print what a scenario could set; nothing changes by itself."""
    choose_device(device)
    cases = _cases(scenario, overrides)
    for case in cases:
        with _console.status(f"measuring {escape(case.name)}"):
            found = measure(
                case,
                device=device,
                workers=workers,
                seconds=seconds / len(cases),
                compiles=compiles,
                bfloat16=bfloat16,
            )
        _console.print(_table(*calibrate_table.table(found)))
        for sentence in calibrate_table.sentences(found):
            _console.print(escape(sentence), soft_wrap=True)
        _console.print()


@data_app.callback()
def data(
    context: typer.Context,
    data_dir: DataDir = None,
) -> None:
    """Say of every data set whether it is found and complete, where, how big, its licence and where it comes from."""
    if context.invoked_subcommand is None:
        _console.print(_table("data sets", describe.data_sets()))


@data_app.command(name="prepare")
def prepare_data(
    name: Annotated[str, typer.Argument(help="a data set that is read from many raw files")],
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="an option of the data set, as under data: in a scenario"),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="processes that read; unset: one per core")] = None,
    data_dir: DataDir = None,
) -> None:
    """Turn raw files into a memory-mapped cache, once; an interrupted preparation goes on where it was."""
    preparation, cache = preparation_of(name, options or ()), cache_directory(name)
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=_console) as progress:
        bar = progress.add_task(f"preparing {name}")
        num_dropped = prepare(preparation, cache, workers, lambda d, n: progress.update(bar, completed=d, total=n))
    left_out = f"; {num_dropped} samples lack a file and were left out" if num_dropped else ""
    _console.print(f"Prepared {escape(str(cache))}{left_out}", soft_wrap=True)


@app.command(name="list")
def list_(
    what: Annotated[Literal["methods", "datasets", "distributions", "encoders"], typer.Argument(help="what to list")],
) -> None:
    """List what a scenario can name."""
    _console.print(_table(what, describe.LISTS[what]()))


@app.command()
def explain(method: Annotated[str, typer.Argument(help="a method's name")]) -> None:
    """Print a method's formula card: paper, update rule, payload, staleness, options, what is reconstructed."""
    for title, rows in describe.card(method_class(method)):
        _console.print(_table(title, rows))


@app.command()
def plot(
    runs: RunPaths,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", help="a kind of figure, e.g. gantt; may be repeated; unset: all that apply"),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="where figures go; unset: beside the runs")] = None,
    formats: Annotated[str, typer.Option(help="png, svg, pdf, separated by commas")] = "png,svg",
    style: Annotated[str, typer.Option(help="screen, or paper: widths and letters for two-column pages")] = "screen",
    baseline: Baseline = None,
    target: Target = None,
    clients: Clients = 8,
    window: Window = None,
) -> None:
    """Draw figures from run directories: curves, times to accuracy, sweeps, efficiency, staleness, a Gantt chart."""
    from interlude.analysis.commands import choose, plot_runs

    choices = choose(baseline, target, clients, window, style)
    files, skipped = plot_runs(runs, kinds or (), out, formats, choices)
    for sentence in skipped:
        _console.print(escape(sentence), soft_wrap=True)
    _say_written(files)


@app.command()
def report(
    runs: RunPaths,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="the page")] = None,
    question: Annotated[str | None, typer.Option(help="what the runs are to answer; the page begins with it")] = None,
    baseline: Baseline = None,
    target: Target = None,
    clients: Clients = 8,
    window: Window = None,
) -> None:
    """Write one self-contained page: question, scenarios, tables, figures, methods, versions, how to reproduce it."""
    from interlude.analysis.commands import choose, write_report
    from interlude.analysis.runs import find_runs

    choices = choose(baseline, target, clients, window)
    records, left_out = find_runs(runs)
    for sentence in left_out:
        _console.print(escape(sentence), soft_wrap=True)
    cards = describe.card_texts(record.scenario["methods"][0]["name"] for record in records)
    _say_written([write_report(records, cards, _command.get(), output, choices, question)])


@app.command()
def trace(
    run_directory: Annotated[Path, typer.Argument(metavar="RUN", help="a run directory")],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="unset: beside the run")] = None,
) -> None:
    """Write a run's timeline as a trace that ui.perfetto.dev and chrome://tracing open."""
    from interlude.analysis.commands import write_trace

    _say_written([write_trace(run_directory, output)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input is one sentence and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _command.set(shlex.join(["interlude", *given]))
    debug = "--debug" in given
    if debug:
        given.remove("--debug")
    try:
        code = app(args=given, standalone_mode=False, prog_name="interlude")
    except InterludeError as error:
        if debug:
            traceback.print_exc()
        sys.exit(_say(str(error), 2 if isinstance(error, BadInputError) else 1))
    except Interrupted as interrupted:
        sys.exit(_say(f"{interrupted}; {_how_to_go_on()}", interrupted.exit_code))
    except typer.TyperException as error:  # the command line itself: an unknown flag, a missing argument
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        sys.exit(_say(one_line(message.replace("Value error, ", "")), 2))
    if code == _INTERRUPTED:
        _say("interrupted; the record up to here is kept", _INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _how_to_go_on() -> str:
    """Return what to do after an interruption of the command that was given."""
    command = _command.get()
    if " run " in command and "--resume" not in command:
        command = command.replace(" --overwrite", "") + " --resume"
    return f"the records up to here are kept; go on with: {command}"


def _inform(sentence: str) -> None:
    _messages.print(f"interlude: {escape(one_line(sentence))}", soft_wrap=True)


def _say_written(files: Sequence[Path]) -> None:
    for folder in dict.fromkeys(file.parent for file in files):
        names = ", ".join(file.name for file in files if file.parent == folder)
        _console.print(f"Wrote {escape(f'{names} in {folder}/')}", soft_wrap=True)


def _say(sentence: str, exit_code: int) -> int:
    _inform(sentence)
    return exit_code


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put a scenario's file before why it cannot run."""
    try:
        yield
    except CannotRunError as error:
        raise BadInputError(f"{path}: {error}") from error


def _load(path: Path, overrides: list[str] | None, seed: int | None) -> list[Scenario]:
    loaded = load_scenarios(path, overrides or ())
    return loaded if seed is None else [scenario.model_copy(update={"seed": seed}) for scenario in loaded]


def _cases(path: Path | None, overrides: list[str] | None) -> list[Case]:
    """Return what to measure: a scenario's variants that train differently, or the built-in cases."""
    if path is None:
        if overrides:
            raise BadInputError("--set: changes a scenario, but none is given")
        return built_in_cases()
    loaded = _load(path, overrides, None)
    different = [s for i, s in enumerate(loaded) if not any(is_same_case(s, before) for before in loaded[:i])]
    return [case_of(variant) for variant in different]


def _conclude(scenario: Scenario, records: Sequence[RunRecord], directory: Path) -> None:
    # Drawing libraries take a second to import; commands that draw nothing should not wait for them.
    from interlude.analysis.figures import plot_accuracy_vs_time
    from interlude.analysis.summary import summarise_methods, summarise_runs

    records = with_other_seeds(records)
    summary = summarise_methods(summarise_runs(records))
    summary.to_csv(directory / "summary.csv", index=False)
    for title, rows in describe.summary_tables(summary, scenario):
        _console.print(_table(title, rows))
    written = [directory / "summary.csv"]
    if "final_accuracy" in summary:
        written += plot_accuracy_vs_time(records, directory)
    _console.print(f"Records in {directory}/: {', '.join(record.path.name for record in records)}", soft_wrap=True)
    _console.print(f"Wrote {', '.join(str(path) for path in written)}", soft_wrap=True)


def _conclude_sweep(sweep: Sweep, outcomes: Sequence[Outcome], directory: Path) -> None:
    from interlude.analysis.summary import summarise_methods, summarise_runs

    by_point: dict[str, list[RunRecord]] = {}
    for outcome in outcomes:
        if outcome.error is None:
            by_point.setdefault(outcome.path.parent.name, []).append(RunRecord(outcome.path))
    if not by_point:
        return
    summaries = {point: summarise_methods(summarise_runs(records)) for point, records in by_point.items()}
    pd.concat(summaries, names=["scenario"]).reset_index("scenario").to_csv(directory / "summary.csv", index=False)
    rows = describe.sweep_table(summaries, {scenario.name: scenario for scenario in sweep.scenarios})
    _console.print(_table(sweep.name, rows))
    _console.print(f"Wrote {directory / 'summary.csv'}; draw it with: interlude plot {directory}", soft_wrap=True)


def _table(title: str, rows: describe.Rows) -> Table:
    table = Table(
        title=escape(title),
        title_justify="left",
        title_style="bold",
        show_header=bool(rows.header),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for i, name in enumerate(rows.header or rows.cells[0]):
        heading = escape(name) if rows.header else ""
        table.add_column(heading, justify="right" if i in rows.numbers else "left", no_wrap=i == 0, overflow="fold")
    for cells in rows.cells:
        table.add_row(*map(escape, cells))
    return table


if __name__ == "__main__":
    main()
