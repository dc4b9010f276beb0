"""The choice between settings, by the accuracy on the validation part; nothing here sees a test sample."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from interlude.simulator.counts import num_final
from interlude.simulator.training.values import FUSED

VALIDATION = "validation_accuracy"
"""The metric that settings are compared by."""


def validation_score(metrics: pd.DataFrame) -> float | None:
    """Return the mean fused validation accuracy over the last tenth of a run's evaluations, at least one of them.

    Args:
        metrics: a run's metrics.csv, in the order of time.

    Returns:
        The mean; None if there is no such accuracy, or one is not finite.
    """
    values = metrics.loc[(metrics["metric"] == VALIDATION) & (metrics["modality"] == FUSED), "value"]
    last = values.tail(num_final(len(values)))
    return float(last.mean()) if len(last) and last.notna().all() else None


def best_setting(scores: Sequence[Sequence[float | None]]) -> int | None:
    """Return the position of the setting with the highest mean over seeds, the first of equal ones.

    Args:
        scores: of each setting, by seed; None for a run that failed or diverged, with which its setting loses.

    Returns:
        The position; None if every setting has such a run.
    """
    means = [mean_score(of_setting) for of_setting in scores]
    return max((i for i, mean in enumerate(means) if mean is not None), key=lambda i: means[i] or 0.0, default=None)


def mean_score(scores: Sequence[float | None]) -> float | None:
    """Return a setting's mean over seeds; None if a run has no score."""
    known = [score for score in scores if score is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(scores) else None


@dataclass(frozen=True)
class Choice:
    """The settings of one method that won."""

    label: str
    scenario: str
    """The scenario that it was tuned on."""
    points: frozenset[str]
    """The points of the sweep that it is for."""
    values: Mapping[str, Any]
    """By field of the method's entry."""
    validation_accuracy: float
    """Mean over seeds, each over the last tenth of its evaluations."""
    grid: Mapping[str, Sequence[Any]]
    """All values that were tried."""
    seeds: Sequence[int]

    def facts(self) -> dict[str, Any]:
        """Return it as plain data, for a record."""
        return {
            "chosen": dict(self.values),
            "validation_accuracy": self.validation_accuracy,
            "on": self.scenario,
            **tuned_by(self.grid, self.seeds),
        }

    @property
    def at_the_end(self) -> list[str]:
        """Fields whose value is the first or last of three numbers or more: better ones may lie beyond."""
        return [
            field
            for field, tried in self.grid.items()
            if len(tried) > 2
            and all(isinstance(value, int | float) and not isinstance(value, bool) for value in tried)
            and self.values[field] in (min(tried), max(tried))
        ]


def tuned_by(grid: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> dict[str, Any]:
    """Return a grid and its seeds as plain data, as a record holds them."""
    return {"grid": {field: list(tried) for field, tried in grid.items()}, "seeds": list(seeds)}
