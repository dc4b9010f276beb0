"""A Gantt chart of a few clients: the interludes, and the share of them that a method uses for training.

An interlude is the time from the first arrival of a modality to the last one's in a local round, as far as the client
can use it: after its download.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from interlude.analysis.activities import activity_label
from interlude.analysis.choices import Choices, Drawing, baseline_of, labels_of, need_time, need_timeline
from interlude.analysis.labels import shortened
from interlude.analysis.recorded import seen
from interlude.analysis.runs import need_one_scenario, title_of
from interlude.analysis.style import Style, legend_below, put_title
from interlude.simulator.errors import BadInputError
from interlude.simulator.record.reader import RunRecord

_LOST, _UPLOAD_LOST, _CUT = "lost", "upload lost", "cut by the end of the run"
_COLOURS = {
    "download": "#56B4E9",
    activity_label("wait"): "#C8C8C8",
    activity_label("train_unimodal"): "#E69F00",
    activity_label("train_unimodal", is_slow=True): "#A36A00",
    activity_label("train"): "#0072B2",
    activity_label("train", is_slow=True): "#00416A",
    "upload": "#009E73",
    _UPLOAD_LOST: "#D55E00",
    _LOST: "#8A3D00",
    _CUT: "#CC79A7",
    activity_label("stalled"): "#F0E442",
    activity_label("backoff"): "#F0A77B",
    "idle": "#F3F3F3",
    "off": "#7A7A7A",
}
"""Colour by label, in the order of the legend."""
_INTERLUDE = "#FFE9A8"
_ROUNDS_SHOWN = 3
_MOST_PANELS = 4


class Interlude(NamedTuple):
    """An interlude of one client, in simulated seconds."""

    start_s: float
    end_s: float
    trained_s: float
    """Simulated seconds of it used for training."""


def gantt(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw the first clients' spans in a window of simulated time, a panel for each method's first seed.

    Raises:
        DoesNotApplyError: for mixed scenarios, or if no time passes in the runs, or a record holds no timeline.
        BadInputError: if the window is empty or outside the run.
    """
    need_one_scenario(records)
    need_time(records)
    need_timeline(records)
    labels, baseline, style = labels_of(records), baseline_of(records, choices), choices.style
    firsts = [min((r for r in records if r.label == label), key=lambda r: r.seed) for label in labels]
    window_s = _window(firsts, choices)
    num_clients = min(choices.num_clients, 1 + max(int(r.timeline["client"].max()) for r in firsts if len(r.timeline)))
    found = {r.label: _interludes_in(r.timeline, num_clients, window_s) for r in firsts}
    used = {label: _share_used(chain.from_iterable(by_client.values())) for label, by_client in found.items()}
    chosen = sorted(firsts, key=lambda record: (-(used[record.label] or 0.0), record.label != baseline))
    chosen, left_out = chosen[:_MOST_PANELS], [record.label for record in chosen[_MOST_PANELS:]]
    height_in = 1.2 + len(chosen) * (0.35 + 0.62 * style.bar_in * num_clients)
    figure = Figure(figsize=(style.width_in(2), height_in), layout="constrained")
    axes = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    texts, shown = [], set()
    for axis, record in zip(axes, chosen, strict=True):
        shown |= _draw(axis, record.timeline, found[record.label], window_s, style)
        share = used[record.label]
        used_text = "no interlude" if share is None else f"{share:.0%} of the interludes trained in"
        texts.append(f"{record.label}: {used_text}")
        axis.set_title(f"{shortened([record.label])[0]}: {used_text}", loc="left", fontsize=style.font_points)
    axes[-1].set_xlabel("simulated time (s)")
    figure.supylabel("client", fontsize=style.font_points)
    _legend(figure, shown, style)
    seed = chosen[0].seed
    put_title(figure, f"{title_of(records)}: client activities, seed {seed}", style)
    also = f" Left out: {', '.join(left_out)}." if left_out else ""
    return Drawing(
        figure,
        f"Gantt chart of clients 0 to {num_clients - 1} from {window_s[0]:g} to {window_s[1]:g} simulated seconds, "
        f"seed {seed}. Shaded: interludes, from the first modality's arrival to the last one's. "
        f"{'; '.join(texts)}.{also}{seen(records)}",
    )


def interludes(spans: pd.DataFrame) -> Iterator[Interlude]:
    """Yield the interludes in one client's spans, which are given in the order of time."""
    downloaded_s, trained_s = 0.0, 0.0
    waited_until_s: list[float] = []
    columns = (spans[name] for name in ("activity", "outcome", "start_s", "end_s", "modality"))
    for activity, outcome, start_s, end_s, modality in zip(*columns, strict=True):
        if activity == "train_unimodal":  # interrupted or not: the time was used
            trained_s += end_s - start_s
        elif outcome != "done":
            continue
        elif activity == "download":  # a local round begins
            downloaded_s, trained_s, waited_until_s = end_s, 0.0, []
        elif activity == "wait":
            waited_until_s.append(end_s)
        elif activity == "train" and waited_until_s:
            # Waits that took no time are not in the timeline: those modalities had arrived when the download ended.
            waited_for_all = len(waited_until_s) == modality.count("+") + 1
            began_s = waited_until_s[0] if waited_for_all else downloaded_s
            waited_until_s = []
            if began_s < start_s:
                yield Interlude(began_s, start_s, trained_s)


