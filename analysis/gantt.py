"""A Gantt chart of a few clients: the interludes, and what a method does with them.

An interlude is the time from the first arrival of a modality to the last one's in a local round, as far as the client
could use it: after its download.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from interlude.analysis.choices import Choices, Drawing, baseline_of, labels_of
from interlude.analysis.runs import need_one_scenario
from interlude.analysis.style import Style
from interlude.simulator.errors import BadInputError
from interlude.simulator.record.writer import RunRecord, what

_LOOKS = {
    "download": ("download", "#56B4E9"),
    "wait": ("wait for data", "#C8C8C8"),
    "train_unimodal": ("uni-modal training", "#E69F00"),
    "train_unimodal_slow": ("uni-modal training, slow mode", "#A36A00"),
    "train": ("joint training", "#0072B2"),
    "train_slow": ("joint training, slow mode", "#00416A"),
    "upload": ("upload", "#009E73"),
    "upload_lost": ("upload lost or cut", "#D55E00"),
    "lost": ("lost", "#8A3D00"),
    "stalled": ("held up by the server", "#F0E442"),
    "backoff": ("pause before sending again", "#F0A77B"),
    "idle": ("idle", "#F3F3F3"),
    "off": ("off", "#7A7A7A"),
}
_OTHER = "#CC79A7"
_INTERLUDE = "#FFE9A8"
_ROUNDS_SHOWN = 3
_MOST_PANELS = 4


class Interlude(NamedTuple):
    """An interlude of one client, in simulated seconds."""

    start_s: float
    end_s: float
    trained_s: float
    """How much of it was used for training."""


def gantt(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw the first clients' spans in a window of simulated time, a panel for each method's first seed.

    Raises:
        DoesNotApplyError: for mixed scenarios.
        BadInputError: if the window is empty or outside the run.
    """
    need_one_scenario(records)
    labels, baseline, style = labels_of(records), baseline_of(records, choices), choices.style
    firsts = [min((r for r in records if r.label == label), key=lambda r: r.seed) for label in labels]
    window_s = _window(firsts, choices)
    num_clients = min(choices.num_clients, int(firsts[0].timeline["client"].max()) + 1)
    found = {r.label: _interludes_in(r.timeline, num_clients, window_s) for r in firsts}
    used = {label: _share_used(chain.from_iterable(by_client.values())) for label, by_client in found.items()}
    chosen = sorted(firsts, key=lambda record: (-(used[record.label] or 0.0), record.label != baseline))
    chosen, left_out = chosen[:_MOST_PANELS], [record.label for record in chosen[_MOST_PANELS:]]
    height_in = 1.2 + len(chosen) * (0.35 + 0.62 * style.bar_in * num_clients)
    figure = Figure(figsize=(style.width_in(2), height_in), layout="constrained")
    axes = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    said, kinds = [], set()
    for axis, record in zip(axes, chosen, strict=True):
        kinds |= _draw(axis, record.timeline, found[record.label], window_s, style)
        share = used[record.label]
        said.append(
            f"{record.label}: {'no interlude' if share is None else f'{share:.0%} of the interludes trained in'}"
        )
        axis.set_title(said[-1], loc="left", fontsize=style.font_points)
    axes[-1].set_xlabel("simulated time (s)")
    figure.supylabel("client", fontsize=style.font_points)
    _legend(figure, kinds)
    seed = chosen[0].seed
    figure.suptitle(f"{records[0].scenario['name']}: what clients do, seed {seed}")
    also = f" Left out: {', '.join(left_out)}." if left_out else ""
    return Drawing(
        figure,
        f"Gantt chart of clients 0 to {num_clients - 1} from {window_s[0]:g} to {window_s[1]:g} simulated seconds, "
        f"seed {seed}. Shaded: interludes, from the first modality's arrival to the last one's. "
        f"{'; '.join(said)}.{also}",
    )


def interludes(spans: pd.DataFrame) -> Iterator[Interlude]:
    """Yield the interludes in one client's spans, which are given in the order of time."""
    downloaded_s, trained_s = 0.0, 0.0
    waited_until_s: list[float] = []
    columns = (spans[name] for name in ("kind", "start_s", "end_s", "modality"))
    for kind, start_s, end_s, modality in zip(*columns, strict=True):
        if kind == "download":  # a local round begins
            downloaded_s, trained_s, waited_until_s = end_s, 0.0, []
        elif kind == "wait":
            waited_until_s.append(end_s)
        elif what(kind) == "train_unimodal":
            trained_s += end_s - start_s
        elif kind in ("train", "train_slow") and waited_until_s:
            # Waits that took no time are not in the timeline: those modalities were there when the download ended.
            waited_for_all = len(waited_until_s) == modality.count("+") + 1
            began_s = waited_until_s[0] if waited_for_all else downloaded_s
            waited_until_s = []
            if began_s < start_s:
                yield Interlude(began_s, start_s, trained_s)


