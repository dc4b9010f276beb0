"""The end of a run or a sweep: summaries, printed and written, and the curves."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from interlude.analysis.choices import Choices, baseline_of
from interlude.analysis.figures import plot_accuracy_vs_time
from interlude.analysis.files import write_files
from interlude.analysis.summary import summarise_methods, summarise_runs
from interlude.analysis.tables import final_differences
from interlude.analysis.tidy import tidy_runs, tidy_summary
from interlude.simulator.cli.console import inform, say, show
from interlude.simulator.cli.summary_tables import Beside, choice_table, ended_early, summary_tables, sweep_table
from interlude.simulator.errors import BadInputError, InterludeError
from interlude.simulator.record.reader import RunRecord, in_order, with_other_seeds
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.sweep import Outcome, Sweep
from interlude.simulator.sweep.choice import Choice
from interlude.simulator.sweep.tuning import Tried, tuning_table


def conclude_run(scenario: Scenario, records: Sequence[RunRecord], directory: Path) -> None:
    """Summarise the runs of a scenario, those with other seeds included, and draw their curves."""
    records = with_other_seeds(records, lambda sentence: inform(f"left out of the summary: {sentence}"))
    runs = summarise_runs(records)
    summary = summarise_methods(runs)
    write_files({directory / "summary.csv": summary.to_csv(index=False).encode()})
    for title, rows in summary_tables(summary, scenario, _differences(runs, records)):
        show(title, rows)
    early = ended_early(records)
    if early.cells:
        show("ended early", early)
    written = [directory / "summary.csv"]
    if "final_accuracy" in summary and summary["final_accuracy"].notna().any():  # else all of them diverged
        written += plot_accuracy_vs_time(records, directory)
    say(f"Records in {directory}/: {', '.join(record.path.name for record in records)}")
    say(f"Wrote {', '.join(str(path) for path in written)}")


def _differences(runs: pd.DataFrame, records: Sequence[RunRecord]) -> Beside | None:
    """Return the paired differences of the final accuracy from the baseline's; None where none has an interval."""
    baseline = baseline_of(records, Choices())
    found = final_differences(runs, baseline)
    return (f"vs {baseline}", found) if found else None


def conclude_sweep(sweep: Sweep, outcomes: Sequence[Outcome], directory: Path) -> None:
    """Write the runs of a sweep as a table, and summarise those that are complete or diverged, by point."""
    records = []
    for outcome in outcomes:
        try:
            record = RunRecord(outcome.path)
            record.check()
            records.append(record)
        except BadInputError as error:
            if outcome.error is None:  # else it is named among the failures
                inform(f"left out of the summary: {error}")
    records = in_order(records)
    tables = {"sweep.csv": tidy_runs(records)}
    by_point: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.has_result:
            by_point.setdefault(record.path.parent.name, []).append(record)
    if by_point:
        tables["summary.csv"] = tidy_summary(records)
        summaries = {point: summarise_methods(summarise_runs(group)) for point, group in by_point.items()}
        show(sweep.name, sweep_table(summaries))
    files = write_files({directory / name: table.to_csv(index=False).encode() for name, table in tables.items()})
    draw = f"; draw it with: interlude plot {directory}" if by_point else ""
    say(f"Wrote {', '.join(map(str, files))}{draw}")


def conclude_tuning(found: Sequence[Tried], directory: Path) -> list[Choice]:
    """Write what was tried as a table, show the settings that are chosen and name the methods that have none.

    Returns:
        The choices.

    Raises:
        InterludeError: if there is not one.
    """
    table = tuning_table(found)
    files = write_files({directory / "tuning.csv": table.to_csv(index=False).encode()})
    pairs = [(tried, choice) for tried in found if (choice := tried.choice) is not None]
    if not pairs:
        raise InterludeError(found[0].failure)
    show("chosen by the accuracy on the validation part", choice_table(pairs))
    for tried in found:
        if tried.choice is None:
            inform(f"left out: {tried.failure}")
    say(f"Wrote {', '.join(map(str, files))}")
    return [choice for _, choice in pairs]
