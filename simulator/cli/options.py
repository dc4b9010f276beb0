"""Arguments and options that several commands share, and what their values may be."""

import math
import os
from pathlib import Path
from typing import Annotated

import typer

from interlude.simulator.files import set_data_directory
from interlude.simulator.scenario.shipped import shipped_or_own

_LONGEST_NAME_BYTES = 255  # of a file or directory, on every file system in use
_LONGEST_PATH_BYTES = 3_000  # Linux takes 4,096, of which names below a run directory need some

MOST_PROCESSES = 1_024
"""Most runs at a time, or processes that train or read."""
MOST_CLIENTS = 10_000
"""Most rows of a Gantt chart."""
_LARGEST_SEED = 2**63 - 1
_LONGEST_S = 4e6  # 46 days; timers of Windows take no more


def path_of(given: str | Path) -> Path:
    """Return the path that an argument or its default names; ``~`` is the home directory.

    Raises:
        typer.BadParameter: if no file or directory can have it.
    """
    path = Path(os.path.expanduser(given))  # a ~name that is no user is left as it is, where pathlib raises
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if not given or "\0" in str(given):
        raise typer.BadParameter("a path cannot be empty or hold a NUL character")
    if longest > _LONGEST_NAME_BYTES or len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
        most = f"{_LONGEST_NAME_BYTES} bytes a name and {_LONGEST_PATH_BYTES:,} in all are allowed"
        raise typer.BadParameter(f"the path '{given}' is too long; {most}")
    return path


def scenario_of(given: str | Path) -> Path:
    """Return the scenario that an argument names: a file, or a shipped one by its name.

    Raises:
        typer.BadParameter: if no file can have the name.
    """
    return shipped_or_own(path_of(given))


def finite(given: float | None) -> float | None:
    """Return a number as it is; the bounds of an option let NaN pass.

    Raises:
        typer.BadParameter: if it is not a finite number.
    """
    if given is not None and not math.isfinite(given):
        raise typer.BadParameter(f"must be a finite number; given {given}")
    return given


def _look_in(directory: Path | None) -> None:
    if directory is not None:
        set_data_directory(directory)


ScenarioFile = Annotated[
    Path,
    typer.Argument(
        parser=scenario_of, metavar="SCENARIO.yaml", help="the scenario: a file, or the name of a shipped one"
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="change a field, e.g. clients.count=32; may be repeated"),
]
RunPaths = Annotated[
    list[Path],
    typer.Argument(parser=path_of, metavar="RUNS...", help="run directories, scenario directories or parents of them"),
]
Baseline = Annotated[str | None, typer.Option(metavar="LABEL", help="compare with it; unset: fedavg, or the first run")]
Methods = Annotated[
    str | None, typer.Option("--methods", metavar="NAME,...", help="methods, by label or name; unset: all")
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--labels", metavar="NAME=TEXT", help="another label, e.g. mba='MBA ($\\beta=1$)'; may be repeated"),
]
Target = Annotated[
    float | None, typer.Option(min=0, max=1, callback=finite, help="accuracy to reach; unset: the scenario's")
]
Clients = Annotated[int, typer.Option(min=1, max=MOST_CLIENTS, help="clients in the Gantt chart")]
Window = Annotated[str | None, typer.Option(metavar="START:END", help="simulated seconds in the Gantt chart")]
Device = Annotated[str, typer.Option("--device", help="where to train: auto, cpu, cuda or cuda:N")]
Devices = Annotated[
    str,
    typer.Option("--device", help="where to train: auto, cpu, cuda, cuda:N, or several by commas, a run on each"),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, max=MOST_PROCESSES, help="processes that train on a CPU; unset: one per core; changes no result"
    ),
]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, max=_LARGEST_SEED, help="the run's seed, instead of the scenario's")
]
Runs = Annotated[Path, typer.Option("--runs", parser=path_of, metavar="DIR", help="where run directories go")]
TimingOnly = Annotated[bool, typer.Option("--timing-only", help="run the clock without any training")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        parser=path_of,
        metavar="DIR",
        help="where data sets lie; unset: INTERLUDE_DATA",
        callback=_look_in,
        is_eager=True,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace runs that are already there")]
CheckpointEvery = Annotated[
    float,
    typer.Option(
        "--checkpoint-every",
        metavar="SECONDS",
        min=0,
        max=_LONGEST_S,
        callback=finite,
        help="host seconds between checkpoints; 0: none",
    ),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", parser=path_of, metavar="FILE", help="unset: beside the runs")
]
