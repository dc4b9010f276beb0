"""The output of `interlude calibrate`."""

import statistics
from collections.abc import Iterator

from interlude.simulator.calibrate.bench import Measured
from interlude.simulator.calibrate.measure import CLEARLY, FEWEST_ROUNDS, Calibration
from interlude.simulator.cli.table_rows import TableRows


def table(calibration: Calibration) -> tuple[str, TableRows]:
    """Return the table of one case: measured candidates, and those left out."""
    title = f"{calibration.case} on {calibration.device}: median of {_rounds(calibration.num_rounds)}"
    ways = [*calibration.measured, *([calibration.with_workers] if calibration.with_workers else [])]
    rows = [(*_cells(way), _note(calibration, way)) for way in ways]
    rows += [(label, "", "", "", "", "", "left out") for label, _ in calibration.left_out]
    header = ("training", "processes", "client-steps/s", "ratio", "smallest to largest", "GFLOP/s", "")
    return title, TableRows(rows, header, frozenset({1, 2, 3, 4, 5}))


def sentences(calibration: Calibration) -> Iterator[str]:
    """Yield conclusions from the table, with lines to put into a scenario."""
    for reason in dict.fromkeys(why for _, why in calibration.left_out):
        yield f"Left out: {'; '.join(label for label, why in calibration.left_out if why == reason)} ({reason})."
    yield f"A run takes: {calibration.current.label} ({calibration.reason})."
    faster = calibration.faster
    if calibration.num_rounds < FEWEST_ROUNDS:
        yield "Too few rounds to tell whether another way is faster here; measure for longer with --seconds."
    elif faster is None:
        yield f"No other way is clearly faster here, by more than {CLEARLY - 1:.0%} and in every round."
    else:
        change = " It changes results." if faster.candidate.spec.precision == "bfloat16" else ""
        yield f"Clearly faster here: {faster.candidate.label}.{change} To take it, put this into the scenario:"
        yield f"  {calibration.advice}"
    if calibration.with_workers is not None:
        num_processes, gain = calibration.with_workers.candidate.num_processes, calibration.workers_gain
        busy = " If the cores were idle otherwise, run with --workers 1." if gain < 1.0 else ""
        yield f"{num_processes} processes train {gain:.2f} times as fast as one; a run takes one per core.{busy}"
    speed = calibration.speed
    yield (
        "What this host achieves on this model, one client after the other (not what a phone would; a scenario's "
        f"devices have numbers of their own), to {calibration.speed_error:.0%} on the trainings timed:"
    )
    yield (
        f"  world: {{compute: {{throughput_gflops: {speed.gflops:.3g}, "
        f"operations: {{flops_each: {speed.flops_each:.0f}, per_task: {speed.per_task:.3g}}}}}}}"
    )


def _cells(way: Measured) -> tuple[str, ...]:
    return (
        way.candidate.label,
        str(way.candidate.num_processes),
        f"{way.median_steps_per_s:,.4g}" if way.median_steps_per_s < 100 else f"{way.median_steps_per_s:,.0f}",
        f"{statistics.median(way.ratios):.2f}",
        f"{min(way.ratios):.2f} to {max(way.ratios):.2f}",
        f"{way.median_gflops:.3g}",
    )


def _note(calibration: Calibration, way: Measured) -> str:
    if way.candidate == calibration.current:
        return "taken now"
    return "clearly faster" if way is calibration.faster else ""


def _rounds(number: int) -> str:
    return "one round" if number == 1 else f"{number} rounds"
