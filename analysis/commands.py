"""The commands that read run directories, from paths to files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from interlude.analysis.choices import Choices
from interlude.analysis.figures import ALL, draw, write
from interlude.analysis.files import write_files
from interlude.analysis.naming import Naming
from interlude.analysis.report import CardText, report_page
from interlude.analysis.runs import common_directory, find_runs, kept_apart
from interlude.analysis.table.cells import Table, results_table
from interlude.analysis.table.latex import latex
from interlude.analysis.table.plain import csv, markdown
from interlude.analysis.trace import Excerpt, trace_file
from interlude.analysis.widths import style_of
from interlude.simulator.errors import BadInputError, nearest
from interlude.simulator.record.reader import RunRecord

TABLE_FORMS: Mapping[str, Callable[[Table, str], str]] = {
    "latex": latex,
    "markdown": markdown,
    "csv": lambda table, _: csv(table),
}
"""How a table is written, by the name of its format."""


def choose(
    baseline: str | None = None,
    target: float | None = None,
    num_clients: int = 8,
    window: str | None = None,
    style: str = "screen",
    width: str | None = None,
    *,
    log_time: bool = False,
) -> Choices:
    """Return choices from command-line values; `window` is ``START:END`` in simulated seconds.

    `style` and `width` are those of `interlude.analysis.widths.style_of`.

    Raises:
        BadInputError: naming the option.
    """
    shown_s = None if window is None else _window(window)
    return Choices(baseline, target, num_clients, shown_s, style_of(style, width), log_time)


def plot_runs(
    paths: Sequence[Path],
    kinds: Sequence[str],
    out: Path | None,
    formats: str,
    choices: Choices,
    naming: Naming | None = None,
) -> tuple[list[Path], list[str]]:
    """Draw figures of the runs at or below paths.

    Args:
        paths: run directories, scenario directories or parents of them.
        kinds: keys of `interlude.analysis.figures.KINDS`; empty: all that apply.
        out: where the files go; None for the directory that holds the runs.
        formats: png, svg, pdf, separated by commas.
        choices: options of the figures.
        naming: which methods they show, and how.

    Returns:
        The files, and sentences about runs that are left out or kept apart, and about kinds that do not apply.

    Raises:
        BadInputError: for any input that cannot be used; then nothing is written.
    """
    records, left_out = find_runs(paths)
    _check_baseline(records, choices)
    named, choices = (naming or Naming()).applied(records, choices)
    plots, skipped = draw(named, kinds or [ALL], choices)
    suffixes = [suffix.strip() for suffix in formats.split(",") if suffix.strip()]
    sentences = [*left_out, *kept_apart(records).values(), *skipped]
    return write(plots, out or common_directory(records), suffixes, choices), sentences


def write_report(
    records: Sequence[RunRecord],
    cards: Sequence[CardText],
    command: str,
    output: Path | None,
    choices: Choices,
    question: str | None = None,
) -> Path:
    """Write the page about runs; returns its file, by default report.html in the directory that holds the runs.

    Raises:
        BadInputError: for runs that cannot share a page, or a file that cannot be written.
    """
    _check_baseline(records, choices)
    page = report_page(records, cards, command, choices, question)
    (file,) = write_files({output or common_directory(records) / "report.html": page.encode()})
    return file


def write_trace(path: Path, output: Path | None, num_clients: int | None = None, window: str | None = None) -> Path:
    """Write the trace of one run; returns its file, by default ``<run directory>.trace.json`` beside it.

    Args:
        path: the run directory, or a directory that holds one run.
        output: the file; None for the default.
        num_clients: the first so many clients are shown; None: all.
        window: ``START:END`` in simulated seconds; None: the whole run.

    Raises:
        BadInputError: if there is not exactly one run, the window is none, or the file cannot be written.
    """
    excerpt = Excerpt(num_clients) if window is None else Excerpt(num_clients, *_window(window))
    records, _ = find_runs([path])
    if len(records) > 1:
        raise BadInputError(f"{path}: holds {len(records)} runs; name one, e.g. {records[0].path}")
    target = output or records[0].path.with_name(f"{records[0].path.resolve().name}.trace.json")
    (file,) = write_files({target: trace_file(records[0], excerpt)})
    return file


def write_table(
    paths: Sequence[Path],
    form: str,
    out: Path | None,
    command: str,
    columns: Sequence[str] = (),
    methods: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    baseline: str | None = None,
) -> tuple[str, list[str]]:
    """Make a table of the runs at or below paths, and write it if there is a file.

    Args:
        paths: run directories, scenario directories or parents of them.
        form: a key of `TABLE_FORMS`.
        out: the file; None: it is only returned.
        command: that makes it.
        columns: of `interlude.analysis.table.cells.results_table`, as are methods, labels and baseline.
        methods: see there.
        labels: see there.
        baseline: see there.

    Returns:
        The table, and sentences about runs that are left out or kept apart.

    Raises:
        BadInputError: for any input that cannot be used; then nothing is written.
    """
    if form not in TABLE_FORMS:
        raise BadInputError(
            f"--format: unknown format '{form}'; formats are {', '.join(TABLE_FORMS)}{nearest(form, TABLE_FORMS)}"
        )
    records, left_out = find_runs(paths)
    text = TABLE_FORMS[form](results_table(records, columns, methods, labels, baseline), command)
    if out is not None:
        write_files({out: text.encode()})
    return text, [*left_out, *kept_apart(records).values()]


def _check_baseline(records: Sequence[RunRecord], choices: Choices) -> None:
    labels = list(dict.fromkeys(record.label for record in records))
    if choices.baseline is not None and choices.baseline not in labels:
        raise BadInputError(
            f"--baseline: no run has the label '{choices.baseline}'; labels are {', '.join(labels)}"
            + nearest(choices.baseline, labels)
        )


def _window(given: str) -> tuple[float, float]:
    try:
        start_s, end_s = (float(part) for part in given.split(":"))
    except ValueError:
        start_s = end_s = float("nan")
    if not 0 <= start_s < end_s < float("inf"):
        raise BadInputError(f"--window: must be START:END in simulated seconds, e.g. 0:60; given '{given}'")
    return start_s, end_s