def _window(records: Sequence[RunRecord], choices: Choices) -> tuple[float, float]:
    """Return the window asked for, or three local rounds of the median client of whoever trains most in the gaps."""
    length_s = max(float(record.info["totals"]["simulated_s"]) for record in records)
    if choices.window_s is None:
        spans = max((record.timeline for record in records), key=_unimodal_s)
        uploads = spans[(spans["kind"] == "upload") & (spans["client"] < choices.num_clients)]
        nth_s = uploads.groupby("client")["end_s"].apply(lambda ends_s: ends_s.nsmallest(_ROUNDS_SHOWN).max())
        return 0.0, float(np.ceil(min(length_s, nth_s.median() if len(nth_s) else length_s)))
    start_s, end_s = choices.window_s
    if not 0 <= start_s < min(end_s, length_s):
        raise BadInputError(f"--window {start_s:g}:{end_s:g}: must start before it ends, within 0 to {length_s:g} s")
    return start_s, min(end_s, length_s)


def _unimodal_s(timeline: pd.DataFrame) -> float:
    training = timeline[timeline["kind"].isin(("train_unimodal", "train_unimodal_slow"))]
    return float((training["end_s"] - training["start_s"]).sum())


def _interludes_in(
    timeline: pd.DataFrame, num_clients: int, window_s: tuple[float, float]
) -> dict[int, list[Interlude]]:
    """Return the first clients' interludes that touch a window, by client."""
    spans = timeline[(timeline["client"] < num_clients) & (timeline["kind"] != "merge")].sort_values("start_s")
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
    """Draw a panel, a row per client: interludes behind its spans, merges above them; returns the kinds shown."""
    shown = timeline[(timeline["end_s"] >= window_s[0]) & (timeline["start_s"] <= window_s[1])]
    shown = shown.assign(kind=[_look(str(kind)) for kind in shown["kind"]])
    for client in found:
        bars = [(interlude.start_s, interlude.end_s - interlude.start_s) for interlude in found[client]]
        axis.broken_barh(bars, (client - 0.46, 0.92), facecolor=_INTERLUDE, zorder=1)
        own = shown[shown["client"] == client]
        for kind, rows in own[own["kind"] != "merge"].groupby("kind"):
            bars = list(zip(rows["start_s"], rows["end_s"] - rows["start_s"], strict=True))
            colour = _LOOKS.get(str(kind), ("", _OTHER))[1]
            axis.broken_barh(
                bars,
                (client - 0.27, 0.54),
                facecolor=colour,
                edgecolor="none" if kind == "idle" else "0.35",
                linewidth=0.3,
                zorder=2,
            )
        merges = own.loc[own["kind"] == "merge", "start_s"]
        axis.plot(
            merges,
            np.full(len(merges), client - 0.4),
            "v",
            color="black",
            markersize=0.45 * style.font_points,
            zorder=3,
        )
    axis.set_xlim(window_s)
    axis.set_ylim(len(found) - 0.45, -0.7)
    axis.set_yticks(range(len(found)))
    axis.grid(visible=False, axis="y")
    return set(shown.loc[shown["client"].isin(found), "kind"])


def _look(kind: str) -> str:
    """Return the kind whose look a span has: a piece looks like the whole, and what is lost alike."""
    whole = kind.removesuffix("_part")
    if whole in _LOOKS:
        return whole
    return "lost" if kind.endswith("_lost") else what(kind)


def _legend(figure: Figure, kinds: set[str]) -> None:
    known = [(name, colour) for kind, (name, colour) in _LOOKS.items() if kind in kinds]
    known += [(kind, _OTHER) for kind in sorted(kinds - _LOOKS.keys() - {"merge"})]
    handles: list[Any] = [
        Patch(facecolor=colour, edgecolor="0.35", linewidth=0.3, label=name) for name, colour in known
    ]
    handles.append(Patch(facecolor=_INTERLUDE, label="interlude"))
    handles += figure.axes[0].plot([], [], "v", color="black", linestyle="", label="merged")
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)), frameon=False)
