"""The kinds of figures: which apply to given runs, rendering and writing."""

import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl

from interlude.analysis.balance import imbalance
from interlude.analysis.choices import Choices, DoesNotApplyError, Drawing
from interlude.analysis.curves import accuracy_vs_bytes, accuracy_vs_energy, accuracy_vs_time, accuracy_vs_version
from interlude.analysis.divergence import divergence_note
from interlude.analysis.efficiency import efficiency, staleness
from interlude.analysis.files import write_files
from interlude.analysis.gantt import gantt
from interlude.analysis.lines import named_lines
from interlude.analysis.partition import partition
from interlude.analysis.points import points
from interlude.analysis.runs import by_scenario, by_world
from interlude.analysis.scalability import across_worlds, scalability
from interlude.analysis.sensitivity import sensitivity
from interlude.analysis.target import speedup, time_to_accuracy
from interlude.simulator.errors import BadInputError, nearest
from interlude.simulator.record.reader import RunRecord

Draw = Callable[[Sequence[RunRecord], Choices], Drawing]


@dataclass(frozen=True)
class Kind:
    """A kind of figure."""

    title: str
    draw: Draw
    spans_scenarios: bool = False
    """Whether it compares scenarios of different worlds, so one figure shows all of them."""


KINDS: Mapping[str, Kind] = {
    "accuracy-vs-time": Kind("Accuracy over simulated time", accuracy_vs_time),
    "accuracy-vs-version": Kind("Accuracy over versions", accuracy_vs_version),
    "accuracy-vs-bytes": Kind("Accuracy over bytes", accuracy_vs_bytes),
    "accuracy-vs-energy": Kind("Accuracy over energy", accuracy_vs_energy),
    "time-to-accuracy": Kind("Time to accuracy", time_to_accuracy),
    "speedup": Kind("Speed-up over the baseline", speedup),
    "scalability": Kind("Scalability", scalability, spans_scenarios=True),
    "worlds": Kind("Across worlds", across_worlds, spans_scenarios=True),
    "points": Kind("All points of a sweep", points, spans_scenarios=True),
    "sensitivity": Kind("Sensitivity to options", sensitivity, spans_scenarios=True),
    "efficiency": Kind("Clients' time by activity", efficiency),
    "staleness": Kind("Staleness", staleness),
    "imbalance": Kind("Imbalance between modalities", imbalance),
    "gantt": Kind("Client activities", gantt),
    "partition": Kind("Data partition", partition),
}
FORMATS = ("png", "svg", "pdf")
ALL = "all"
_MOST_PIXELS = 2**15  # in each direction; viewers and matplotlib itself have their limits
_NO_DATE = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


@dataclass(frozen=True)
class Plot:
    """A figure of some runs."""

    kind: str
    scenario: str | None
    """Name of the scenario, or of the scenarios of one world, that it shows; None: all that are given."""
    drawing: Drawing


def draw(
    records: Sequence[RunRecord], kinds: Sequence[str] = (ALL,), choices: Choices | None = None
) -> tuple[list[Plot], list[str]]:
    """Draw figures.

    Args:
        records: the runs.
        kinds: keys of `KINDS`, or ``all``: every kind that applies, for each scenario by itself.
        choices: options of the figures.

    Returns:
        The figures, and a sentence for each kind that is skipped because it does not apply.

    Raises:
        BadInputError: for an unknown kind, and for a named kind that does not apply.
    """
    choices = choices or Choices()
    for kind in kinds:
        if kind not in (*KINDS, ALL):
            raise BadInputError(
                f"--kind: unknown kind '{kind}'; kinds are all, {', '.join(KINDS)}{nearest(kind, KINDS)}"
            )
    if ALL in kinds:
        return draw_applicable(records, choices)
    with mpl.rc_context(rc=choices.style.rc):
        plots = [Plot(kind, None, _draw_named(kind, records, choices)) for kind in dict.fromkeys(kinds)]
    return plots, []


