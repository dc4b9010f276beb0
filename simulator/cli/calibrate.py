"""`interlude calibrate`: how fast this machine trains."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from interlude.simulator.cli.console import console, naming, say, show
from interlude.simulator.cli.options import DataDir, Device, Overrides, Workers, finite, scenario_of
from interlude.simulator.errors import BadInputError


def calibrate(
    scenario: Annotated[
        Path | None,
        typer.Argument(
            parser=scenario_of, metavar="SCENARIO.yaml", help="what to train; unset: two small built-in cases"
        ),
    ] = None,
    device: Device = "auto",
    workers: Workers = None,
    seconds: Annotated[float, typer.Option(callback=finite, help="how long to measure, start-up not counted")] = 30.0,
    compiles: Annotated[bool, typer.Option("--compile", help="also a compiled stack: takes a minute or more")] = False,
    bfloat16: Annotated[bool, typer.Option("--bfloat16", help="also forward and backward passes in bfloat16")] = False,
    overrides: Overrides = None,
    data_dir: DataDir = None,
) -> None:
    """Measure the ways to train on this machine and print what a scenario could set; nothing changes by itself."""
    from interlude.simulator.scenario.documents import load_documents

    if scenario is not None:
        load_documents(scenario, overrides or ())  # before PyTorch is loaded, so that a mistake is told at once

    from interlude.simulator.calibrate.cases import built_in_cases, case_of, different_cases
    from interlude.simulator.calibrate.measure import calibrate as measure
    from interlude.simulator.cli import calibration_tables
    from interlude.simulator.run.build import build_testbed
    from interlude.simulator.run.devices import choose_device
    from interlude.simulator.scenario.loading import load_scenarios

    choose_device(device)
    if scenario is None:
        if overrides:
            raise BadInputError("--set needs a SCENARIO.yaml argument")
        cases = built_in_cases()
    else:
        with naming(scenario):
            different = different_cases(load_scenarios(scenario, overrides or ()))
            cases = [case_of(build_testbed(variant)) for variant in different]
    for case in cases:
        with console.status(f"measuring {escape(case.name)}"):
            found = measure(
                case,
                device=device,
                workers=workers,
                seconds=seconds / len(cases),
                compiles=compiles,
                bfloat16=bfloat16,
            )
        show(*calibration_tables.table(found))
        for sentence in calibration_tables.sentences(found):
            say(sentence)
        console.print()
