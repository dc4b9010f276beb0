"""Clients' time by activity, and the staleness of merged updates."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from interlude.analysis.activities import activity_label
from interlude.analysis.choices import Choices, Drawing, labels_of, need_time, need_timeline
from interlude.analysis.labels import shortened
from interlude.analysis.lines import line_looks
from interlude.analysis.recorded import device_s, seen
from interlude.analysis.runs import need_one_scenario, title_of
from interlude.analysis.style import bar_figure, legend_below, put_title
from interlude.analysis.summary import TRANSFER
from interlude.simulator.record.reader import RunRecord

_LABELS = {"train_unimodal": "uni-modal training in gaps", **dict.fromkeys(TRANSFER, "transfer")}
_COLOURS = {
    activity_label("train"): "#0072B2",
    "uni-modal training in gaps": "#E69F00",
    "transfer": "#009E73",
    activity_label("wait"): "#BDBDBD",
    activity_label("stalled"): "#D55E00",
    activity_label("backoff"): "#F0A77B",
    "idle": "#EFEFEF",
    "off": "#7A7A7A",
}
"""Colour by label, in the order of the legend."""
_DARK = (activity_label("train"), "transfer", activity_label("stalled"), "off")
_LABELLED = 0.06  # narrower parts of a bar have no room for a number
_MOST_BINS = 30
_SHOWN = 0.995  # of the updates; few stragglers would squeeze all others into one bin


def time_shares(record: RunRecord) -> dict[str, float]:
    """Return the share of all clients' time that was spent on each activity; the shares sum to 1."""
    spent_s = device_s(record)
    shares: dict[str, float] = {}
    for activity, seconds in spent_s.items():
        label = _LABELS.get(str(activity)) or activity_label(str(activity))
        shares[label] = shares.get(label, 0.0) + float(seconds / spent_s.sum())
    return shares


def efficiency(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw the clients' time by activity, a stacked bar per method.

    Raises:
        DoesNotApplyError: for mixed scenarios, or if no time passes in the runs.
    """
    need_one_scenario(records)
    need_time(records)
    shares = {label: _mean_shares([r for r in records if r.label == label]) for label in labels_of(records)}
    found = {activity for parts in shares.values() for activity in parts}
    activities = [label for label in _COLOURS if label in found]
    style = choices.style
    figure, axis = bar_figure(style, len(shares), extra_in=1.5)
    left = np.zeros(len(shares))
    for activity in activities:
        values = [parts.get(activity, 0.0) for parts in shares.values()]
        colour = _COLOURS[activity]
        rows = range(len(values))
        axis.barh(rows, values, left=left, height=0.7, color=colour, label=activity, edgecolor="0.5", linewidth=0.4)
        ink, points = "white" if activity in _DARK else "black", 0.85 * style.font_points
        for row, value in enumerate(values):
            if value >= _LABELLED:
                middle = left[row] + value / 2
                axis.text(middle, row, f"{value:.0%}", ha="center", va="center", color=ink, fontsize=points)
        left += values
    axis.set_yticks(range(len(shares)), shortened(list(shares)))
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_xlabel("share of all clients' simulated time")
    legend_below(figure, axis, style)
    put_title(figure, f"{title_of(records)}: clients' time by activity", style)
    texts = "; ".join(
        f"{label}: {', '.join(f'{activity} {share:.0%}' for activity, share in parts.items())}"
        for label, parts in shares.items()
    )
    return Drawing(figure, f"Share of all clients' simulated time by activity, mean over seeds. {texts}.")


def _mean_shares(records: Sequence[RunRecord]) -> dict[str, float]:
    runs = [time_shares(record) for record in records]
    return {
        activity: float(np.mean([run.get(activity, 0.0) for run in runs]))
        for activity in dict.fromkeys(a for run in runs for a in run)
    }


def staleness(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw the staleness of merged updates in versions, a histogram per method over all its seeds.

    Raises:
        DoesNotApplyError: for mixed scenarios, or if a record holds no timeline.
    """
    need_one_scenario(records)
    need_timeline(records)
    looks, style = line_looks(records), choices.style
    labels = list(looks)
    ages = {label: pd.concat([_ages(r) for r in records if r.label == label]) for label in labels}
    oldest = max(float(a.quantile(_SHOWN)) if len(a) else 0.0 for a in ages.values())
    width = max(1, int(np.ceil((oldest + 1) / _MOST_BINS)))
    rows = len(labels)
    figure = Figure(figsize=(style.one_in, 0.9 + 0.24 * style.row_in * rows), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    for axis, label in zip(axes, labels, strict=True):
        share = (ages[label].clip(upper=oldest) // width).value_counts(normalize=True).sort_index()
        colour = looks[label]["color"]
        axis.bar(share.index * width + width / 2 - (0.5 if width == 1 else 0), share, width=0.9 * width, color=colour)
        axis.set_title(f"{shortened([label])[0]}: {_age_text(ages[label])}", loc="left", fontsize=style.font_points)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axis.set_ylim(bottom=0)
        axis.locator_params(axis="y", nbins=3)
    axes[-1].set_xlim(left=-0.5 * width)
    bins = f", bins of {width}" if width > 1 else ""
    beyond = "; the last bin holds all beyond" if any((a > oldest).any() for a in ages.values()) else ""
    axes[-1].set_xlabel(f"staleness when merged (versions{bins}{beyond})")
    figure.supylabel("share of merged updates", fontsize=style.font_points)
    put_title(figure, f"{title_of(records)}: staleness", style)
    means = "; ".join(f"{label}: {_age_text(ages[label])}" for label in labels)
    return Drawing(
        figure, f"Share of merged updates by staleness in versions, all seeds together. {means}.{seen(records)}"
    )


def _ages(record: RunRecord) -> "pd.Series[float]":
    timeline = record.timeline
    return timeline.loc[timeline["activity"] == "merge", "staleness"].astype(float)


def _age_text(ages: "pd.Series[float]") -> str:
    return f"mean {ages.mean():.1f}, largest {ages.max():.0f}" if len(ages) else "nothing merged"
