"""What was found as Markdown tables, to be put into docs/gpu.md."""

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "resumption": {
        "name": "method",
        "was_killed_in_mid_run": "killed in mid-run",
        "is_same": "same bytes as undisturbed",
    },
    "correctness": {
        "name": "method",
        "same_order": "same events as the CPU",
        "loss_apart": "loss apart",
        "accuracy_apart": "accuracy apart",
        "seconds": "s",
    },
    "waits": {"name": "method", "waits": "waits for the device", "unexpected": "unexpected"},
    "speed": {
        "workload": "workload",
        "group_size": "group size",
        "trainings_per_s": "client-trainings/s",
        "peak_bytes": "peak bytes",
        "apart_from_looped": "apart from looped, share of the update",
    },
}
"""Columns of each part's table: what they are called in rows, and their titles."""


def as_markdown(found: Mapping[str, Any]) -> str:
    """Return all parts as one text."""
    left_out = ", ".join(found["left_out"]) or "nothing"
    text = [f"Device: {found['device']}; PyTorch {found['torch']}. Cut short for lack of time: {left_out}.\n"]
    text += [f"\n{part.capitalize()}\n\n{_table(found[part], COLUMNS[part])}" for part in COLUMNS if part in found]
    return "".join(text)


def _table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    lines = [list(columns.values()), ["---"] * len(columns)]
    for row in rows:
        failed = [row["name"], row["error"], *[""] * len(columns)] if "error" in row else None
        lines.append(failed[: len(columns)] if failed else [_cell(row[key]) for key in columns])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} ({times})" for key, times in value.items()) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
