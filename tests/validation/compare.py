"""A simulated run against the real one: pure functions of their timelines."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import kendalltau

Floats = npt.NDArray[np.float64]
ACTIVITIES = ("download", "wait", "train_unimodal", "train", "upload")


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run came to, simulated or real."""

    timeline: pd.DataFrame
    """Its spans and merges, in a record's columns."""
    accuracy: pd.Series
    """Fused test accuracy, by moment of evaluation."""


@dataclass(frozen=True)
class Error:
    """How far predictions are from measurements."""

    count: int
    median: float
    """Median of |predicted - real| / real."""
    p95: float
    """Its 95th percentile."""
    median_s: float
    p95_s: float
    """The same of |predicted - real|, in seconds."""
    bias: float
    """Mean of (predicted - real) / real: above 0, the prediction is too slow."""


def error_of(predicted: Floats, real: Floats) -> Error:
    """Return the error of predictions, each beside what it predicts, in seconds."""
    if not len(real):
        return Error(0, *[math.nan] * 5)
    off_s = predicted - real
    relative = off_s / real
    return Error(
        len(real),
        float(np.median(np.abs(relative))),
        float(np.quantile(np.abs(relative), 0.95)),
        float(np.median(np.abs(off_s))),
        float(np.quantile(np.abs(off_s), 0.95)),
        float(relative.mean()),
    )


def merges(timeline: pd.DataFrame) -> pd.DataFrame:
    """Return one row per merged update, in order: client, version, staleness, and ``end_s``, its moment."""
    rows = timeline[timeline["activity"] == "merge"]
    return rows[["client", "version", "staleness", "end_s"]].reset_index(drop=True)


def merge_times_s(timeline: pd.DataFrame) -> Floats:
    """Return the moment of each merge."""
    return merges(timeline).groupby("version")["end_s"].first().to_numpy(float)


def local_rounds(timeline: pd.DataFrame) -> pd.DataFrame:
    """Return the seconds of every complete local round, by (client, window): in all, and of each activity."""
    rows = timeline[timeline["activity"].isin(ACTIVITIES)].sort_values(["client", "start_s"], kind="stable")
    window = (rows["activity"] == "download").groupby(rows["client"]).cumsum() - 1
    rows = rows.assign(window=window, seconds=rows["end_s"] - rows["start_s"])
    rows = rows[(rows["window"] >= 0) & (rows["outcome"] == "done")]
    spans = rows.pivot_table(index=["client", "window"], columns="activity", values="seconds", aggfunc="sum")
    spans = spans.reindex(columns=list(ACTIVITIES)).fillna({"wait": 0.0, "train_unimodal": 0.0, "train": 0.0})
    ends = rows.groupby(["client", "window"]).agg(start_s=("start_s", "min"), end_s=("end_s", "max"))
    complete = spans["upload"].notna()
    return spans[complete].assign(total=(ends["end_s"] - ends["start_s"])[complete], end_s=ends["end_s"])


def staleness_shares(timeline: pd.DataFrame) -> pd.Series:
    """Return the share of merged updates of each staleness."""
    shares: pd.Series = merges(timeline)["staleness"].value_counts(normalize=True).sort_index()
    return shares


def distance(one: pd.Series, other: pd.Series) -> float:
    """Return the total variation distance of two sets of shares, in [0, 1]."""
    index = one.index.union(other.index)
    return float((one.reindex(index, fill_value=0.0) - other.reindex(index, fill_value=0.0)).abs().sum() / 2)


def order_agreement(predicted: pd.DataFrame, real: pd.DataFrame) -> tuple[float, float]:
    """Return how far two runs agree on the order in which local rounds arrive at the server.

    Returns:
        Share of places in the sequence at which both have the same client; Kendall's tau over the rounds of both.
    """
    one, other = (local_rounds(timeline).sort_values("end_s") for timeline in (predicted, real))
    length = min(len(one), len(other))
    clients = [frame.index.get_level_values("client")[:length] for frame in (one, other)]
    both = one.index.intersection(other.index)
    tau = kendalltau(one.loc[both, "end_s"], other.loc[both, "end_s"]).statistic if len(both) > 1 else math.nan
    return float((clients[0] == clients[1]).mean()), float(tau)


def moved_bytes(timeline: pd.DataFrame, until_s: float) -> dict[str, int]:
    """Return the bytes of the transfers that were complete by a moment, by direction."""
    done = timeline[(timeline["outcome"] == "done") & (timeline["end_s"] <= until_s)]
    sums = done.groupby("activity")["bytes"].sum()
    return {activity: int(sums.get(activity, 0)) for activity in ("download", "upload")}


@dataclass(frozen=True)
class Comparison:
    """One method, simulated and real."""

    merges: Error
    """Of the moments of the n-th merge, for all n that both reached."""
    rounds: Error
    """Of the seconds of each local round, for all (client, window) that both completed."""
    activities: dict[str, Error]
    """Of the same rounds' activities, where they took time in both."""
    num_merges: dict[str, int]
    merges_per_minute: dict[str, float]
    rounds_per_minute: dict[str, float]
    staleness: dict[str, dict[int, float]]
    staleness_distance: float
    order_places: float
    order_tau: float
    bytes: dict[str, dict[str, int]]
    accuracy: dict[str, list[float]]
    accuracy_difference: float
    """Largest over the evaluations."""


def compare(predicted: Outcome, real: Outcome, seconds: float) -> Comparison:
    """Return the comparison of two runs of some seconds."""
    accuracies = (predicted.accuracy, real.accuracy)
    both = {"predicted": predicted.timeline, "real": real.timeline}
    times_s = {name: merge_times_s(timeline) for name, timeline in both.items()}
    rounds = {name: local_rounds(timeline) for name, timeline in both.items()}
    reached = min(map(len, times_s.values()))
    common = rounds["predicted"].index.intersection(rounds["real"].index)
    one, other = (rounds[name].loc[common] for name in both)
    activities = {}
    for activity in ACTIVITIES:
        took = (one[activity] > 0) & (other[activity] > 0)
        activities[activity] = error_of(one.loc[took, activity].to_numpy(), other.loc[took, activity].to_numpy())
    shares = {name: staleness_shares(timeline) for name, timeline in both.items()}
    places, tau = order_agreement(*both.values())
    moments = accuracies[0].index.intersection(accuracies[1].index)
    return Comparison(
        merges=error_of(times_s["predicted"][:reached], times_s["real"][:reached]),
        rounds=error_of(one["total"].to_numpy(), other["total"].to_numpy()),
        activities=activities,
        num_merges={name: len(times) for name, times in times_s.items()},
        merges_per_minute={name: 60.0 * len(times) / seconds for name, times in times_s.items()},
        rounds_per_minute={name: 60.0 * len(frame) / seconds for name, frame in rounds.items()},
        staleness={name: {int(age): float(share) for age, share in one.items()} for name, one in shares.items()},
        staleness_distance=distance(shares["predicted"], shares["real"]),
        order_places=places,
        order_tau=tau,
        bytes={name: moved_bytes(timeline, seconds) for name, timeline in both.items()},
        accuracy={name: series[moments].tolist() for name, series in zip(both, accuracies, strict=True)},
        accuracy_difference=float((accuracies[0][moments] - accuracies[1][moments]).abs().max()),
    )