def _window(records: Sequence[RunRecord], choices: Choices) -> tuple[float, float]:
    """Return the window asked for; unset, three local rounds of the median client of the run that uses gaps most."""
    length_s = max(float(record.info["totals"]["simulated_s"]) for record in records)
    if choices.window_s is None:
        spans = max((record.timeline for record in records), key=_unimodal_s)
        uploads = spans[
            (spans["activity"] == "upload") & (spans["outcome"] == "done") & (spans["client"] < choices.num_clients)
        ]
        nth_s = uploads.groupby("client")["end_s"].apply(lambda ends_s: ends_s.nsmallest(_ROUNDS_SHOWN).max())
        return 0.0, float(np.ceil(min(length_s, nth_s.median() if len(nth_s) else length_s)))
    start_s, end_s = choices.window_s
    if not 0 <= start_s < min(end_s, length_s):
        raise BadInputError(f"--window {start_s:g}:{end_s:g}: must start before it ends, within 0 to {length_s:g} s")
    return start_s, min(end_s, length_s)


def _unimodal_s(timeline: pd.DataFrame) -> float:
    training = timeline[(timeline["activity"] == "train_unimodal") & (timeline["outcome"] == "done")]
    return float((training["end_s"] - training["start_s"]).sum())


def _interludes_in(
    timeline: pd.DataFrame, num_clients: int, window_s: tuple[float, float]
) -> dict[int, list[Interlude]]:
    """Return the first clients' interludes that touch a window, by client."""
    spans = timeline[(timeline["client"] < num_clients) & (timeline["activity"] != "merge")].sort_values("start_s")
    found = {client: interludes(spans[spans["client"] == client]) for client in range(num_clients)}
    start_s, end_s = window_s
    return {client: [i for i in own if i.end_s > start_s and i.start_s < end_s] for client, own in found.items()}


def _share_used(found: Iterable[Interlude]) -> float | None:
    """Return the share of the interludes that was trained in; None if there are none."""
    listed = list(found)
    total_s = sum(interlude.end_s - interlude.start_s for interlude in listed)
    return sum(interlude.trained_s for interlude in listed) / total_s if listed else None


def _draw(
    axis: Axes,
    timeline: pd.DataFrame,
    found: Mapping[int, Sequence[Interlude]],
    window_s: tuple[float, float],
    style: Style,
) -> set[str]:
    """Draw a panel, a row per client: interludes behind its spans, merges above them; returns the labels shown."""
    shown = timeline[(timeline["end_s"] >= window_s[0]) & (timeline["start_s"] <= window_s[1])]
    shown = shown[shown["client"].isin(found)]
    is_merge = shown["activity"] == "merge"
    merges, spans = shown[is_merge], shown[~is_merge]
    columns = (spans[name] for name in ("activity", "outcome", "is_slow"))
    spans = spans.assign(label=[_label(*values) for values in zip(*columns, strict=True)])
    for client in found:
        bars = [(interlude.start_s, interlude.end_s - interlude.start_s) for interlude in found[client]]
        axis.broken_barh(bars, (client - 0.46, 0.92), facecolor=_INTERLUDE, zorder=1)
        for label, rows in spans[spans["client"] == client].groupby("label"):
            bars = list(zip(rows["start_s"], rows["end_s"] - rows["start_s"], strict=True))
            axis.broken_barh(
                bars,
                (client - 0.27, 0.54),
                facecolor=_COLOURS[str(label)],
                edgecolor="none" if label == "idle" else "0.35",
                linewidth=0.3,
                zorder=2,
            )
        merged_s = merges.loc[merges["client"] == client, "start_s"]
        axis.plot(
            merged_s,
            np.full(len(merged_s), client - 0.4),
            "v",
            color="black",
            markersize=0.45 * style.font_points,
            zorder=3,
        )
    axis.set_xlim(window_s)
    axis.set_ylim(len(found) - 0.45, -0.7)
    axis.set_yticks(range(len(found)))
    axis.grid(visible=False, axis="y")
    return set(spans["label"])


def _label(activity: str, outcome: str, is_slow: bool) -> str:
    """Return the label of a span: a part has that of the whole; lost spans share one, but for uploads, and cut ones."""
    if outcome == "lost":
        return _UPLOAD_LOST if activity == "upload" else _LOST
    return _CUT if outcome == "cut" else activity_label(activity, is_slow=is_slow)


def _legend(figure: Figure, labels: set[str], style: Style) -> None:
    handles: list[Any] = [
        Patch(facecolor=colour, edgecolor="0.35", linewidth=0.3, label=label)
        for label, colour in _COLOURS.items()
        if label in labels
    ]
    handles.append(Patch(facecolor=_INTERLUDE, label="interlude"))
    handles += figure.axes[0].plot([], [], "v", color="black", linestyle="", label="merged")
    legend_below(figure, figure.axes[0], style, handles)
