"""Time to a target accuracy, and the speed-up over a baseline.

A run that never reaches it, or diverges, is censored, not dropped: its time is known only to exceed the horizon. Bars
are restricted means, over all seeds, censored ones with the horizon; where there are any, the bar is hatched, as the
mean time is at least that long.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from interlude.analysis import seeds
from interlude.analysis.accuracy import horizon_s, time_to_accuracy_s
from interlude.analysis.choices import Choices, Drawing, baseline_of, need_accuracy, target_of
from interlude.analysis.labels import shortened
from interlude.analysis.lines import Looks, line_looks
from interlude.analysis.runs import need_one_scenario, title_of
from interlude.analysis.style import HATCH, bar_figure, put_title
from interlude.simulator.record.reader import RunRecord


def times_to_target(records: Sequence[RunRecord], target: float) -> pd.DataFrame:
    """Return a row per run: label, seed, time_s (the horizon where it is censored), reached."""
    rows = []
    for record in records:
        time_s = time_to_accuracy_s(record, target)
        reached = bool(np.isfinite(time_s))
        rows.append((record.label, record.seed, time_s if reached else horizon_s(record), reached))
    return pd.DataFrame(rows, columns=["label", "seed", "time_s", "reached"])


def time_to_accuracy(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw simulated seconds to the target accuracy, a bar per method.

    Raises:
        DoesNotApplyError: without accuracies or a target, or for mixed scenarios.
    """
    need_one_scenario(records)
    need_accuracy(records)
    target = target_of(records, choices)
    times = times_to_target(records, target)
    looks = line_looks(records)
    labels = list(looks)
    figure, axis = bar_figure(choices.style, len(labels))
    texts, ends_s = [], []
    for row, label in enumerate(labels):
        text, end_s = _bar_of_times(axis, row, times[times["label"] == label], looks[label]["color"])
        texts.append(f"{label} {text}")
        ends_s.append(end_s)
    _finish(axis, _names(looks, labels), f"simulated time to accuracy {target:g} (s)", max(ends_s))
    spread = seeds.count(times.groupby("label").size().tolist())
    put_title(figure, f"{title_of(records)}: time to accuracy {target:g}", choices.style)
    return Drawing(
        figure,
        f"Simulated seconds to a fused test accuracy of {target:g}, held for three evaluations in a row ({spread}; "
        f"dots: single seeds; open: never reached, censored at the horizon and counted with it; hatched: a mean with "
        f"such seeds, so a lower bound): {'; '.join(texts)}.",
    )


def _bar_of_times(axis: Axes, row: int, runs: pd.DataFrame, colour: str) -> tuple[str, float]:
    """Draw a method's bar; returns its text and where it ends."""
    num_reached, mean_s = int(runs["reached"].sum()), float(runs["time_s"].mean())
    if np.isnan(mean_s):  # all diverged, in runs without a last second
        _label(axis, row, 0.0, "diverged")
        return "diverged", 0.0
    is_bound = num_reached < len(runs)
    half_s = seeds.half_width(runs["time_s"])
    _bar(axis, row, 0.0, mean_s, colour, is_bound)
    if not is_bound and np.isfinite(half_s):
        axis.errorbar(mean_s, row, xerr=[[min(half_s, mean_s)], [half_s]], color="0.2", capsize=3, linewidth=1)
    if len(runs) > 1:
        _dots(axis, row, runs["time_s"], runs["reached"])
    shown_s = f"{mean_s:,.0f}" if mean_s >= 10 else f"{mean_s:.2g}"
    text = f"> {shown_s}" if is_bound else shown_s
    text += f" ({num_reached} of {len(runs)})" if is_bound else ""
    end_s = max(float(runs["time_s"].max()), mean_s + (0.0 if is_bound or not np.isfinite(half_s) else half_s))
    _label(axis, row, end_s, text)
    return text, end_s


