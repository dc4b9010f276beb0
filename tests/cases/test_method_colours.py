"""A method's look and place follow its scenario, whatever is selected, drawn or swept."""

import pytest
from written_runs import write_run

from interlude.analysis.choices import Choices
from interlude.analysis.figures import draw
from interlude.analysis.runs import find_runs
from interlude.analysis.tables import summary_table
from interlude.simulator.run.experiment import run_scenario
from interlude.simulator.scenario.loading import parse_scenario
from interlude.simulator.sweep import load_sweep

ORDER = ["mba", "fedavg", "fedasync", "aardvark"]


@pytest.fixture
def folder(tmp_path):
    for label in ORDER:
        for seed in range(3):
            write_run(tmp_path, label, seed, origin={"methods": ORDER})
    return tmp_path / "base"


def lines(records, kind="accuracy-vs-time"):
    ((plot,), _) = draw(records, [kind], Choices())
    axis = plot.drawing.figure.axes[0]
    return {line.get_label(): (line.get_color(), line.get_linestyle()) for line in axis.get_lines()}


def test_a_line_has_its_look_in_every_selection(folder):
    looks = lines(find_runs([folder]).records)
    assert [label for label in looks if label in ORDER] == ORDER
    assert len({looks[label] for label in ORDER}) == 4
    for label in ORDER:
        assert lines(find_runs([folder / f"{label}-s1"]).records)[label] == looks[label]


@pytest.mark.parametrize("kind", ["accuracy-vs-time", "imbalance"])
def test_the_order_in_which_runs_are_named_changes_nothing(folder, kind):
    paths = [folder / "fedasync-s0", folder / "fedavg-s0", folder / "mba-s0"]
    assert lines(find_runs(paths).records, kind) == lines(find_runs(paths[::-1]).records, kind)


def test_bars_and_tables_keep_the_scenarios_order(folder):
    records = find_runs([folder]).records
    assert [row[0] for row in summary_table(records).rows] == ORDER
    ((plot,), _) = draw(records, ["efficiency"], Choices())
    assert [text.get_text() for text in plot.drawing.figure.axes[0].get_yticklabels()] == ORDER


def test_methods_that_were_run_one_by_one_keep_their_looks_in_a_selection(tmp_path):
    for label in ORDER:
        write_run(tmp_path, label, origin={"methods": [label]})
    looks = lines(find_runs([tmp_path / "base"]).records)
    assert lines(find_runs([tmp_path / "base/mba-s0"]).records)["mba"] == looks["mba"]


def test_a_record_says_where_its_scenario_comes_from(scenario_with, tmp_path):
    methods = [{"name": "mba"}, {"name": "fedavg"}]
    scenario = parse_scenario(scenario_with({"methods": methods, "until": {"simulated_s": 5}}))
    records = run_scenario(scenario, runs=tmp_path, device="cpu", timing_only=True)
    assert [record.origin["methods"] for record in records] == [["mba", "fedavg"]] * 2
    assert [record.label for record in find_runs([tmp_path]).records] == ["mba", "fedavg"]


def test_points_of_a_sweep_know_their_values_places_and_all_methods(scenario_file):
    block = {"methods.1.beta": [2.0, 0.5], "clients.count": [10, 4], "methods": ["mba"], "seed": [0, 1]}
    sweep = load_sweep(scenario_file({"methods": [{"name": "fedavg"}, {"name": "mba"}], "sweep": block}))
    origins = [scenario.origin for scenario in sweep.scenarios]
    assert [origin.place for origin in origins] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert origins[2].swept == {"methods.mba.beta": 2.0, "clients.count": 4}
    assert {(origin.scenario, origin.methods) for origin in origins} == {("tiny", ("fedavg", "mba"))}


def test_points_are_in_the_order_of_the_sweep(tmp_path):
    for place, count in enumerate((16, 100, 4)):
        origin = {"methods": ["mba"], "place": place, "swept": {"clients.count": count}}
        write_run(tmp_path, "mba", point=f"base-clients-{count}", origin=origin)
    found = [record.origin["swept"]["clients.count"] for record in find_runs([tmp_path]).records]
    assert found == [16, 100, 4]
