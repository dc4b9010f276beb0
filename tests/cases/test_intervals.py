"""Intervals need three seeds and stay where values can be; a best point needs intervals that separate it."""

import re

import pytest
from written_runs import write_run

from interlude.analysis.choices import Choices, DoesNotApplyError
from interlude.analysis.curves import accuracy_vs_time
from interlude.analysis.sensitivity import sensitivity
from interlude.analysis.summary import summarise_methods, summarise_runs
from interlude.analysis.tables import difference_table, final_differences, summary_table
from interlude.simulator.cli.summary_tables import summary_tables
from interlude.simulator.scenario.loading import parse_scenario


def two_methods(runs, *finals):
    return [
        write_run(runs, label, seed, final - lead)
        for label, lead in (("fedavg", 0.0), ("mba", 0.05))
        for seed, final in enumerate(finals)
    ]


def test_two_seeds_have_no_interval_in_any_table(tmp_path, scenario_with):
    records = two_methods(tmp_path, 0.34, 0.44)
    summary = summarise_methods(summarise_runs(records))
    assert not [column for column in summary if column.endswith("_ci95")]
    tables = [summary_table(records).rows, difference_table(records, "fedavg").rows]
    tables += [rows.cells for _, rows in summary_tables(summary, parse_scenario(scenario_with()))]
    assert "0.390" in str(tables)
    assert not re.search(r"±|p =| to ", str(tables))


def test_an_interval_of_accuracies_ends_at_0_and_1_in_tables_and_bands(tmp_path, scenario_with):
    records = two_methods(tmp_path, 0.7, 0.95, 1.0)  # mean 0.883, half width 0.399
    summary = summarise_methods(summarise_runs(records))
    for rows in (
        summary_table(records).rows,
        next(rows.cells for _, rows in summary_tables(summary, parse_scenario(scenario_with()))),
    ):
        assert "0.883 (0.484 to 1.000)" in rows[0]
    figure = accuracy_vs_time(records, Choices()).figure
    ends = [y for axis in figure.axes for band in axis.collections for y in band.get_paths()[0].vertices[:, 1]]
    assert max(ends) == 1.0
    assert min(ends) >= 0.0


def test_printed_tables_fit_a_terminal_of_100_columns(tmp_path, scenario_with):
    """Two targets, of which one is reached by two of three seeds, and differences from a baseline."""
    changes = {"evaluate": {"target_accuracy": [0.3, 0.9]}, "until": {"accuracy": 0.3}}
    totals = {"ended_by": "accuracy"}
    records = [
        write_run(tmp_path, label, seed, final, changes=changes, totals=totals)
        for label in ("fedavg", "fedasync-first")
        for seed, final in enumerate((0.2, 0.35, 0.41))
    ]
    runs = summarise_runs(records)
    scenario = parse_scenario(scenario_with({"evaluate": {"every_s": 5, **changes["evaluate"]}}))
    beside = ("vs fedavg", final_differences(runs, "fedavg"))
    for _, rows in summary_tables(summarise_methods(runs), scenario, beside):
        columns = zip(rows.header, *rows.cells, strict=True)
        longest = [max(len(word) for word in (*heading.split(), *cells)) for heading, *cells in columns]
        assert sum(width + 2 for width in longest) <= 100
        assert rows.header[:3] != ["method", "final accuracy", "vs fedavg"] or "reached 2/3" in rows.cells[0][4]


def swept(runs, finals):
    """Write a run for each value of beta and seed."""
    return [
        write_run(
            *(runs, "mba", seed, final),
            point=f"base-beta-{beta}",
            options={"beta": beta},
            origin={"methods": ["mba"], "place": beta, "swept": {"methods.mba.beta": beta}},
        )
        for beta, values in finals.items()
        for seed, final in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("finals", "said"),
    [
        ({0: [0.20, 0.50, 0.80], 1: [0.30, 0.40, 0.85]}, "no point is separated"),  # 0.017 apart
        ({0: [0.20, 0.50, 0.80], 1: [0.30, 0.61, 0.89]}, "best on the test set at beta 1"),  # in every seed
        ({0: [0.20, 0.50], 1: [0.30, 0.61]}, "no point is separated"),  # two seeds
        ({0: [0.2, 0.5, 0.8], 1: [0.3, 0.61, 0.89], 2: [0.3, 0.62, 0.88]}, "no point is separated"),
    ],
)
def test_a_best_point_is_named_where_paired_intervals_separate_it(tmp_path, finals, said):
    assert said in sensitivity(swept(tmp_path, finals), Choices()).caption


def test_a_best_point_is_chosen_on_the_validation_part_where_there_is_one(tmp_path):
    """Beta 1 is ahead on the test set, beta 0 on the validation part."""
    records = swept(tmp_path, {0: [0.20, 0.50, 0.80], 1: [0.30, 0.61, 0.89]})
    for record in records:
        held_out = 1 - record.metrics.query("metric == 'accuracy' and modality == 'fused'")["value"].iloc[-1]
        record.metrics.loc[len(record.metrics)] = [10.0, 10, "validation_accuracy", "fused", held_out]
    assert "best on the validation part at beta 0, ahead" in sensitivity(records, Choices()).caption


def test_options_that_no_sweep_varied_are_no_sensitivity(tmp_path):
    records = [
        write_run(tmp_path, f"fedavg-{waiting}", options={"name": "fedavg", "waiting": waiting})
        for waiting in ("all", "first")
    ]
    with pytest.raises(DoesNotApplyError, match="no sweep varied an option"):
        sensitivity(records, Choices())


def test_equal_runs_at_points_that_differ_for_another_method_count_once(tmp_path):
    """FedAvg runs at every beta of mba with the same seeds: three runs, however many points there are."""
    records = [
        write_run(
            *(tmp_path, "fedavg", seed, 0.4 + rate + seed / 10),
            point=f"base-beta-{beta}-rate-{rate}",
            changes={"training": {"rate": rate}},
            origin={"methods": ["fedavg", "mba"], "swept": {"methods.mba.beta": beta, "training.rate": rate}},
        )
        for beta in (0, 1, 2)
        for rate in (0.1, 0.2)
        for seed in range(3)
    ]
    (bars,) = sensitivity(records, Choices()).figure.axes[0].containers
    (low, high) = bars[2][0].get_segments()[0][:, 1]
    assert high - low == pytest.approx(2 * 0.24841, abs=1e-4)  # of three values 0.1 apart, not of nine
