"""Figures with the methods, labels, colours and widths that a paper wants, from the command's options and Python."""

import pytest

from interlude import BadInputError, draw_figure
from interlude.analysis.choices import Choices
from interlude.analysis.lines import line_looks
from interlude.analysis.naming import Naming
from interlude.analysis.widths import style_of


def lines_of(figure):
    return {line.get_label(): line.get_color() for line in figure.axes[0].get_lines()}


def test_labels_and_colours_change_nothing_but_how_a_method_looks(trained):
    before = lines_of(draw_figure("accuracy-vs-time", trained))
    after = lines_of(
        draw_figure("accuracy-vs-time", trained, labels={"mba": r"MBA ($\beta=1$)"}, colors={"mba": "#112233"})
    )
    assert after[r"MBA ($\beta=1$)"] == "#112233"
    assert after["fedavg"] == before["fedavg"]


def test_a_selection_keeps_colours_and_the_baseline_is_known_by_its_old_label(trained):
    records, choices = Naming(["mba", "fedavg"], {"fedavg": "FedAvg"}).applied(trained, Choices())
    assert choices.baseline == "FedAvg"
    assert list(line_looks(records)) == ["FedAvg", "mba"]
    only, _ = Naming(["mba"]).applied(trained, Choices())
    assert line_looks(only)["mba"]["color"] == line_looks(records)["mba"]["color"]
    assert "FedAvg" in draw_figure("speedup", trained, labels={"fedavg": "FedAvg"}, target=0.2)._suptitle.get_text()


def test_logarithmic_time_begins_at_the_first_evaluation_after_0(trained):
    axis = draw_figure("accuracy-vs-time", trained, log_time=True).axes[0]
    assert axis.get_xscale() == "log"
    assert axis.get_xlim() == (2.0, 10.0)


@pytest.mark.parametrize(("width", "inches"), [("ieee", 7.16), ("acm", 7.0), ("springer", 4.803), (8.4, 3.307)])
def test_figures_are_as_wide_as_asked_for(trained, width, inches):
    figure = draw_figure("accuracy-vs-time", trained, width=width)
    assert figure.get_figwidth() == pytest.approx(inches, abs=0.001)
    places = [axis.get_subplotspec().get_position(figure).x0 for axis in figure.axes]
    assert (len(set(places)) < 3) == (width == 8.4)  # three panels do not fit side by side


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": ["mbo"]}, "did you mean 'mba'"),
        ({"labels": {"mba": "fedavg"}}, "two methods are called 'fedavg'"),
        ({"labels": {"mba": r"$\frac$"}}, "no mathematics of matplotlib"),
        ({"colors": {"mba": "reddish"}}, "no colour is 'reddish'"),
        ({"methods": ["mba"], "baseline": "fedavg"}, "labels are mba"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(trained, options, said):
    with pytest.raises(BadInputError, match=said):
        draw_figure("accuracy-vs-time", trained, **options)


@pytest.mark.parametrize("width", ["3", "ieeee", "nan"])
def test_widths_are_those_of_publishers_or_cm(width):
    with pytest.raises(BadInputError, match="--width: must be ieee, acm, springer or cm from 4 to 60"):
        style_of("screen", width)
