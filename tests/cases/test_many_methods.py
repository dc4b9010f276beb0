"""Sixty methods with labels of 150 letters: figures hold their legends, tables their numbers."""

import warnings

import pytest
from written_runs import write_run

from interlude.analysis.choices import Choices
from interlude.analysis.figures import draw, render
from interlude.analysis.labels import shortened
from interlude.analysis.style import look_of
from interlude.simulator.cli import console
from interlude.simulator.cli.table_rows import TableRows

LABELS = [f"{'a-very-long-label-of-a-method-' * 5}{number:03}" for number in range(60)]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    numbered = enumerate(LABELS)
    return [write_run(runs, f"m{number}", final=number / 100, options={"label": label}) for number, label in numbered]


@pytest.fixture(scope="module")
def long(records):
    """The records with their long labels, which need not be the names of directories."""
    for record, label in zip(records, LABELS, strict=True):
        record.info = {**record.info, "label": label, "origin": {**record.origin, "methods": LABELS}}
    return records


@pytest.mark.parametrize("kind", ["accuracy-vs-time", "efficiency"])
def test_everything_is_inside_the_picture_and_matplotlib_is_silent(long, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ((plot,), _) = draw(long, [kind])
        render(plot, "png", Choices(), dpi=20)
    figure = plot.drawing.figure
    for box in [legend.get_window_extent() for legend in figure.legends] + [a.get_tightbbox() for a in figure.axes]:
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= figure.bbox.width + 1
        assert box.y1 <= figure.bbox.height + 1
    assert all(axis.get_window_extent().width > 0.2 * figure.bbox.width for axis in figure.axes)
    assert all(axis.get_window_extent().height > 0.005 * figure.bbox.height for axis in figure.axes)


def test_no_two_methods_look_alike():
    looks = [str(look_of(index)) for index in range(200)]
    assert len(set(looks)) == 200
    points = [str(look_of(3, point)) for point in range(60)]
    assert len(set(points)) == 60


def test_a_table_keeps_its_numbers_and_tells_its_rows_apart(capsys, monkeypatch):
    monkeypatch.setattr(console, "console", console.Console(width=120, highlight=False))
    header = ("method", "final accuracy", "s to 0.5", "versions", "up")
    rows = [(label, f"0.{number:03}", "1,234", f"{number:,}", "9.8 MB") for number, label in enumerate(LABELS)]
    console.show("accuracy", TableRows(rows, header, frozenset(range(1, 5))))
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "0." in line and "…" in line]
    assert len(lines) == 60
    assert len({line[0] for line in lines}) == 60
    assert lines[59][1:] == ["0.059", "1,234", "59", "9.8", "MB"]


def test_shortened_labels_stay_different():
    assert shortened(["short"], 20) == ["short"]
    alike = [f"{'x' * 30}{middle}{'y' * 30}" for middle in "abc"]
    assert len(set(shortened(alike, 20))) == 3
    assert all(len(text) <= 20 for text in shortened(alike, 20))
    assert shortened(alike[:1] * 2, 20)[0] == shortened(alike[:1] * 2, 20)[1]
