"""The sentence beside every table: what its numbers rest on."""

from collections.abc import Mapping, Sequence
from typing import Any

from interlude.analysis.fields import shown
from interlude.analysis.report.words import in_words
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
    choices = {record.label: record.origin["tuned"] for record in records if record.origin.get("tuned")}
    if not choices:
        return "nothing was tuned"
    has_validation = all(record.scenario["evaluate"].get("validation") for record in records)
    on = " on the validation set" if has_validation else ""
    return f"tuned{on}: " + ", ".join(f"{label} ({_choice(tuned)})" for label, tuned in choices.items())


def _choice(tuned: Any) -> str:
    if not isinstance(tuned, Mapping) or "choice" not in tuned:
        return shown(tuned)
    choice, grid = (_values(tuned.get(key)) for key in ("choice", "grid"))
    return f"{choice} from {grid}" if grid else choice


def _values(given: Any) -> str:
    return in_words(given) if isinstance(given, Mapping) else "" if given is None else shown(given)
