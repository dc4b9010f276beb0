"""The sentence beside every table: what its numbers rest on."""

from collections.abc import Mapping, Sequence
from typing import Any

from interlude.analysis.fields import short_name, shown
from interlude.simulator.record.reader import RunRecord


def basis_of(records: Sequence[RunRecord]) -> str:
    """Return the data sets, the seeds and what was tuned on what, in a sentence; it leads to the reconstructions."""
    datasets = list(dict.fromkeys(shown(record.scenario["data"]["dataset"]) for record in records))
    return (
        f"Data set{'s' if len(datasets) > 1 else ''} {', '.join(datasets)}; "
        f"{_seeds(sorted({record.seed for record in records}))}; {_tuned(records)}; "
        "what of a method is a reconstruction is listed in its card under Methods."
    )


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    is_range = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    return "seeds " + (f"{seeds[0]} to {seeds[-1]}" if is_range else ", ".join(map(str, seeds)))


def _tuned(records: Sequence[RunRecord]) -> str:
    """Return what a tuning chose for each method, and from which values."""
    tuned = [(record.label, (record.origin.get("tuned") or {}).get(record.label)) for record in records]
    texts = dict.fromkeys(f"{label} ({_choice(found)})" for label, found in tuned if found)  # points may differ
    return f"tuned on the validation part: {', '.join(texts)}" if texts else "nothing was tuned"


def _choice(tuned: Mapping[str, Any]) -> str:
    """Return each field that was tuned with its value and all that were tried: ``learning rate 0.1 of 0.01, 0.1``."""
    grid: Mapping[str, Sequence[Any]] = tuned.get("grid", {})
    return ", ".join(
        f"{short_name(field, list(grid)).replace('_', ' ')} {shown(value)} of {', '.join(map(shown, grid[field]))}"
        for field, value in tuned.get("chosen", {}).items()
    )
