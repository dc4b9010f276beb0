"""`interlude summary`: the results of runs that are there, a row per scenario and method."""

from interlude.simulator.cli.console import inform, show
from interlude.simulator.cli.json_output import AsJson, say_json
from interlude.simulator.cli.options import RunPaths


def summary(runs: RunPaths, as_json: AsJson = False) -> None:
    """Print the results of runs: accuracies, times to the targets, bytes; over several seeds with intervals."""
    from interlude.analysis.runs import by_scenario, find_runs
    from interlude.analysis.summary import summarise_methods, summarise_runs
    from interlude.analysis.tidy import tidy_summary
    from interlude.simulator.cli.summary_tables import sweep_table

    records, left_out = find_runs(runs)
    for sentence in left_out:
        inform(sentence)
    if as_json:
        say_json(tidy_summary(records).to_dict("records"))
        return
    summaries = {name: summarise_methods(summarise_runs(group)) for name, group in by_scenario(records).items()}
    show("summary", sweep_table(summaries))
