"""A sweep is one tidy table, its points one plot: swept values are columns, and names of lines."""

import pandas as pd
import pytest
import yaml
from written_runs import write_run

import interlude
from interlude.analysis import figures
from interlude.analysis.figures import draw
from interlude.analysis.points import points_table
from interlude.analysis.runs import by_world, find_runs
from interlude.simulator.cli.conclusions import conclude_sweep
from interlude.simulator.record.claim import end
from interlude.simulator.run.experiment import run_scenario
from interlude.simulator.sweep import Outcome, load_sweep


@pytest.fixture(scope="module")
def swept(tmp_path_factory, scenario_with):
    """A sweep of two values of an option and two numbers of clients, on the clock alone, one run of it failed."""
    folder = tmp_path_factory.mktemp("swept")
    block = {"methods.mba.beta": [2.0, 0.0], "clients.count": [4, 2]}
    methods = [{"name": "mba"}, {"name": "fedavg"}]
    given = scenario_with({"methods": methods, "until": {"simulated_s": 4}, "sweep": block})
    (folder / "tiny.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
    sweep = load_sweep(folder / "tiny.yaml")
    runs = sweep.parent_of_points(folder / "runs")
    outcomes = [
        Outcome(record.path.name, record.path, "complete")
        for scenario in sweep.scenarios
        for record in run_scenario(scenario, runs=runs, device="cpu", timing_only=True)
    ]
    end(outcomes[0].path, "failed", "the loss is not finite")
    outcomes[0] = Outcome(outcomes[0].name, outcomes[0].path, "failed", "the loss is not finite")
    conclude_sweep(sweep, outcomes, sweep.directory(folder / "runs"))
    return folder / "runs/tiny"


def test_a_row_per_run_has_the_swept_fields_under_their_names(swept):
    table = pd.read_csv(swept / "sweep.csv")
    assert list(table)[:6] == ["point", "methods.mba.beta", "clients.count", "seed", "method", "status"]
    assert len(table) == 2 * 2 * 2
    assert table["status"].tolist() == ["failed", *["complete"] * 7]
    assert table.loc[0, "bytes_up":].isna().all()
    assert table.loc[1:, "bytes_up"].notna().all()
    last = table.iloc[-1]  # of a method that has no beta, at a point that has
    assert (last["method"], last["methods.mba.beta"], last["clients.count"], last["seed"]) == ("fedavg", 0.0, 2, 0)
    means = table.groupby(["clients.count", "method"])["versions"].mean()
    assert means[4, "mba"] > means[2, "mba"]


def test_a_row_per_point_and_method_has_them_too(swept):
    table = pd.read_csv(swept / "summary.csv")
    assert list(table)[:5] == ["point", "methods.mba.beta", "clients.count", "method", "seeds"]
    assert table["clients.count"].tolist() == [4, 2, 2, 4, 4, 2, 2]  # not of the run that failed
    assert table["seeds"].tolist() == [1] * 7


def test_python_gets_the_same_table_and_the_records_besides(swept):
    pd.testing.assert_frame_equal(interlude.load_runs(swept), pd.read_csv(swept / "sweep.csv"), check_dtype=False)
    assert len(interlude.load_records(swept)) == 7
    assert list(interlude.load_runs(interlude.load_records(swept)[0].path)["status"]) == ["complete"]


def test_the_table_across_points_leads_with_the_swept_values(swept):
    table = points_table(find_runs([swept]).records)
    assert table.header[:4] == ["methods.mba.beta", "clients.count", "method", "seeds"]
    assert [row[:3] for row in table.rows[:3]] == [["2", "4", "fedavg"], ["2", "2", "mba"], ["2", "2", "fedavg"]]


@pytest.fixture
def only(monkeypatch):
    """Return a function that leaves the kinds named alone to be drawn."""
    return lambda *names: monkeypatch.setattr(figures, "KINDS", {name: figures.KINDS[name] for name in names})


def test_what_does_not_apply_to_a_sweep_is_one_line(swept, only):
    only("accuracy-vs-time", "accuracy-vs-bytes", "speedup", "worlds", "points")
    plots, skipped = draw(find_runs([swept]).records)
    assert len(skipped) == 1
    assert "accuracy-vs-time" in skipped[0]
    assert [plot.scenario for plot in plots if plot.kind == "points"] == [None]


def points_of(runs, counts=(2,), betas=(0.0, 0.5, 1.0)):
    """Write a sweep over an option of mba, with fedavg beside it, whose runs are the same at every point."""
    return [
        write_run(
            *(runs, label, seed, 0.3 + (beta / 10 if label == "mba" else 0) + seed / 100),
            point=f"base-beta-{beta}-clients-{count}",
            changes={"clients": {"count": count}},
            options={"beta": beta} if label == "mba" else {},
            origin={
                "methods": ["fedavg", "mba"],
                "place": place,
                "swept": {"methods.mba.beta": beta, "clients.count": count},
            },
        )
        for place, beta in enumerate(betas)
        for count in counts
        for label in ("fedavg", "mba")
        for seed in range(3)
    ]


def test_points_that_differ_in_options_are_lines_named_by_them(tmp_path):
    ((plot,), _) = draw(points_of(tmp_path), ["accuracy-vs-time"])
    lines = {
        line.get_label(): str((line.get_color(), line.get_linestyle()))
        for line in plot.drawing.figure.axes[0].get_lines()
    }
    assert list(lines) == ["fedavg", "mba, beta 0", "mba, beta 0.5", "mba, beta 1"]
    assert len(set(lines.values())) == 4
    assert "over 3 seeds" in plot.drawing.caption  # fedavg's runs of three points are the same three runs


def test_a_sweep_is_drawn_once_for_each_world(tmp_path, only):
    only("accuracy-vs-time", "scalability")
    records = points_of(tmp_path, counts=(2, 4))
    assert list(by_world(records)) == ["base-count-2", "base-count-4"]
    plots, _ = draw(records)
    assert [plot.scenario for plot in plots if plot.kind == "accuracy-vs-time"] == ["base-count-2", "base-count-4"]
    scalability = next(plot for plot in plots if plot.kind == "scalability").drawing.figure.axes[0]
    assert [line.get_label() for line in scalability.get_lines()] == [
        "fedavg",
        "mba, beta 0",
        "mba, beta 0.5",
        "mba, beta 1",
    ]


def test_points_of_other_worlds_are_refused_by_what_differs(tmp_path):
    with pytest.raises(interlude.BadInputError, match=r"they differ in clients\.count: 2, 4"):
        draw(points_of(tmp_path, counts=(2, 4)), ["accuracy-vs-time"])
