"""Paired differences between methods: runs of one scenario and seed share a world, so seeds make pairs."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from interlude.analysis.seeds import half_width
from interlude.analysis.summary import censored_column, is_restricted, without_diverged

_UNKNOWN = float("nan")


@dataclass(frozen=True)
class Difference:
    """A method's value minus the baseline's, over the seeds that both have."""

    label: str
    column: str
    """A column of `summarise_runs`, in its unit."""
    num_pairs: int
    """Pairs of which both values are known."""
    num_missing: int
    """Pairs of which one is not, as a run diverged; they are left out."""
    num_censored: int
    """Pairs in which a run never reached the target; its time is the horizon."""
    mean: float
    """NaN without a pair, or where a run that never reached the target ended sooner than its partner's time."""
    half_width: float
    """Of the 95 % interval; NaN for fewer than three pairs."""
    p_value: float
    """Of a paired two-sided t test; NaN for fewer than three pairs or where all differences are the same."""
    adjusted_p_value: float = _UNKNOWN
    """By `holm`, for all tests of the table."""


def paired_differences(runs: pd.DataFrame, baseline: str, columns: Sequence[str]) -> list[Difference]:
    """Return the differences of every method from the baseline, by method and then by column.

    Args:
        runs: `summarise_runs` of one scenario.
        baseline: a label.
        columns: columns of `runs` to compare; of times to a target, the restricted ones.
    """
    by_seed = {str(label): group.set_index("seed") for label, group in without_diverged(runs).groupby("method")}
    found = [
        _difference(label, column, by_seed[label], by_seed[baseline])
        for label in dict.fromkeys(map(str, runs["method"]))
        if label != baseline
        for column in columns
    ]
    adjusted = holm([difference.p_value for difference in found])
    return [replace(difference, adjusted_p_value=p) for difference, p in zip(found, adjusted, strict=True)]


def _difference(label: str, column: str, own: pd.DataFrame, base: pd.DataFrame) -> Difference:
    common = own.index[own.index.isin(base.index)]
    own, base = own.loc[common], base.loc[common]
    all_pairs = own[column].astype(float) - base[column].astype(float)
    pairs = all_pairs.dropna()
    num_censored = 0
    if is_restricted(column):
        times = (frame.loc[pairs.index, censored_column(column)] for frame in (own, base))
        is_censored = [np.isinf(time.astype(float)) for time in times]
        num_censored = int(np.logical_or(*is_censored).sum())
        if ((is_censored[0] & (pairs < 0)) | (is_censored[1] & (pairs > 0))).any():
            pairs = pairs * _UNKNOWN
    half, mean = half_width(pairs), float(pairs.mean())
    varies = half > 1e-9 * max(abs(mean), 1e-300)
    p_value = float(stats.ttest_1samp(pairs, 0.0).pvalue) if varies else _UNKNOWN
    return Difference(label, column, len(pairs), len(all_pairs) - len(pairs), num_censored, mean, half, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number: the chance of any false one below a level is at most the level.

    The i-th smallest of m is the largest of (m - j + 1) p_j over the j <= i smallest, at most 1 (Holm, 1979, "A simple
    sequentially rejective multiple test procedure"). A missing one, NaN, is no test and stays missing.
    """
    given = np.array(p_values, dtype=float)
    order = [int(place) for place in np.argsort(given) if not np.isnan(given[place])]
    adjusted = np.full(len(given), _UNKNOWN)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * float(given[place])))
        adjusted[place] = largest
    return [float(p) for p in adjusted]


def separated_best(table: pd.DataFrame) -> Hashable | None:
    """Return the column with the largest mean if its lead over every other column exceeds what seeds explain, or None.

    Args:
        table: values, a row per seed and a column per point; missing where there is no run. A lead counts if the 95 %
            interval of the paired difference, over at least three seeds, lies above 0.
    """
    means = table.mean()
    if means.isna().all():
        return None
    best = means.idxmax()
    for other in table.columns.drop([best]):
        lead = (table[best] - table[other]).dropna()
        if not lead.mean() - half_width(lead) > 0:  # NaN for too few seeds
            return None
    return best
