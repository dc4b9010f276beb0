"""`interlude data`: which data sets are found, and the preparation of those that are read from many raw files."""

from typing import Annotated

import typer

from interlude.simulator.cli.console import console, say, show
from interlude.simulator.cli.json_output import AsJson, say_json
from interlude.simulator.cli.options import MOST_PROCESSES, DataDir

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def data(
    context: typer.Context,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show for every data set whether it is found and complete, its path, size, licence and origin."""
    from interlude.simulator.cli.lists import data_set_facts, data_sets

    if context.invoked_subcommand is not None:
        return
    if as_json:
        say_json(data_set_facts())
    else:
        show("data sets", data_sets())


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="a data set that is read from many raw files")],
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="an option of the data set, as under data: in a scenario"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, max=MOST_PROCESSES, help="processes that read; unset: one per core")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Turn raw files into a memory-mapped cache, once; an interrupted preparation is resumed where it was."""
    from rich.progress import MofNCompleteColumn, Progress

    from interlude.simulator.data import prepare as preparing
    from interlude.simulator.data.directory import cache_directory
    from interlude.simulator.scenario.loading import preparation_of

    preparation, cache = preparation_of(name, options or ()), cache_directory(name)
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console) as progress:
        bar = progress.add_task(f"preparing {name}")
        num_dropped = preparing.prepare(
            preparation, cache, workers, lambda done, total: progress.update(bar, completed=done, total=total)
        )
    left_out = f"; {num_dropped} samples lack a file and were left out" if num_dropped else ""
    say(f"Prepared {cache}{left_out}")
