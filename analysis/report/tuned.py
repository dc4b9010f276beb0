"""What a page says of methods whose training is their own, and of how it was chosen."""

from collections.abc import Mapping, Sequence
from typing import Any

from interlude.analysis.choices import labels_of
from interlude.analysis.fields import leaves, short_name, shown
from interlude.simulator.record.reader import RunRecord


def own_training(records: Sequence[RunRecord]) -> str:
    """Return the fields of training that methods have of their own, in words; empty where none has."""
    found = {}
    for record in _one_per_label(records):
        fields = leaves(record.scenario["methods"][0].get("training") or {})
        if fields:
            found[record.label] = _listed(fields)
    return "; ".join(f"{label}: {text}" for label, text in found.items())


def how_tuned(records: Sequence[RunRecord]) -> str:
    """Return what was tried for each method, on which seeds, and what it was chosen by; empty where nothing was."""
    tried: dict[str, list[str]] = {}
    for record in _one_per_label(records):
        tuned = record.origin.get("tuned", {}).get(record.label)
        if tuned:
            seeds = ", ".join(map(str, tuned["seeds"]))
            tried.setdefault(f"{_listed(tuned['grid'])} on seeds {seeds}", []).append(record.label)
    if not tried:
        return ""
    texts = [f"{', '.join(labels)} of {text}" for text, labels in tried.items()]
    return f"{'; '.join(texts)}; chosen by the accuracy on the validation part"


def _one_per_label(records: Sequence[RunRecord]) -> list[RunRecord]:
    first = {record.label: record for record in reversed(records)}
    return [first[label] for label in labels_of(records)]


def _listed(fields: Mapping[str, Any]) -> str:
    names = {field: short_name(field, list(fields)).replace("_", " ") for field in fields}
    return ", ".join(f"{names[field]} {shown(value)}" for field, value in fields.items())
