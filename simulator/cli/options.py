"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from interlude.simulator.files import set_data_directory


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
