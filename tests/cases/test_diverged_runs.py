"""A run that diverged is called so in every table and figure, and is in no mean."""

import pytest
from written_runs import write_run

from interlude.analysis.choices import Choices
from interlude.analysis.figures import draw
from interlude.analysis.runs import by_scenario, find_runs
from interlude.analysis.sensitivity import sensitivity
from interlude.analysis.summary import summarise_methods, summarise_runs
from interlude.analysis.tables import difference_table, summary_table
from interlude.analysis.target import time_to_accuracy
from interlude.analysis.tidy import load_runs
from interlude.simulator.cli.summary_tables import ended_early, summary_tables
from interlude.simulator.errors import BadInputError
from interlude.simulator.record.claim import end
from interlude.simulator.record.reader import with_other_seeds
from interlude.simulator.scenario.loading import parse_scenario

BAD = {"diverged_at_s": 4.0}
TARGET = {"evaluate": {"target_accuracy": 0.4}, "until": {"simulated_s": 12.0}}


@pytest.fixture
def records(tmp_path):
    """Three seeds of a method that never diverges, of one that diverged once, and of one that always does."""
    runs = [("fedavg", 0, None), ("mba", 1, BAD), ("fedbuff", 3, BAD)]
    return [
        write_run(tmp_path, label, seed, 0.5 + seed / 10, changes=TARGET, totals=bad if seed < num_bad else None)
        for label, num_bad, bad in runs
        for seed in range(3)
    ]


def test_tables_call_it_diverged_and_leave_it_out_of_means(records, scenario_with):
    summary = summarise_methods(summarise_runs(records))
    printed = dict(summary_tables(summary, parse_scenario(scenario_with())))
    page = summary_table(records, baseline="fedavg").rows
    names = ["fedavg", "mba (1 of 3 diverged)", "fedbuff (diverged)"]
    for rows, accuracy in ((page, 2), (printed["tiny: accuracy"].cells, 1)):
        assert [row[0] for row in rows] == names
        assert [row[accuracy][:8] for row in rows] == ["0.600 ± ", "0.650", "diverged"]
    assert [row[2] for row in difference_table(records, "fedavg").rows] == [
        "+0.000, 1 diverged",
        "diverged",
    ]
    assert [row[0] for row in ended_early(records).cells] == ["mba", "fedbuff", "fedbuff", "fedbuff"]


def test_figures_call_it_diverged_in_legend_and_caption(records):
    plots, _ = draw(records, ["accuracy-vs-time", "time-to-accuracy", "imbalance", "speedup"])
    curves, bars = (plot.drawing for plot in plots[:2])
    lines = {line.get_label(): len(line.get_xdata()) for line in curves.figure.axes[0].get_lines()}
    assert lines.keys() >= {"fedavg", "mba (1 of 3 diverged)", "fedbuff (diverged)"}
    assert lines["fedbuff (diverged)"] == 0
    assert "fedavg 0.600, mba 0.650." in curves.caption
    assert "fedbuff (diverged)" in [text.get_text() for text in bars.figure.axes[0].get_yticklabels()]
    assert "fedbuff > 12 (0 of 3)" in bars.caption
    assert all("Diverged, and so without an accuracy: mba (1 of 3), fedbuff." in plot.drawing.caption for plot in plots)


def test_a_run_that_was_stopped_as_it_diverged_counts_among_the_runs(tmp_path):
    for seed, totals in enumerate((None, BAD, None)):
        write_run(tmp_path, "mba", seed, totals=totals)
    end(tmp_path / "base/mba-s1", "failed", "the training loss is nan")
    end(tmp_path / "base/mba-s2", "failed", "the disk is full")
    found = find_runs([tmp_path])
    assert [record.seed for record in found.records] == [0, 1]
    assert len(found.left_out) == 1
    assert "the disk is full" in found.left_out[0]
    assert [record.seed for record in with_other_seeds(found.records[:1])] == [0, 1]
    assert load_runs(tmp_path)["diverged_at_s"].notna().tolist() == [False, True, False]
    assert summary_table(found.records).rows[0][:2] == ["mba (1 of 2 diverged)", "2"]


def test_a_method_whose_last_second_is_unknown_has_no_bar(tmp_path):
    lengthless = {**TARGET, "until": {"versions": 9}}
    runs = [
        write_run(tmp_path / "x", label, changes=lengthless, totals=bad) for label, bad in (("a", None), ("b", BAD))
    ]
    assert len(by_scenario(runs)) == 1
    assert "b diverged" in time_to_accuracy(runs, Choices()).caption


def test_where_all_diverged_there_is_nothing_to_draw(tmp_path):
    with pytest.raises(BadInputError, match="every run diverged"):
        draw([write_run(tmp_path, "mba", totals=BAD)], ["accuracy-vs-time"])


@pytest.mark.parametrize("fields", [("beta",), ("beta", "gamma")])
def test_a_point_whose_runs_diverged_is_told_from_one_without_runs(tmp_path, fields):
    def run(beta, gamma, totals):
        swept = {f"methods.mba.{field}": value for field, value in zip(("beta", "gamma"), (beta, gamma), strict=True)}
        return write_run(
            *(tmp_path, "mba", 0, 0.5),
            point=f"base-{beta}-{gamma}",
            options={"beta": beta, "gamma": gamma},
            origin={"methods": ["mba"], "place": beta + 2 * gamma, "swept": swept},
            totals=totals,
        )

    points = [run(0, 0, None), run(1, 0, BAD), *([run(0, 1, None)] if "gamma" in fields else [])]
    drawn = sensitivity(points, Choices())
    if "gamma" in fields:
        texts = {text.get_text() for text in drawn.figure.axes[0].texts}
        assert {"diverged", "no run"} <= texts
    else:
        assert "beta 1: diverged" in drawn.caption