def _draw_named(name: str, records: Sequence[RunRecord], choices: Choices) -> Drawing:
    kind = KINDS[name]
    try:
        if not kind.spans_scenarios and len(by_world(records)) == 1:
            records = named_lines(records)
        return _noted(kind.draw(records, choices), records)
    except DoesNotApplyError as error:
        raise BadInputError(f"{name} cannot be drawn: {error}") from error


def draw_applicable(
    records: Sequence[RunRecord], choices: Choices, names: Collection[str] | None = None
) -> tuple[list[Plot], list[str]]:
    """Draw every figure that applies, for each world by itself.

    Args:
        records: the runs.
        choices: options of the figures.
        names: keys of `KINDS`; None: all.

    Returns:
        As `draw`.
    """
    kinds = {name: kind for name, kind in KINDS.items() if names is None or name in names}
    worlds = by_world(records)
    together = len(by_scenario(records)) > 1
    plots = []
    skipped: dict[tuple[str, str], list[str]] = {}
    for name, kind in kinds.items():
        groups: dict[str | None, list[RunRecord]] = dict(worlds.items())
        if kind.spans_scenarios or len(worlds) == 1:
            groups = {None: list(records), **(groups if len(worlds) > 1 else {})}
        for world, group in groups.items():
            try:
                shown = group if kind.spans_scenarios else named_lines(group)
                with mpl.rc_context(rc=choices.style.rc):
                    plots.append(Plot(name, world, _noted(kind.draw(shown, choices), shown)))
            except DoesNotApplyError as error:
                of = world or ("all scenarios together" if together else "")
                skipped.setdefault((name, str(error)), []).append(of)
                continue
            if world is None:
                break  # one figure shows all scenarios
    if together and skipped:
        left_out = dict.fromkeys(name for name, _ in skipped)
        return plots, [f"skipped what does not apply: {', '.join(left_out)}; naming one with --kind says why"]
    return plots, [f"skipped {name}{_of(names)}: {why}" for (name, why), names in skipped.items()]


def _noted(drawing: Drawing, records: Sequence[RunRecord]) -> Drawing:
    """Return a drawing whose caption says which runs diverged."""
    return replace(drawing, caption=drawing.caption + divergence_note(records))


def _of(names: Sequence[str]) -> str:
    """Return the scenarios without the figure, for a sentence."""
    return "" if names == [""] else f" of {names[0]}" + (f" and {len(names) - 1} others" if len(names) > 1 else "")


def render(plot: Plot, suffix: str, choices: Choices, dpi: int = 200) -> bytes:
    """Return a figure as the bytes of a file (png, svg or pdf); equal figures are equal bytes."""
    buffer = io.BytesIO()
    dpi = min(dpi, int(_MOST_PIXELS / max(plot.drawing.figure.get_size_inches())))
    with mpl.rc_context(rc=choices.style.rc):
        plot.drawing.figure.savefig(buffer, format=suffix, dpi=dpi, metadata=_NO_DATE[suffix])
    return buffer.getvalue()


def write(
    plots: Sequence[Plot], directory: Path, formats: Sequence[str] = ("png", "svg"), choices: Choices | None = None
) -> list[Path]:
    """Write figures into a directory, or its folder named after the scenario where a figure shows one of several.

    Returns:
        The files. Either all of them are written or, where one cannot be drawn, none.

    Raises:
        BadInputError: for an unknown format, or a directory that cannot be written.
    """
    choices = choices or Choices()
    for suffix in formats:
        if suffix not in FORMATS:
            raise BadInputError(
                f"--formats: unknown format '{suffix}'; formats are {', '.join(FORMATS)}{nearest(suffix, FORMATS)}"
            )
    files = {}
    for plot in plots:
        folder = directory / plot.scenario if plot.scenario else directory
        for suffix in formats:
            files[folder / f"{plot.kind.replace('-', '_')}.{suffix}"] = render(plot, suffix, choices)
    return write_files(files)


def plot_accuracy_vs_time(records: Sequence[RunRecord], directory: Path) -> list[Path]:
    """Draw accuracy_vs_time.png and .svg of one scenario's runs into a directory; returns the files."""
    return write(draw(records, ["accuracy-vs-time"])[0], directory)
