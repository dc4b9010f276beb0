"""Means, intervals, differences over seeds, against numbers worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from interlude.analysis.comparison import holm, paired_differences
from interlude.analysis.seeds import band, count


def test_a_band_is_mean_and_t_interval_where_all_curves_are_known():
    """At 1: 1, 2 (between 0 and 4), 3; mean 2, deviation 1; t quantile of two degrees of freedom 4.3027 / sqrt(3)."""
    curves = [
        pd.Series([0.0, 1.0, 5.0], [0, 1, 3]),
        pd.Series([0.0, 4.0], [0, 2]),
        pd.Series([0.0, 3.0, 3.0], [0, 1, 9]),
    ]
    drawn = band(curves)
    assert list(drawn.index) == [0, 1, 2]  # the shortest ends at 2
    assert drawn.loc[1].tolist() == pytest.approx([2.0, 2 - 2.48414, 2 + 2.48414], abs=1e-4)


def test_a_position_twice_counts_with_its_last_value():
    assert band([pd.Series([0.1, 0.2, 0.3], [0, 1, 1])])["mean"].tolist() == [0.1, 0.3]


@pytest.mark.parametrize(
    ("num_seeds", "words"),
    [([1, 1], "one seed"), ([2, 2], "mean over 2 seeds"), ([2, 3], "mean and 95 % interval over 2 to 3 seeds")],
)
def test_fewer_than_three_seeds_get_no_interval_in_figures(num_seeds, words):
    assert count(num_seeds) == words
    curves = [pd.Series([float(i)], [0]) for i in range(max(num_seeds))]
    assert band(curves)["low"].isna().all() == (max(num_seeds) < 3)


def runs_table(**finals):
    rows = [(label, seed, value) for label, values in finals.items() for seed, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["method", "seed", "x"])


def test_differences_are_paired_by_seed():
    """0.1, 0.2, 0.3 more: mean 0.2, whatever the seeds themselves do."""
    base, other = np.array([0.9, 0.1, 0.5]), np.array([1.0, 0.3, 0.8])
    (difference,) = paired_differences(runs_table(base=base, other=other), "base", ["x"])
    expected = stats.ttest_rel(other, base)
    assert difference.mean == pytest.approx(0.2)
    assert difference.p_value == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert difference.half_width == pytest.approx((high - low) / 2)
    assert difference.num_pairs == 3


def test_only_seeds_that_both_have_are_pairs():
    (difference,) = paired_differences(runs_table(base=[1.0, 2.0], other=[2.0, 3.0, 9.0]), "base", ["x"])
    assert (difference.num_pairs, difference.mean) == (2, 1.0)
    assert math.isnan(difference.p_value)  # both differences are 1: no spread to test against


def test_a_censored_time_counts_with_the_horizon_and_is_told():
    runs = runs_table(base=[1.0, 9.0], other=[2.0, 9.0]).rename(columns={"x": "restricted_time_s"})
    runs = runs.assign(time_to_target_s=[1.0, math.inf, 2.0, math.inf])
    (difference,) = paired_differences(runs, "base", ["restricted_time_s"])
    assert (difference.num_pairs, difference.num_censored, difference.mean) == (2, 1, 0.5)


@pytest.mark.parametrize(
    ("base_s", "own_s", "own_reached", "mean"),
    [
        (9.0, 4.0, False, math.nan),  # its versions ended it at 4 s, without the target that the other one had at 9 s
        (9.0, 12.0, False, 3.0),
        (9.0, 4.0, True, -5.0),
    ],
)
def test_a_run_that_ended_before_its_partner_had_the_target_is_not_ahead_of_it(base_s, own_s, own_reached, mean):
    runs = runs_table(base=[base_s], other=[own_s]).rename(columns={"x": "restricted_time_s"})
    runs = runs.assign(time_to_target_s=[base_s, own_s if own_reached else math.inf])
    (difference,) = paired_differences(runs, "base", ["restricted_time_s"])
    assert (difference.num_pairs, difference.num_censored, difference.mean) == pytest.approx(
        (1, int(not own_reached), mean), nan_ok=True
    )


def test_a_pair_of_which_a_run_diverged_is_left_out():
    runs = runs_table(base=[1.0, 2.0], other=[2.0, 9.0]).assign(diverged_at_s=[math.nan, math.nan, math.nan, 3.0])
    (difference,) = paired_differences(runs, "base", ["x"])
    assert (difference.num_pairs, difference.num_missing, difference.mean) == (1, 1, 1.0)


def test_p_values_are_adjusted_by_holm():
    """Sorted: 0.01 x 3, 0.03 x 2, then 0.04 x 1 but not below its predecessor; a missing one is no test."""
    assert holm([0.01, 0.04, math.nan, 0.03]) == pytest.approx([0.03, 0.06, math.nan, 0.06], nan_ok=True)
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_differences_have_p_values_adjusted_for_all_of_them():
    runs = runs_table(base=[0.9, 0.1, 0.5], a=[1.0, 0.3, 0.8], b=[1.0, 0.3, 0.8])
    first, second = paired_differences(runs, "base", ["x"])
    assert first.adjusted_p_value == second.adjusted_p_value == pytest.approx(2 * first.p_value)
