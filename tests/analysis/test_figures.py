"""Figures from real records: what applies, what is said, what is written."""

from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from interlude.analysis.choices import Choices
from interlude.analysis.efficiency import time_shares
from interlude.analysis.figures import FORMATS, KINDS, draw, render, write
from interlude.analysis.files import write_files
from interlude.analysis.runs import find_runs
from interlude.analysis.style import PAPER
from interlude.simulator.errors import BadInputError

NOT_HERE = {"scalability", "worlds", "points", "sensitivity", "accuracy-vs-energy"}
MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.fixture(scope="module")
def drawn(trained):
    return draw(trained)


def test_all_draws_what_applies_and_says_what_does_not(drawn):
    plots, skipped = drawn
    assert {plot.kind for plot in plots} == KINDS.keys() - NOT_HERE
    assert {sentence.split()[1].rstrip(":") for sentence in skipped} == NOT_HERE


def test_every_axis_says_what_it_shows_and_every_figure_is_described(drawn):
    for plot in drawn[0]:
        figure = plot.drawing.figure
        assert isinstance(figure, Figure)
        assert any(axis.get_xlabel() for axis in figure.axes), plot.kind
        for label in ("fedavg", "mba"):
            assert label in plot.drawing.caption, plot.kind


@pytest.mark.parametrize("kind", ["accuracy-vs-time", "accuracy-vs-version", "accuracy-vs-bytes"])
def test_curves_have_a_panel_each_for_fused_and_single_modalities_and_bands(drawn, kind):
    (plot,) = (plot for plot in drawn[0] if plot.kind == kind)
    axes = plot.drawing.figure.axes
    assert [axis.get_title() for axis in axes] == ["all modalities", "gray alone", "color alone"]
    assert all(len(axis.collections) == 2 for axis in axes)  # a band per method, over three seeds
    assert all(len(axis.get_lines()) >= 2 for axis in axes)


def test_bytes_on_the_axis_are_those_of_the_timeline(drawn, trained):
    (plot,) = (plot for plot in drawn[0] if plot.kind == "accuracy-vs-bytes")
    line = next(line for line in plot.drawing.figure.axes[0].get_lines() if line.get_label() == "mba")
    totals = [r.timeline.loc[r.timeline["end_s"] < 10, "bytes"].sum() / 1e6 for r in trained if r.label == "mba"]
    assert line.get_xdata()[-1] == pytest.approx(min(totals))


def test_shares_of_time_sum_to_one(trained):
    shares = time_shares(trained[1])
    assert sum(shares.values()) == pytest.approx(1.0)
    assert {"joint training", "transfer", "wait for data"} <= shares.keys()


def test_timing_only_runs_have_what_needs_no_accuracy(timed):
    plots, skipped = draw(timed)
    assert {plot.kind for plot in plots} == {"efficiency", "staleness", "gantt", "partition"}
    assert any("timing-only" in sentence for sentence in skipped)
    with pytest.raises(BadInputError, match=r"accuracy-vs-time cannot be drawn: .* timing-only"):
        draw(timed, ["accuracy-vs-time"])


def test_sweeps_are_drawn_of_all_scenarios_together_the_rest_of_each(grid):
    plots, _ = draw(grid)
    scenarios = {plot.kind: plot.scenario for plot in plots}
    assert scenarios["scalability"] is None
    assert [plot.scenario for plot in plots if plot.kind == "efficiency"] == ["grid-2", "grid-4"]
    assert "sensitivity" not in scenarios  # the options belong to methods that stand beside each other, not to a sweep


def test_scalability_has_the_records_numbers_of_clients_on_its_axis(grid):
    ((plot,), _) = draw(grid, ["scalability"])
    (axis,) = plot.drawing.figure.axes  # no target, so no time to it
    assert [text.get_text() for text in axis.get_xticklabels()] == ["2", "4"]
    assert {line.get_label() for line in axis.get_lines()} == {"b0-g0", "b0-g1", "b2-g0", "b2-g1"}


def test_worlds_stand_beside_each_other_in_the_order_of_their_numbers(make_runs, grid):
    runs = [
        record
        for sigma in (10, 9)
        for record in make_runs(
            {"name": f"dial-{sigma}-x", "world.compute.jitter_sigma": sigma / 100}, timing_only=False
        )
    ]
    ((plot,), _) = draw(find_runs([record.path.parent for record in reversed(runs)]).records, ["worlds"])
    assert [text.get_text() for text in plot.drawing.figure.axes[0].get_xticklabels()] == ["9-x", "10-x"]
    with pytest.raises(BadInputError, match=r"worlds cannot be drawn: the scenarios differ in clients\.count"):
        draw(grid, ["worlds"])


def test_two_swept_options_make_a_heat_map_one_makes_a_curve(swept):
    ((plot,), _) = draw(swept, ["sensitivity"])
    axis = plot.drawing.figure.axes[0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("gamma", "beta")
    assert len(axis.texts) == 4
    ((plot,), _) = draw([record for record in swept if record.origin["swept"]["methods.mba.gamma"]], ["sensitivity"])
    axis = plot.drawing.figure.axes[0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("beta", "final test accuracy")


def test_mixed_scenarios_in_one_plot_are_refused_by_name(grid):
    with pytest.raises(BadInputError, match=r"gantt cannot be drawn: the runs are of 2 scenarios"):
        draw(grid, ["gantt"])


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_figure_is_the_same_bytes(timed, suffix):
    first, second = (render(draw(timed, ["efficiency"])[0][0], suffix, Choices()) for _ in range(2))
    assert first == second
    assert first.startswith(MAGIC[suffix])


def test_the_paper_style_is_one_column_or_the_page_wide(trained):
    plots, _ = draw(trained, choices=replace(Choices(), style=PAPER))
    assert {plot.drawing.figure.get_figwidth() for plot in plots} == {3.5, 7.16}


def test_files_are_named_after_kinds_and_leave_nothing_temporary(timed, tmp_path):
    files = write(draw(timed, ["gantt", "efficiency"])[0], tmp_path / "deep/er", ["png"])
    assert [file.name for file in files] == ["gantt.png", "efficiency.png"]
    assert {path.name for path in (tmp_path / "deep/er").iterdir()} == {"gantt.png", "efficiency.png"}


def test_if_one_file_cannot_be_written_none_is(tmp_path):
    (tmp_path / "b").write_text("a file where a folder should be")
    with pytest.raises(BadInputError, match="cannot be written"):
        write_files({tmp_path / "a.png": b"a", tmp_path / "b/c.png": b"c"})
    assert {path.name for path in tmp_path.iterdir()} == {"b"}