def speedup(records: Sequence[RunRecord], choices: Choices) -> Drawing:
    """Draw how many times sooner than the baseline each method reaches the target, seed by seed.

    The bar is the geometric mean over seeds. A censored time makes a bound of it; where both times of a seed are
    censored, or some seeds bound from above and others from below, nothing is known and no bar is drawn.
    """
    need_one_scenario(records)
    need_accuracy(records)
    target, baseline = target_of(records, choices), baseline_of(records, choices)
    times = times_to_target(records, target).set_index("seed")
    base = times[times["label"] == baseline].add_suffix("_base")
    looks = line_looks(records)
    labels = [label for label in looks if label != baseline]
    figure, axis = bar_figure(choices.style, max(1, len(labels)))
    texts, ends = [], [1.0]
    for row, label in enumerate(labels):
        pairs = times[times["label"] == label].join(base, how="inner")
        pairs = pairs.dropna()  # of a run that diverged, without a last second
        sign, mean = speedup_over(pairs)
        text = "unknown" if sign is None else f"{sign}{mean:.2g}x"
        if sign is not None:
            _bar(axis, row, 1.0, mean - 1.0, looks[label]["color"], bool(sign))
            ratios = pairs["time_s_base"] / pairs["time_s"]
            if len(pairs) > 1:
                _dots(axis, row, ratios, pairs["reached"] & pairs["reached_base"])
            ends.append(max(mean, float(ratios.max())))
        _label(axis, row, 1.0 if sign is None else max(1.0, ends[-1]), text)
        texts.append(f"{label} {text}" + (f" ({_why_unknown(pairs)})" if sign is None else ""))
    axis.axvline(1.0, color="0.2", linewidth=1)
    _finish(
        axis, _names(looks, labels), f"times as fast as {shortened([baseline])[0]} to accuracy {target:g}", max(ends)
    )
    put_title(figure, f"{title_of(records)}: speed-up over {baseline}", choices.style)
    return Drawing(
        figure,
        f"How many times sooner than {baseline} a method reaches accuracy {target:g}, geometric mean over seeds paired "
        f"with each other (dots: single seeds; hatched and open: a bound, as a time is censored): {'; '.join(texts)}.",
    )


def speedup_over(pairs: pd.DataFrame) -> tuple[str | None, float]:
    """Return a sign and the geometric mean of baseline time over method time.

    Args:
        pairs: a row per seed: time_s, reached, time_s_base, reached_base.

    Returns:
        The sign is '' for a number, '> ' or '< ' for a bound, None where nothing is known.
    """
    if pairs.empty or (~pairs["reached"] & ~pairs["reached_base"]).any():
        return None, float("nan")
    if (~pairs["reached"]).any() and (~pairs["reached_base"]).any():
        return None, float("nan")
    if (pairs[["time_s", "time_s_base"]] <= 0).any(axis=None):
        return None, float("nan")
    mean = float(np.exp(np.log(pairs["time_s_base"] / pairs["time_s"]).mean()))
    sign = "" if pairs[["reached", "reached_base"]].all(axis=None) else ("> " if pairs["reached"].all() else "< ")
    return sign, mean


def _why_unknown(pairs: pd.DataFrame) -> str:
    neither = int((~pairs["reached"] & ~pairs["reached_base"]).sum())
    if pairs.empty:
        return "no seed in common"
    return f"neither reached it in {neither} of {len(pairs)}" if neither else "bounds from both sides"


def _bar(axis: Axes, row: int, start: float, length: float, colour: str, is_bound: bool) -> None:
    look: Any = {"facecolor": "white", "edgecolor": colour, "hatch": HATCH} if is_bound else {"facecolor": colour}
    axis.barh(row, length, left=start, height=0.6, **look)


def _dots(axis: Axes, row: int, values: "pd.Series[float]", known: "pd.Series[bool]") -> None:
    for value, is_known in zip(values, known, strict=True):
        face, edge = ("0.2", "white") if is_known else ("white", "0.2")  # to be seen on bars of any colour
        axis.plot(value, row, "o", markersize=5, markerfacecolor=face, markeredgecolor=edge, zorder=3)


def _label(axis: Axes, row: int, end: float, text: str) -> None:
    axis.annotate(text, (end, row), xytext=(6, 0), textcoords="offset points", va="center")


def _names(looks: Looks, labels: Sequence[str]) -> list[str]:
    """Return labels as they stand on an axis, with how many runs diverged."""
    return [str(looks[label].get("label", label)) for label in labels]


def _finish(axis: Axes, labels: Sequence[str], axis_label: str, end: float) -> None:
    axis.set_yticks(range(len(labels)), shortened(labels))
    axis.set_ylim(max(len(labels), 1) - 0.4, -0.6)
    axis.set_xlim(0, 1.4 * end if end > 0 else 1)
    axis.set_xlabel(axis_label)
