"""The end of a run or a sweep: summaries, printed and written, and the curves."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from interlude.analysis.figures import plot_accuracy_vs_time
from interlude.analysis.files import write_files
from interlude.analysis.summary import summarise_methods, summarise_runs
from interlude.simulator.cli.console import inform, say, show
from interlude.simulator.cli.summary_tables import ended_early, summary_tables, sweep_table
from interlude.simulator.errors import BadInputError
from interlude.simulator.record.reader import RunRecord, with_other_seeds
from interlude.simulator.scenario.scenario import Scenario
from interlude.simulator.sweep import Outcome, Sweep


def conclude_run(scenario: Scenario, records: Sequence[RunRecord], directory: Path) -> None:
    """Summarise the runs of a scenario, those with other seeds included, and draw their curves."""
    records = with_other_seeds(records, lambda sentence: inform(f"left out of the summary: {sentence}"))
    summary = summarise_methods(summarise_runs(records))
    write_files({directory / "summary.csv": summary.to_csv(index=False).encode()})
    for title, rows in summary_tables(summary, scenario):
        show(title, rows)
    early = ended_early(records)
    if early.cells:
        show("ended early", early)
    written = [directory / "summary.csv"]
    if "final_accuracy" in summary:
        written += plot_accuracy_vs_time(records, directory)
    say(f"Records in {directory}/: {', '.join(record.path.name for record in records)}")
    say(f"Wrote {', '.join(str(path) for path in written)}")


def conclude_sweep(sweep: Sweep, outcomes: Sequence[Outcome], directory: Path) -> None:
    """Summarise the runs of a sweep that are complete, point by point."""
    by_point: dict[str, list[RunRecord]] = {}
    for outcome in outcomes:
        if outcome.error is None:
            try:
                record = RunRecord(outcome.path)
                record.check()
            except BadInputError as error:
                inform(f"left out of the summary: {error}")
                continue
            by_point.setdefault(outcome.path.parent.name, []).append(record)
    if not by_point:
        return
    summaries = {point: summarise_methods(summarise_runs(records)) for point, records in by_point.items()}
    table = pd.concat(summaries, names=["scenario"]).reset_index("scenario")
    write_files({directory / "summary.csv": table.to_csv(index=False).encode()})
    show(sweep.name, sweep_table(summaries, {scenario.name: scenario for scenario in sweep.scenarios}))
    say(f"Wrote {directory / 'summary.csv'}; draw it with: interlude plot {directory}")
