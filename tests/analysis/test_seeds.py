"""Means, intervals, differences over seeds, against numbers worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from interlude.analysis.comparison import paired_differences
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


def test_a_censored_time_leaves_no_mean():
    (difference,) = paired_differences(runs_table(base=[1.0, math.inf], other=[2.0, math.inf]), "base", ["x"])
    assert difference.num_censored == 1
    assert math.isnan(difference.mean)
