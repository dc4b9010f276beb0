"""`interlude export`: records in TensorBoard, Weights & Biases, MLflow, Trackio or plain tables."""

from pathlib import Path
from typing import Annotated

import typer

from interlude.simulator.cli.console import inform, say
from interlude.simulator.cli.options import RunPaths, path_of


def export(
    runs: RunPaths,
    to: Annotated[str, typer.Option(metavar="TRACKER", help="tensorboard, wandb, mlflow, trackio or csv")],
    out: Annotated[
        Path | None,
        typer.Option(parser=path_of, metavar="DIR", help="where the tracker's files go; unset: tracked/TRACKER"),
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", help="a kind of figure; may be repeated; none: no figures; unset: the most telling"),
    ] = None,
) -> None:
    """Write runs to a tracker, over simulated seconds: metrics, configuration, results, figures; nothing twice."""
    from interlude.analysis.runs import find_runs
    from interlude.analysis.trackers.export import FIGURES
    from interlude.analysis.trackers.export import export as write
    from interlude.analysis.trackers.registry import tracker_of

    tracker = tracker_of(to, out)
    records, left_out = find_runs(runs)
    wanted = [] if kinds == ["none"] else kinds or FIGURES
    num_points, num_figures = write(records, tracker, wanted)
    for sentence in left_out:
        inform(sentence)
    if num_points or num_figures:
        say(f"Wrote {num_points:,} evaluations and {num_figures} figures of {len(records)} runs to {to}")
    else:
        say(f"Nothing new: {to} holds all of these {len(records)} runs already")
    say(f"Open it with: {tracker.how_to_open}")
