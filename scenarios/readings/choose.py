# ruff: noqa: T201
"""Rank the readings of MBA by the rule of docs/mba.md, and print what each of them came to.

    python scenarios/readings/choose.py runs/mba_readings*/sweep.csv

A file is a data set; its points are worlds. The ranks see the validation part only.
"""

import sys
from pathlib import Path

import pandas as pd

from interlude.analysis.seeds import half_width

REFERENCES = ("gap-training", "fedasync-all", "r2-r3-no-gaps", "r2-r3-no-anchors", "r2-r3-no-imbalance")
"""Methods that run beside the candidates and cannot win."""


def mean_ranks(runs: pd.DataFrame) -> "pd.Series[float]":
    """Return each candidate's rank by validation accuracy (1 is best, ties share), averaged over the worlds."""
    candidates = runs[~runs["method"].isin(REFERENCES)]
    values = candidates.pivot_table(index="point", columns="method", values="validation_accuracy", sort=False)
    return values.round(9).rank(axis=1, ascending=False).mean()  # sums of equal numbers in another order are ties


def beside_gap_training(runs: pd.DataFrame) -> pd.DataFrame:
    """Return, by world and method, the final test accuracy less that of gap training, with its 95 % interval."""
    rows = []
    for point, group in runs.groupby("point", sort=False):
        values = group.pivot_table(index="seed", columns="method", values="final_accuracy", sort=False)
        for method in values.columns:
            lead = (values[method] - values["gap-training"]).dropna()
            rows.append((point, method, values[method].mean(), lead.mean(), half_width(lead), len(lead)))
    return pd.DataFrame(rows, columns=["world", "method", "accuracy", "lead", "half_width", "seeds"])


def main() -> None:
    """Print the mean ranks by data set and over all, then every world's test accuracies."""
    paths = [Path(given) for given in sys.argv[1:]]
    sets = {path.parent.name if path.stem == "sweep" else path.stem: pd.read_csv(path) for path in paths}
    ranks = pd.DataFrame({name: mean_ranks(runs) for name, runs in sets.items()})
    ranks["mean"] = ranks.mean(axis=1)
    print(ranks.sort_values("mean").to_string(float_format="{:.2f}".format))
    for name, runs in sets.items():
        print(f"\n{name}\n{beside_gap_training(runs).to_string(index=False, float_format='{:.3f}'.format)}")


if __name__ == "__main__":
    main()
