"""Commands that draw from run directories: `interlude plot`, `table`, `report` and `trace`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from interlude.simulator.cli.console import command, inform, say, say_written
from interlude.simulator.cli.options import (
    Baseline,
    Clients,
    Labels,
    Methods,
    Output,
    RunPaths,
    Target,
    Window,
    path_of,
)


class PlotCommand(TyperCommand):
    """Names the kinds of figures in its help; drawing is imported only then."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        from interlude.analysis.figures import ALL, KINDS

        self.epilog = f"Kinds of figures: {', '.join((ALL, *KINDS))}."
        super().format_help(ctx, formatter)


def plot(
    runs: RunPaths,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", help="a kind of figure, e.g. gantt; may be repeated; unset: all that apply"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(parser=path_of, metavar="DIR", help="where figures go; unset: beside the runs")
    ] = None,
    formats: Annotated[
        str, typer.Option("--formats", "--format", help="png, svg, pdf, separated by commas")
    ] = "png,svg",
    style: Annotated[str, typer.Option(help="screen, or paper: widths and letters for two-column pages")] = "screen",
    width: Annotated[
        str | None, typer.Option(metavar="ieee|acm|springer|CM", help="paper style, as wide as the columns there")
    ] = None,
    log_time: Annotated[bool, typer.Option("--log-time", help="accuracy over the logarithm of time")] = False,
    methods: Methods = None,
    labels: Labels = None,
    colors: Annotated[
        list[str] | None,
        typer.Option("--colors", metavar="NAME=COLOR", help="another colour, e.g. mba=#D55E00; may be repeated"),
    ] = None,
    baseline: Baseline = None,
    target: Target = None,
    clients: Clients = 8,
    window: Window = None,
) -> None:
    """Draw figures from run directories: curves, times to accuracy, sweeps, efficiency, staleness, a Gantt chart."""
    from interlude.analysis.commands import choose, plot_runs
    from interlude.analysis.naming import Naming, listed, pairs

    choices = choose(baseline, target, clients, window, style, width, log_time=log_time)
    naming = Naming(listed(methods), pairs("--labels", labels or ()), pairs("--colors", colors or ()))
    files, skipped = plot_runs(runs, kinds or (), out, formats, choices, naming)
    for sentence in skipped:
        say(sentence)
    say_written(files)


def table(
    runs: RunPaths,
    form: Annotated[str, typer.Option("--format", help="latex, markdown or csv")] = "markdown",
    columns: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="columns of summary.csv, e.g. final_accuracy,bytes_up")
    ] = None,
    methods: Methods = None,
    labels: Labels = None,
    baseline: Baseline = None,
    out: Annotated[Path | None, typer.Option(parser=path_of, metavar="FILE", help="the file; unset: printed")] = None,
) -> None:
    """Make a table for a paper: means and 95 % intervals, the best in bold, marks of paired tests."""
    from interlude.analysis.commands import write_table
    from interlude.analysis.naming import listed, pairs

    named = pairs("--labels", labels or ())
    text, sentences = write_table(runs, form, out, command.get(), listed(columns), listed(methods), named, baseline)
    for sentence in sentences:
        inform(sentence)
    if out is None:
        say(text.rstrip("\n"))
    else:
        say_written([out])


def report(
    runs: RunPaths,
    output: Output = None,
    question: Annotated[
        str | None, typer.Option(help="the question that the runs answer; the page begins with it")
    ] = None,
    baseline: Baseline = None,
    target: Target = None,
    clients: Clients = 8,
    window: Window = None,
) -> None:
    """Write one self-contained page: question, scenarios, tables, figures, methods, versions, how to reproduce it."""
    from interlude.analysis.commands import choose, write_report
    from interlude.analysis.runs import find_runs, kept_apart
    from interlude.simulator.cli.cards import card_texts

    choices = choose(baseline, target, clients, window)
    records, left_out = find_runs(runs)
    cards = card_texts(record.scenario["methods"][0]["name"] for record in records)
    page = write_report(records, cards, command.get(), output, choices, question)
    for sentence in (*left_out, *kept_apart(records).values()):
        say(sentence)
    say_written([page])


def trace(
    run_directory: Annotated[Path, typer.Argument(parser=path_of, metavar="RUN", help="a run directory")],
    output: Output = None,
    clients: Annotated[int | None, typer.Option(min=1, help="the first so many clients; unset: all")] = None,
    window: Annotated[str | None, typer.Option(metavar="START:END", help="simulated seconds; unset: all")] = None,
) -> None:
    """Write a run's timeline as a trace that ui.perfetto.dev and chrome://tracing open."""
    from interlude.analysis.commands import write_trace

    say_written([write_trace(run_directory, output, clients, window)])
