"""Paired differences between methods: runs of one scenario and seed share a world, so seeds make pairs."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from interlude.analysis.seeds import half_width


@dataclass(frozen=True)
class Difference:
    """A method's value minus the baseline's, over the seeds that both have."""

    label: str
    column: str
    """A column of `summarise_runs`, in its unit."""
    num_pairs: int
    num_censored: int
    """Pairs in which a time to the target is unknown; with any of them there is no mean."""
    mean: float
    half_width: float
    """Of the 95 % interval; NaN for fewer than three pairs."""
    p_value: float
    """Of a paired two-sided t test; NaN for fewer than three pairs or where all differences are the same."""


def paired_differences(runs: pd.DataFrame, baseline: str, columns: Sequence[str]) -> list[Difference]:
    """Return the differences of every method from the baseline, by method and then by column.

    Args:
        runs: `summarise_runs` of one scenario.
        baseline: a label.
        columns: columns of `runs` to compare.
    """
    by_seed = {str(label): group.set_index("seed") for label, group in runs.groupby("method", sort=False)}
    base = by_seed[baseline]
    return [
        _difference(label, column, group[column] - base[column].reindex(group.index), group.index.isin(base.index))
        for label, group in by_seed.items()
        if label != baseline
        for column in columns
    ]


def _difference(
    label: str, column: str, all_seeds: "pd.Series[float]", is_paired: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
) -> Difference:
    differences = all_seeds[is_paired].astype(float)
    num_censored = int((~np.isfinite(differences)).sum())
    unknown = float("nan")
    if num_censored or differences.empty:
        return Difference(label, column, len(differences), num_censored, unknown, unknown, unknown)
    half, mean = half_width(differences), float(differences.mean())
    varies = half > 1e-9 * max(abs(mean), 1e-300)
    p_value = float(stats.ttest_1samp(differences, 0.0).pvalue) if varies else unknown
    return Difference(label, column, len(differences), 0, mean, half, p_value)


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
