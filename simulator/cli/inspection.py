"""Commands that run nothing: `interlude check`, `list`, `explain` and `verify`."""

from typing import Annotated, Any, Literal

import typer

from interlude.simulator.cli.console import naming, say, show
from interlude.simulator.cli.json_output import AsJson, say_json
from interlude.simulator.cli.options import DataDir, Device, Overrides, RunPaths, ScenarioFile, Seed


def check(
    scenario: ScenarioFile,
    overrides: Overrides = None,
    seed: Seed = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Validate a scenario and show what would run and how, how many bytes are sent and how long a local round takes."""
    from interlude.simulator.scenario.documents import load_documents

    documents = load_documents(scenario, overrides or ())  # before PyTorch is loaded: a mistake is told at once

    from interlude.simulator.cli import check_json
    from interlude.simulator.cli.check_tables import check_tables, foreign_table
    from interlude.simulator.run.build import build_testbed
    from interlude.simulator.run.devices import choose_device
    from interlude.simulator.run.estimate import estimate
    from interlude.simulator.run.first_rounds import first_rounds
    from interlude.simulator.scenario.loading import load_scenarios

    tables = []  # nothing is printed if a part is refused
    if documents.sweep is None:
        planned = checked = load_scenarios(scenario, overrides or (), seed)
    else:
        from interlude.simulator.cli.summary_tables import sweep_plan
        from interlude.simulator.sweep import Flags, load_sweep

        given = load_sweep(scenario, overrides or (), Flags(seeds=None if seed is None else [seed]))
        tables.append((f"{given.name}: a sweep of {given.num_runs} runs", sweep_plan(given.scenarios)))
        planned = list(given.scenarios)
        checked = planned[:1]
    if any(documents.tunes):
        from interlude.simulator.cli.summary_tables import trials_plan
        from interlude.simulator.sweep import Flags, load_sweep
        from interlude.simulator.sweep.trials import plan_trials

        flags = Flags(seeds=None if seed is None else [seed])
        trials = plan_trials(load_sweep(scenario, overrides or (), flags, may_be_one=True), scenario)
        tables.append((f"tried by 'interlude sweep {scenario} --tune'", trials_plan(trials)))
    chosen = choose_device(device)
    found: list[Any] = []
    with naming(scenario):
        tables += foreign_table(planned)
        for variant in checked:
            testbed = build_testbed(variant)
            of_it = (testbed, chosen, first_rounds(testbed), estimate(testbed, chosen))
            if as_json:
                found.append(check_json.checked(*of_it))
            else:
                tables += check_tables(*of_it)
    if as_json:
        say_json({"runs": check_json.planned(planned), "checked": found})
        return
    for title, rows in tables:
        show(title, rows)


def list_(
    what: Annotated[
        Literal["methods", "datasets", "distributions", "encoders", "scenarios"], typer.Argument(help="what to list")
    ],
    as_json: AsJson = False,
) -> None:
    """List the names that a scenario can use."""
    from interlude.simulator.cli.lists import LISTS

    rows = LISTS[what]()
    if as_json:
        say_json([dict(zip(rows.header, cells, strict=True)) for cells in rows.cells])
    else:
        show(what, rows)


def explain(method: Annotated[str, typer.Argument(help="a method's name")]) -> None:
    """Print a method's formula card: paper, update rule, payload, staleness, options, what is reconstructed."""
    from interlude.simulator.cli.cards import card
    from interlude.simulator.scenario.registry import method_class

    for title, rows in card(method_class(method)):
        show(title, rows)


def verify(runs: RunPaths) -> None:
    """Say of each run whether every file of its record is what was written; exit code 1 if one is not, or not known."""
    from interlude.simulator.record.verification import verify_runs

    verdicts = list(dict.fromkeys(verdict for path in runs for verdict in verify_runs(path)))
    for verdict in verdicts:
        say(f"{verdict.path}: {verdict.text}")
    if not all(verdict.is_whole for verdict in verdicts):
        raise typer.Exit(1)
